"""Calling a verb: its arguments checked, its answer or its failure in the seed's shapes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from pydantic import JsonValue

from perstack.errors import DeniedError, NotFoundError, PerstackError, UsageError
from perstack.serving.failures import as_json, failure_of
from perstack.serving.verbs.checking import checked
from perstack.serving.verbs.verb import AnyVerb, Call


@dataclass(frozen=True, slots=True)
class Answer:
    """What came of a call; `is_error` as MCP means it."""

    content: dict[str, JsonValue]
    is_error: bool = False


async def answer(verb: AnyVerb, call: Call, arguments: Mapping[str, JsonValue]) -> Answer:
    """Call a verb. Raises nothing but what ends the program: errors are answers."""
    try:
        asked = checked(verb.takes, arguments)
    except PerstackError as error:
        return Answer(as_json(failure_of(error)), is_error=True)
    try:
        done = await verb.do(call, asked)
    except Exception as error:  # noqa: BLE001  a client is told of every failure, and lives on
        return failed(verb, error)
    return Answer(done.model_dump(mode="json", by_alias=True, exclude_none=True))


def failed(verb: AnyVerb, error: Exception) -> Answer:
    """Return how a failure of the verb is told."""
    told = as_json(failure_of(error))
    if not isinstance(error, PerstackError) or isinstance(error, DeniedError):
        return Answer(told, is_error=True)
    if verb.emptied:
        return Answer({**verb.emptied, **told})
    missing = isinstance(error, NotFoundError | UsageError)
    if verb.fails_as == "found" and missing:
        return Answer({"found": False, "message": error.message, **told})
    if verb.fails_as == "success":
        return Answer({"success": False, **told})
    return Answer(told, is_error=True)
