"""Forms: what a tool server may ask the user, and answers that fit.

A form is the JSON Schema of a flat object whose values are texts, numbers or booleans. Schemas
come from servers, so only what is understood is kept of them; regular expressions are not.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal, NoReturn, Protocol

if TYPE_CHECKING:
    from pydantic import JsonValue

    Schema = Mapping[str, JsonValue]
    Object = dict[str, JsonValue]

MAX_FIELDS: Final = 32
MAX_CHOICES: Final = 100
MAX_FORM_CHARS: Final = 20_000
MAX_ANSWER_CHARS: Final = 20_000

FieldKind = Literal["string", "number", "integer", "boolean"]
_KINDS: Final[dict[str, FieldKind]] = {
    "string": "string",
    "number": "number",
    "integer": "integer",
    "boolean": "boolean",
}
_BEYOND: Final = ("$ref", "allOf", "not", "if", "properties", "items", "patternProperties")
_SHOWN_CHARS: Final = 300
_FORMATS: Final = ("email", "date")
_YES: Final = ("yes", "y", "true", "1")
_NO: Final = ("no", "n", "false", "0")


class _Problem(Protocol):
    @property
    def absolute_path(self) -> Iterable[str | int]: ...
    @property
    def message(self) -> str: ...


@dataclass(frozen=True, slots=True)
class InputField:
    """One field of a form. `choices` are the only values there are, `labels` what they mean.

    `default` is what the server suggests, as text.
    """

    name: str
    title: str
    kind: FieldKind
    required: bool
    description: str = ""
    choices: tuple[str, ...] = ()
    labels: tuple[str, ...] = ()
    default: str = ""

    def value_of(self, text: str) -> JsonValue:
        """Return what somebody typed as the field's value.

        Raises:
            ValueError: it is none; the message says what is wanted.
        """
        if self.choices:
            return self._chosen(text)
        match self.kind:
            case "string":
                return text
            case "boolean":
                return _as_boolean(text)
            case "integer" | "number":
                return _as_number(text, whole=self.kind == "integer")

    def _chosen(self, text: str) -> str:
        if text in self.choices:
            return text
        if text in self.labels:
            return self.choices[self.labels.index(text)]
        raise ValueError(f"one of: {', '.join(self.choices)}")


def form_of(schema: Schema) -> Object | None:
    """Return `schema` with only what is checked and shown, None if it is not that of a form."""
    properties = schema.get("properties", {})
    if schema.get("type") != "object" or not isinstance(properties, dict):
        return None
    if len(properties) > MAX_FIELDS or any(key in schema for key in ("$ref", "allOf", "anyOf")):
        return None
    kept: Object = {}
    for name, value in properties.items():
        field = _field_schema(value) if isinstance(value, dict) else None
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


def fields_of(form: Schema) -> tuple[InputField, ...]:
    """Return the fields of a form that `form_of` made, in the server's order."""
    properties, required = form.get("properties"), form.get("required")
    if not isinstance(properties, dict):
        return ()
    wanted = required if isinstance(required, list) else []
    return tuple(
        _field(name, value, required=name in wanted)
        for name, value in properties.items()
        if isinstance(value, dict)
    )


def form_lines(form: Schema) -> list[str]:
    """Return the fields in words, a line each."""
    return [_in_words(field) for field in fields_of(form)]


def read_answer(form: Schema, text: str) -> Object:
    """Return the object that somebody answered with: JSON, or just the value of a single field.

    Raises:
        ValueError: it is neither, or does not fit; the message says why.
    """
    if len(text) > MAX_ANSWER_CHARS:
        raise ValueError(f"an answer has at most {MAX_ANSWER_CHARS:,} characters")
    answer = _answer(form, text)
    problem = _problem(form, answer)
    if problem is not None:
        raise ValueError(problem)
    return answer


