"""Whether a call's arguments fit a tool's schema."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final, Protocol

from pydantic import JsonValue

_SHOWN: Final = 300


class _Problem(Protocol):
    """What the validator finds, as far as it is used."""

    @property
    def absolute_path(self) -> Iterable[object]: ...

    @property
    def message(self) -> str: ...


def misfit(schema: Mapping[str, JsonValue], args: Mapping[str, JsonValue]) -> str | None:
    """Return in one line where `args` do not fit the JSON Schema, None where they do."""
    from jsonschema import Draft202012Validator
    from jsonschema.validators import validator_for

    checker = validator_for(dict(schema), default=Draft202012Validator)
    problems: Iterable[_Problem] = checker(dict(schema)).iter_errors(dict(args))
    for problem in problems:
        at = ".".join(str(step) for step in problem.absolute_path) or "arguments"
        return f"{at}: {problem.message[:_SHOWN]}"
    return None
