"""Calling a verb: its arguments checked, its answer or its failure in the seed's shapes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from pydantic import JsonValue

from perstack.errors import DeniedError, NotFoundError, PerstackError, UnfitError, UsageError
from perstack.serving.failures import as_json, failure_of
from perstack.serving.verbs.checking import checked
from perstack.serving.verbs.plain_json import sendable
from perstack.serving.verbs.verb import AnyVerb, Call


@dataclass(frozen=True, slots=True)
class Answer:
    """What came of a call; `is_error` as MCP means it."""

    content: dict[str, JsonValue]
    is_error: bool = False


async def answer(verb: AnyVerb, call: Call, arguments: Mapping[str, JsonValue]) -> Answer:
    """Call a verb. Raises nothing but what ends the program: errors are answers."""
    try:
        if verb.ready is not None:
            verb.ready(call)
        done = await verb.do(call, checked(verb.takes, arguments))
        return Answer(sendable(done.model_dump(mode="json", by_alias=True, exclude_none=True)))
    except Exception as error:  # noqa: BLE001  a client is told of every failure, and lives on
        return failed(verb, error)


def failed(verb: AnyVerb, error: Exception) -> Answer:
    """Return how a failure of the verb is told.

    It has the verb's shape also where it is an error of the protocol: whoever looks at `success`
    alone reads no unfit input as something done.
    """
    told = as_json(failure_of(error))
    expected = isinstance(error, PerstackError) and not isinstance(error, DeniedError | UnfitError)
    shown = sendable(_shaped(verb, error, told))
    is_outcome = bool(verb.emptied) or "success" in shown or "found" in shown
    return Answer(shown, is_error=not (expected and is_outcome))


def _shaped(verb: AnyVerb, error: Exception, told: Mapping[str, JsonValue]) -> dict[str, JsonValue]:
    if verb.emptied:
        return {**verb.emptied, **told}
    if verb.fails_as == "success":
        return {"success": False, "message": told["error"], **told}
    if verb.fails_as == "found" and isinstance(error, NotFoundError | UsageError):
        return {"found": False, "message": told["error"], **told}
    return dict(told)
