"""Arguments against what a verb takes; what is wrong is said in a sentence."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeVar, cast

from pydantic import JsonValue
from pydantic import ValidationError as ModelError

from perstack.config.report import printable
from perstack.errors import UnfitError
from perstack.serving.verbs.plain_json import check_plain
from perstack.serving.verbs.schemas import input_schema, input_validator
from perstack.serving.verbs.verb import Asked

if TYPE_CHECKING:
    from jsonschema.exceptions import ValidationError

A = TypeVar("A", bound=Asked)
_SHORT: Final = 80
_BOUNDS: Final = {
    "minLength": "must have at least {} characters",
    "maxLength": "must have at most {} characters",
    "minimum": "must be at least {}",
    "maximum": "must be at most {}",
    "exclusiveMinimum": "must be more than {}",
    "exclusiveMaximum": "must be less than {}",
    "minItems": "must have at least {} items",
    "maxItems": "must have at most {} items",
    "pattern": "must match {}",
    "format": "must be a {}",
}


def checked(takes: type[A], arguments: Mapping[str, JsonValue]) -> A:
    """Return the input that the arguments make. A null is what was not given.

    Raises:
        UnfitError: they do not fit; it names the first that does not.
    """
    given = {name: value for name, value in arguments.items() if value is not None}
    check_plain(given)
    if (wrong := _first_wrong(takes, given)) is not None:
        raise UnfitError(wrong.said, hint=_takes(takes))
    try:
        return takes.model_validate(given)
    except ModelError as error:
        first = error.errors(include_url=False, include_input=False, include_context=False)[0]
        place = ".".join(map(str, first["loc"])) or "the arguments"
        raise UnfitError(f"{_short(place)}: {_short(first['msg'])}", hint=_takes(takes)) from error


def _takes(takes: type[Asked]) -> str:
    schema = input_schema(takes)
    properties, required = schema.get("properties"), schema.get("required")
    if not isinstance(properties, dict) or not properties:
        return "it takes no arguments"
    needed = required if isinstance(required, list) else []
    names = (f"{name} (required)" if name in needed else name for name in properties)
    return f"it takes: {', '.join(names)}"


@dataclass(frozen=True, slots=True)
class _Wrong:
    """What `jsonschema` says of the first thing that does not fit, as far as it is shown."""

    place: str
    rule: str
    limit: JsonValue
    message: str
    known: frozenset[str]
    given: tuple[str, ...]

    @property
    def said(self) -> str:
        """A sentence."""
        match self.rule:
            case "required":
                return f"{self.message.split(chr(39))[1]} is required"
            case "additionalProperties":
                unknown = [name for name in self.given if name not in self.known]
                return (
                    f"{self.place}: {_short(unknown[0]) if unknown else 'something'} is not known"
                )
            case "type":
                return f"{self.place} must be of type {_listed(self.limit, ' or ')}"
            case "enum":
                return f"{self.place} must be one of: {_listed(self.limit, ', ')}"
            case _ if self.rule in _BOUNDS:
                limit = f"{self.limit:,}" if isinstance(self.limit, int) else str(self.limit)
                return f"{self.place} {_BOUNDS[self.rule].format(limit)}"
            case _:
                return f"{self.place} does not fit"


def _first_wrong(takes: type[Asked], given: Mapping[str, JsonValue]) -> _Wrong | None:
    from jsonschema.exceptions import (
        best_match,  # pyright: ignore[reportUnknownVariableType]
    )

    found = cast("ValidationError | None", best_match(input_validator(takes).iter_errors(given)))  # pyright: ignore[reportUnknownMemberType]
    if found is None:
        return None
    schema = cast("object", found.schema)
    instance = cast("object", found.instance)
    properties = schema.get("properties") if isinstance(schema, dict) else None  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]
    return _Wrong(
        place=_short(".".join(map(str, found.absolute_path)) or "the arguments"),
        rule=str(found.validator),
        limit=cast("JsonValue", found.validator_value),
        message=found.message,
        known=frozenset(map(str, properties)) if isinstance(properties, dict) else frozenset(),  # pyright: ignore[reportUnknownArgumentType]
        given=tuple(map(str, instance)) if isinstance(instance, dict) else (),  # pyright: ignore[reportUnknownArgumentType]
    )


def _listed(limit: JsonValue, between: str) -> str:
    return between.join(map(str, limit)) if isinstance(limit, list) else str(limit)


def _short(text: str) -> str:
    return printable(text if len(text) <= _SHORT else f"{text[:_SHORT]}…")
