"""Pieces of the JSON Schema of `perstack.toml`, one for each way that `Table` reads a value.

Draft 4 is the newest that the TOML tools of editors know all of.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from pydantic import JsonValue

from perstack.config.limits import HEADER_NAME, LIST_ITEMS, NAME_LENGTH, TEXT_LENGTH

Schema = dict[str, JsonValue]


def text(
    says: str,
    *,
    shortest: int = 0,
    longest: int = TEXT_LENGTH,
    rule: re.Pattern[str] | None = None,
    default: str | None = None,
) -> Schema:
    """Return the schema of `Table.text`."""
    part: Schema = {"description": says, "type": "string", "maxLength": longest}
    if shortest:
        part["minLength"] = shortest
    if rule is not None:
        part["pattern"] = whole(rule)
    return _with_default(part, default)


def url(says: str) -> Schema:
    """Return the schema of an address; which hosts it may name is for the reader to say."""
    return {
        "description": says,
        "type": "string",
        "minLength": 1,
        "maxLength": TEXT_LENGTH,
        "pattern": "^https?://[^ ]+$",
    }


def integer(says: str, bounds: tuple[int, int], default: int | None = None) -> Schema:
    """Return the schema of `Table.integer`."""
    low, high = bounds
    part: Schema = {"description": says, "type": "integer", "minimum": low, "maximum": high}
    return _with_default(part, default)


def number(says: str, bounds: tuple[float, float], default: float | None = None) -> Schema:
    """Return the schema of `Table.number`."""
    low, high = bounds
    part: Schema = {"description": says, "type": "number", "minimum": low, "maximum": high}
    return _with_default(part, default)


def flag(says: str, *, default: bool) -> Schema:
    """Return the schema of `Table.flag`."""
    return {"description": says, "type": "boolean", "default": default}


def choice(says: str, words: Sequence[str], default: str | None = None) -> Schema:
    """Return the schema of `Table.choice`."""
    return _with_default({"description": says, "type": "string", "enum": [*words]}, default)


def choices(says: str, words: Sequence[str], default: Sequence[str]) -> Schema:
    """Return the schema of `Table.choices`."""
    items: Schema = {"type": "string", "enum": [*words]}
    return {
        "description": says,
        "type": "array",
        "items": items,
        "maxItems": LIST_ITEMS,
        "default": [*default],
    }


def texts(
    says: str,
    *,
    most: int = LIST_ITEMS,
    longest: int = NAME_LENGTH,
    empty_items: bool = False,
    rule: re.Pattern[str] | None = None,
    default: Sequence[str] | None = None,
) -> Schema:
    """Return the schema of `Table.texts`."""
    items: Schema = {"type": "string", "maxLength": longest}
    if not empty_items:
        items["minLength"] = 1
    if rule is not None:
        items["pattern"] = whole(rule)
    part: Schema = {"description": says, "type": "array", "items": items, "maxItems": most}
    return _with_default(part, None if default is None else [*default])


def program(says: str, *, longest: int) -> Schema:
    """Return the schema of a command as a list; its first item names a program."""
    first: Schema = {"type": "string", "minLength": 1, "maxLength": longest}
    rest: Schema = {"type": "string", "maxLength": longest}
    return {
        "description": says,
        "type": "array",
        "items": [first],
        "additionalItems": rest,
        "minItems": 1,
        "maxItems": LIST_ITEMS,
    }


def headers(says: str) -> Schema:
    """Return the schema of headers that are sent as they stand."""
    value: Schema = {"type": "string", "maxLength": TEXT_LENGTH, "pattern": "^[ -~]*$"}
    return named(says, HEADER_NAME, value)


def table(says: str, properties: Mapping[str, Schema], *, required: Sequence[str] = ()) -> Schema:
    """Return the schema of a table that has these keys and no others."""
    part: Schema = {
        "description": says,
        "type": "object",
        "properties": {**properties},
        "additionalProperties": False,
    }
    if required:
        part["required"] = [*required]
    return part


def named(says: str, rule: re.Pattern[str], value: Schema, *, longest: int = NAME_LENGTH) -> Schema:
    """Return the schema of a table whose keys are names of at most `longest` characters."""
    pattern = f"^(?=[\\s\\S]{{1,{longest}}}$)(?:{_portable(rule)})$"
    return {
        "description": says,
        "type": "object",
        "patternProperties": {pattern: value},
        "additionalProperties": False,
    }


def whole(rule: re.Pattern[str]) -> str:
    """Return the rule so that it must match from the first to the last character."""
    return f"^(?:{_portable(rule)})$"


def _portable(rule: re.Pattern[str]) -> str:
    # What is a digit in Python is more than one elsewhere.
    return rule.pattern.replace(r"\d", "[0-9]")


def _with_default(part: Schema, default: JsonValue) -> Schema:
    return part if default is None else {**part, "default": default}