def _answer(form: Schema, text: str) -> Object:
    fields = fields_of(form)
    given = _parsed(text)
    if isinstance(given, dict):
        return given
    if len(fields) == 1 and text.strip():
        return {fields[0].name: fields[0].value_of(text.strip())}
    if not text.strip() and not fields:
        return {}
    names = ", ".join(field.name for field in fields) or "none"
    raise ValueError(f"a JSON object is wanted; its fields: {names}")


def _parsed(text: str) -> JsonValue:
    try:
        return json.loads(text, parse_constant=_no_constant)
    except (ValueError, RecursionError):
        return None


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON")


def _problem(form: Schema, answer: Object) -> str | None:
    """Return the first thing that is wrong with `answer`."""
    from jsonschema import Draft202012Validator, FormatChecker
    from jsonschema.validators import validator_for

    checker = validator_for(form, default=Draft202012Validator)
    formats = FormatChecker(formats=_FORMATS)
    problems: Iterable[_Problem] = checker(form, format_checker=formats).iter_errors(answer)
    for error in problems:
        where = ".".join(str(part) for part in error.absolute_path)
        said = error.message[:_SHOWN_CHARS]
        return f"{where}: {said}" if where else said
    return None


# ---------------------------------------------------------------- one field


def _field_schema(given: Object) -> Object | None:
    given = _without_null(given)
    kind = _KINDS.get(str(given.get("type", "string" if _is_choice(given) else "")))
    if kind is None or any(key in given for key in (*_BEYOND, "anyOf")):
        return None
    kept: Object = {"type": kind}
    for key in ("title", "description"):
        if isinstance(value := given.get(key), str):
            kept[key] = value
    if _is_choice(given):
        choices = _choices(given) if kind == "string" else None
        if choices is None:
            return None
        kept |= choices
    if kind == "string":
        _keep(kept, given, ("minLength", "maxLength"), whole=True)
        if given.get("format") in _FORMATS:
            kept["format"] = given["format"]
    elif kind != "boolean":
        _keep(kept, given, ("minimum", "maximum"), whole=False)
    default = given.get("default")
    if isinstance(default, str | bool | int) or (
        isinstance(default, float) and math.isfinite(default)
    ):
        kept["default"] = default
    return kept


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


def _keep(kept: Object, given: Object, keys: tuple[str, ...], *, whole: bool) -> None:
    for key in keys:
        value = given.get(key)
        if isinstance(value, bool) or not isinstance(value, int | float):
            continue
        if math.isfinite(value) and (not whole or (isinstance(value, int) and value >= 0)):
            kept[key] = value


def _field(name: str, schema: Object, *, required: bool) -> InputField:
    enum, labels, default = schema.get("enum"), schema.get("enumNames"), schema.get("default")
    title, description = schema.get("title"), schema.get("description")
    choices = tuple(str(one) for one in enum) if isinstance(enum, list) else ()
    return InputField(
        name=name,
        title=title if isinstance(title, str) and title.strip() else name,
        kind=_KINDS[str(schema["type"])],
        required=required,
        description=description if isinstance(description, str) else "",
        choices=choices,
        labels=tuple(str(one) for one in labels) if isinstance(labels, list) else choices,
        default="" if default is None else _as_text(default),
    )


def _as_text(value: JsonValue) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _in_words(field: InputField) -> str:
    kind = " | ".join(field.choices) if field.choices else field.kind
    named = field.name if field.title == field.name else f"{field.name} ({field.title})"
    about = f": {field.description}" if field.description else ""
    return f"{named}: {kind}{'' if field.required else ', may be left out'}{about}"


def _as_boolean(text: str) -> bool:
    lowered = text.lower()
    if lowered in _YES:
        return True
    if lowered in _NO:
        return False
    raise ValueError("yes or no")


def _as_number(text: str, *, whole: bool) -> int | float:
    try:
        return int(text) if whole else _finite(float(text))
    except ValueError:
        raise ValueError("a whole number" if whole else "a number") from None


def _finite(number: float) -> float:
    if not math.isfinite(number):
        raise ValueError
    return number
