"""What services that run Experts share: reading a tool's arguments, judging how a run ended."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, TypeVar

from pydantic import JsonValue, ValidationError

from perstack.domain.base import Model
from perstack.errors import ProviderError
from perstack.ports.experts import ExpertAnswer, ExpertEnding

M = TypeVar("M", bound=Model)

_WHY: Final[dict[ExpertEnding, str]] = {
    "asked": "asked the user a question, whom nobody can reach here",
    "limit": "reached a limit before it was done",
    "failed": "failed",
    "stopped": "was stopped",
    "awaiting": "waits for a decision that nobody makes here",
}


def read_arguments(model: type[M], arguments: Mapping[str, JsonValue]) -> M:
    """Return a tool call's arguments as a model; half characters are replaced.

    Raises:
        ValueError: they do not fit; the message is for the Expert that called.
    """
    try:
        return model.model_validate({name: _clean(value) for name, value in arguments.items()})
    except ValidationError as error:
        wrong = error.errors(include_url=False, include_input=False, include_context=False)
        first = ". ".join(
            f"{'.'.join(str(part) for part in one['loc'])}: {one['msg']}" for one in wrong[:3]
        )
        raise ValueError(f"these arguments do not fit: {first}") from error


def schema_of(model: type[Model]) -> dict[str, JsonValue]:
    """Return the JSON schema that calls of a tool must fit."""
    return model.model_json_schema(by_alias=True)


def why_not(who: str, answer: ExpertAnswer) -> ProviderError:
    """Return the error for a run that did not end as it should have."""
    why = _WHY.get(answer.ending, answer.ending)
    said = f": {answer.error}" if answer.error else ""
    return ProviderError(f"{who} {why}{said}", hint=f"perstack log --job {answer.job_id}")


def _clean(value: JsonValue) -> JsonValue:
    """Return JSON whose texts are text: models can write half of a surrogate pair."""
    if isinstance(value, str):
        return value.encode("utf-8", "surrogatepass").decode("utf-8", "replace")
    if isinstance(value, list):
        return [_clean(one) for one in value]
    if isinstance(value, dict):
        return {name: _clean(one) for name, one in value.items()}
    return value
