"""The schema of a form, as far as it is understood.

A form is the JSON Schema of a flat object whose values are texts, numbers, booleans or choices, of
which several may be allowed. Schemas come from tool servers, so only what is checked or shown is
kept of them; regular expressions are not.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from pydantic import JsonValue

    Schema = Mapping[str, JsonValue]
    Object = dict[str, JsonValue]

MAX_FIELDS: Final = 32
MAX_CHOICES: Final = 100
MAX_FORM_CHARS: Final = 20_000
FORMATS: Final = ("email", "date", "date-time", "uri")

_KINDS: Final = ("string", "number", "integer", "boolean", "array")
_BEYOND: Final = ("$ref", "allOf", "not", "if", "properties", "patternProperties")


def form_of(schema: Schema) -> Object | None:
    """Return `schema` with only what is checked and shown, None if it is not that of a form."""
    properties = schema.get("properties", {})
    if schema.get("type") != "object" or not isinstance(properties, dict):
        return None
    if len(properties) > MAX_FIELDS or any(key in schema for key in ("$ref", "allOf", "anyOf")):
        return None
    kept: Object = {}
    for name, value in properties.items():
        field = _field(value) if isinstance(value, dict) else None
        if field is None:
            return None
        kept[name] = field
    required = schema.get("required", [])
    if not isinstance(required, list) or any(name not in kept for name in map(str, required)):
        return None
    form: Object = {
        "type": "object",
        "properties": kept,
        "required": list(required),
        "additionalProperties": False,
    }
    return form if len(json.dumps(form)) <= MAX_FORM_CHARS else None


def _field(given: Object) -> Object | None:
    given = _without_null(given)
    kind = str(given.get("type", "string" if _is_choice(given) else ""))
    if kind not in _KINDS or any(key in given for key in (*_BEYOND, "anyOf")):
        return None
    told: Object = {"type": kind}
    for key in ("title", "description"):
        if isinstance(value := given.get(key), str):
            told[key] = value
    rules = _rules(kind, given)
    return None if rules is None else told | rules | _default(kind, rules, given)


def _rules(kind: str, given: Object) -> Object | None:
    """Return what a value must be like, None if that is not understood."""
    if kind == "array":
        return _several(given)
    if "items" in given:
        return None
    if _is_choice(given):
        return _choices(given) if kind == "string" else None
    if kind == "string":
        said = given.get("format")
        formatted: Object = {"format": said} if said in FORMATS else {}
        return _bounds(given, ("minLength", "maxLength"), whole=True) | formatted
    return {} if kind == "boolean" else _bounds(given, ("minimum", "maximum"), whole=False)


def _several(given: Object) -> Object | None:
    """Return a choice of several: a list without repetitions of what its items may be."""
    items = given.get("items")
    if not isinstance(items, dict) or str(items.get("type", "string")) != "string":
        return None
    titled: Object = {"oneOf": items["anyOf"]} if "anyOf" in items else {}
    choices = _choices({**items, **titled})
    if choices is None:
        return None
    bounds = _bounds(given, ("minItems", "maxItems"), whole=True)
    return {"items": {"type": "string", **choices}, "uniqueItems": True, **bounds}


def _without_null(given: Object) -> Object:
    """Return the schema of a value that may be missing as that of the value."""
    kind = given.get("type")
    if isinstance(kind, list) and "null" in kind and len(kind) == 2:
        return {**given, "type": next(one for one in kind if one != "null")}
    options = given.get("anyOf")
    if not isinstance(options, list):
        return given
    left = [one for one in options if isinstance(one, dict) and one.get("type") != "null"]
    if len(left) != 1 or len(options) - len(left) > 1:
        return given
    return {**{key: value for key, value in given.items() if key != "anyOf"}, **left[0]}


def _is_choice(given: Object) -> bool:
    return "enum" in given or "oneOf" in given


def _choices(given: Object) -> Object | None:
    """Return a choice as `enum`, with what each means beside it, None if it is another thing."""
    enum, one_of, names = given.get("enum"), given.get("oneOf"), given.get("enumNames")
    labels: list[JsonValue] = []
    if isinstance(one_of, list):
        titled = [one for one in one_of if isinstance(one, dict)]
        enum = [one.get("const") for one in titled]
        labels = [one.get("title", one.get("const")) for one in titled]
        if len(titled) != len(one_of):
            return None
    elif isinstance(names, list):
        labels = names
    if not isinstance(enum, list) or not 0 < len(enum) <= MAX_CHOICES:
        return None
    if not all(isinstance(one, str) for one in (*enum, *labels)):
        return None
    return {"enum": enum, "enumNames": labels} if len(labels) == len(enum) else {"enum": enum}


def _bounds(given: Object, keys: tuple[str, ...], *, whole: bool) -> Object:
    kept: Object = {}
    for key in keys:
        value = given.get(key)
        if _is_number(value) and (not whole or (isinstance(value, int) and value >= 0)):
            kept[key] = value
    return kept


def _default(kind: str, rules: Object, given: Object) -> Object:
    """Return what the server suggests, if it is a value that could be given."""
    value, items = given.get("default"), rules.get("items")
    if kind == "array":
        choices = items["enum"] if isinstance(items, dict) else None
        known = choices if isinstance(choices, list) else []
        fits = isinstance(value, list) and all(one in known for one in value)
    elif isinstance(choices := rules.get("enum"), list):
        fits = value in choices
    else:
        fits = isinstance(value, str | bool) or _is_number(value)
    return {"default": value} if fits else {}


def _is_number(value: JsonValue) -> bool:
    """Whether the value is a number that can be counted with."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    try:
        return math.isfinite(value)
    except OverflowError:
        return False
