"""JSON Schemas of what verbs take and give, as the published document has them."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any, Final, cast

from pydantic import JsonValue
from pydantic.json_schema import GenerateJsonSchema

from perstack.domain.base import Model
from perstack.serving.failures import Failure
from perstack.serving.verbs.verb import AnyVerb

if TYPE_CHECKING:
    from jsonschema import Draft202012Validator

Schema = dict[str, JsonValue]
_NULL: Final[Schema] = {"type": "null"}
_PLAIN: Final = frozenset({str, int, bool})
_UNSAID: Final = frozenset({"title"})


class _Plain(GenerateJsonSchema):
    """Definitions keep the models' names."""

    def encode_default(self, dft: Any) -> Any:
        """Return a default as JSON; what is JSON already needs no adapter of its type."""
        return dft if dft is None or type(dft) in _PLAIN else super().encode_default(dft)


@cache
def input_schema(model: type[Model]) -> Schema:
    """Return what a verb takes: what may be left out is left out, never null."""
    made = _tidied(_schema_of(model, "validation"))
    made.setdefault("properties", {})
    made.pop("description", None)
    return made


@cache
def input_validator(model: type[Model]) -> Draft202012Validator:
    """Return what checks arguments against `input_schema`."""
    from jsonschema import Draft202012Validator

    return Draft202012Validator(input_schema(model))


def output_schema(verb: AnyVerb) -> Schema:
    """Return what a verb answers: its result, or why there is none."""
    return _answer_schema(verb.gives)


@cache
def _answer_schema(model: type[Model]) -> Schema:
    made = _tidied(_schema_of(model, "serialization"))
    definitions = made.pop("$defs", None)
    failed: Schema = {
        "type": "object",
        "description": "Why it was not done.",
        "properties": {
            "error": {"type": "string"},
            "code": {"type": "string"},
            "hint": {"type": "string"},
            "success": {"const": False},
            "found": {"const": False},
            "message": {"type": "string"},
        },
        "required": ["error", "code"],
    }
    both: Schema = {"type": "object", "anyOf": [made, failed]}
    if definitions is not None:
        both["$defs"] = definitions
    return both


def failure_schema() -> Schema:
    """Return the shape of every error."""
    return _tidied(_schema_of(Failure, "serialization"))


def _schema_of(model: type[Model], mode: str) -> Schema:
    made = model.model_json_schema(
        by_alias=True,
        mode="serialization" if mode == "serialization" else "validation",
        schema_generator=_Plain,
    )
    return cast("Schema", made)


def _tidied(schema: Schema) -> Schema:
    """Return it without titles, and with null nowhere: what is None is not there."""
    return {
        name: _in_one_line(value) if name == "description" else _without_null(value)
        for name, value in _with_optional(schema).items()
        if name not in _UNSAID or not isinstance(value, str)
    }


def _in_one_line(value: JsonValue) -> JsonValue:
    # A field that is called so has a schema there, not a text.
    return " ".join(value.split()) if isinstance(value, str) else _without_null(value)


def _with_optional(schema: Schema) -> Schema:
    properties, required = schema.get("properties"), schema.get("required")
    if not isinstance(properties, dict) or not isinstance(required, list):
        return schema
    kept: list[JsonValue] = [
        name for name in required if not _may_be_null(properties.get(str(name)))
    ]
    return {**{k: v for k, v in schema.items() if k != "required"}, "required": kept}


def _may_be_null(schema: JsonValue) -> bool:
    if not isinstance(schema, dict):
        return False
    options = schema.get("anyOf")
    return isinstance(options, list) and _NULL in options


def _without_null(value: JsonValue) -> JsonValue:
    match value:
        case list():
            return [_without_null(one) for one in value]
        case dict():
            return _collapsed(value)
        case _:
            return value


def _collapsed(schema: Schema) -> Schema:
    tidied = _tidied(schema)
    options = tidied.get("anyOf")
    if not isinstance(options, list) or _NULL not in options:
        return tidied
    left = [one for one in options if one != _NULL]
    rest = {name: one for name, one in tidied.items() if name not in ("anyOf", "default")}
    only = left[0] if len(left) == 1 else None
    return {**only, **rest} if isinstance(only, dict) else {**rest, "anyOf": left}
