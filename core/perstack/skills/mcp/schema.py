"""Checks values against schemas that a tool server wrote, which may be wrong or hostile."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, Protocol

from pydantic import JsonValue

_NAMED: Final = ("properties", "$defs", "definitions", "dependentSchemas")
_DATA: Final = ("enum", "const", "default", "examples")
# What a schema that is no schema can make the validator raise besides its own errors.
_CONFUSED: Final = (RecursionError, TypeError, ValueError, LookupError, AttributeError)
_MAX_PROBLEMS: Final = 3
_MAX_PROBLEM_CHARS: Final = 300


class _Problem(Protocol):
    @property
    def json_path(self) -> str: ...
    @property
    def message(self) -> str: ...


class Checker:
    """A schema, compiled when it is first needed. A schema that is itself broken accepts all.

    Patterns are not checked, since one can take years; nothing is fetched for a `$ref`.
    """

    def __init__(self, schema: JsonValue) -> None:
        self._schema = schema

    def problem(self, value: JsonValue) -> str | None:
        """Return what is wrong with `value`, None if nothing is. Blocking: run it in a thread."""
        if not isinstance(self._schema, dict):
            return None
        from jsonschema.exceptions import SchemaError, UnknownType
        from referencing.exceptions import Unresolvable

        try:
            found = _problems(_without_patterns(self._schema), value)
        except (SchemaError, UnknownType, Unresolvable):
            return None
        except _CONFUSED:
            return None
        return "; ".join(found) or None


def why_broken(schema: dict[str, JsonValue]) -> str | None:
    """Return why `schema` is no JSON Schema, None if it is one. Blocking: run it in a thread."""
    from jsonschema.exceptions import SchemaError
    from jsonschema.validators import Draft202012Validator, validator_for

    try:
        validator_for(schema, default=Draft202012Validator).check_schema(schema)
    except SchemaError as error:
        return f"{error.json_path}: {error.message}"[:_MAX_PROBLEM_CHARS]
    except _CONFUSED:
        return "it is too deep or refers to what is not there"
    return None


def _problems(schema: dict[str, JsonValue], value: JsonValue) -> list[str]:
    import itertools

    from jsonschema.validators import Draft202012Validator, validator_for
    from referencing import Registry

    kind = validator_for(schema, default=Draft202012Validator)
    kind.check_schema(schema)
    errors: Iterable[_Problem] = kind(schema, registry=Registry()).iter_errors(value)
    return [
        f"{error.json_path}: {error.message}"[:_MAX_PROBLEM_CHARS]
        for error in itertools.islice(errors, _MAX_PROBLEMS)
    ]


def _without_patterns(schema: dict[str, JsonValue]) -> dict[str, JsonValue]:
    """Return `schema` with everything left out that a regular expression decides."""
    dropped = {"pattern", "patternProperties"}
    if "patternProperties" in schema:
        dropped |= {"additionalProperties", "unevaluatedProperties"}
    return {key: _kept(key, value) for key, value in schema.items() if key not in dropped}


def _kept(key: str, value: JsonValue) -> JsonValue:
    if key in _DATA:
        return value
    if key in _NAMED and isinstance(value, dict):
        return {name: _mended(each) for name, each in value.items()}
    return _mended(value)


def _mended(value: JsonValue) -> JsonValue:
    if isinstance(value, list):
        return [_mended(item) for item in value]
    return _without_patterns(value) if isinstance(value, dict) else value
