"""What a form asks, and answers that fit it (the form itself: `domain/forms.py`)."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Final, Literal, NoReturn, Protocol
from urllib.parse import urlsplit

from perstack.domain.forms import FORMATS

if TYPE_CHECKING:
    from jsonschema import FormatChecker
    from pydantic import JsonValue

    Schema = Mapping[str, JsonValue]
    Object = dict[str, JsonValue]

MAX_ANSWER_CHARS: Final = 20_000

FieldKind = Literal["string", "number", "integer", "boolean"]
_KINDS: Final[dict[str, FieldKind]] = {
    "string": "string",
    "number": "number",
    "integer": "integer",
    "boolean": "boolean",
    "array": "string",
}
_SHOWN_CHARS: Final = 300
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

    With `several`, from `at_least` to `at_most` (None: all) of them can be chosen. `format` is
    what a text must look like. `default` is what the server suggests, as text.
    """

    name: str
    title: str
    kind: FieldKind
    required: bool
    description: str = ""
    choices: tuple[str, ...] = ()
    labels: tuple[str, ...] = ()
    default: str = ""
    format: str = ""
    several: bool = False
    at_least: int = 0
    at_most: int | None = None

    @property
    def wanted(self) -> str:
        """What kind of value is wanted, in words; "" where only the choices are to be shown."""
        if not self.several:
            return "" if self.choices else self.format or self.kind
        if self.at_most is None:
            return f"at least {self.at_least} of them" if self.at_least else "any of them"
        return f"{f'{self.at_least} to' if self.at_least else 'at most'} {self.at_most} of them"

    def value_of(self, text: str) -> JsonValue:
        """Return what somebody typed as the field's value; several have commas between them.

        Raises:
            ValueError: it is none; the message says what is wanted.
        """
        if self.several:
            return [*self.chosen(text)]
        if self.choices:
            return self._chosen(text)
        match self.kind:
            case "string":
                return text
            case "boolean":
                return _as_boolean(text)
            case "integer" | "number":
                return _as_number(text, whole=self.kind == "integer")

    def chosen(self, text: str) -> list[str]:
        """Return the choices that `text` names with commas between them, each once.

        Raises:
            ValueError: something in it is no choice, or there are too few or too many.
        """
        found: dict[str, None] = {}
        rest = text.strip()
        while rest:
            word = self._first_of(rest)
            found[self._chosen(word)] = None
            rest = rest[len(word) :].lstrip().removeprefix(",").strip()
        if len(found) < self.at_least or len(found) > (self.at_most or len(self.choices)):
            raise ValueError(f"{self.wanted}, with commas between")
        return list(found)

    def _first_of(self, text: str) -> str:
        """Return the longest choice that `text` begins with: one may hold a comma itself."""
        for known in sorted({*self.choices, *self.labels}, key=len, reverse=True):
            after = text[len(known) :].lstrip()
            if text.startswith(known) and (not after or after.startswith(",")) and known:
                return known
        return text.partition(",")[0].strip()

    def _chosen(self, text: str) -> str:
        if text in self.choices:
            return text
        if text in self.labels:
            return self.choices[self.labels.index(text)]
        raise ValueError(f"one of: {', '.join(self.choices)}")


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
        return {fields[0].name: _single(fields[0], text.strip(), given)}
    if not text.strip() and not fields:
        return {}
    names = ", ".join(field.name for field in fields) or "none"
    raise ValueError(f"a JSON object is wanted; its fields: {names}")


def _single(field: InputField, text: str, given: JsonValue) -> JsonValue:
    return given if field.several and isinstance(given, list) else field.value_of(text)


def _parsed(text: str) -> JsonValue:
    try:
        return json.loads(text, parse_constant=_no_constant)
    except (ValueError, RecursionError):
        return None


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON")


def _problem(form: Schema, answer: Object) -> str | None:
    """Return the first thing that is wrong with `answer`."""
    from jsonschema import Draft202012Validator
    from jsonschema.validators import validator_for

    checker = validator_for(form, default=Draft202012Validator)
    problems: Iterable[_Problem] = checker(form, format_checker=_formats()).iter_errors(answer)
    for error in problems:
        where = ".".join(str(part) for part in error.absolute_path)
        said = error.message[:_SHOWN_CHARS]
        return f"{where}: {said}" if where else said
    return None


def _formats() -> FormatChecker:
    """Return what checks `FORMATS`; for some, the library itself would need others."""
    from jsonschema import FormatChecker

    checker = FormatChecker(formats=[one for one in FORMATS if one in FormatChecker.checkers])
    checker.checks("uri", raises=ValueError)(_is_uri)
    checker.checks("date-time", raises=ValueError)(_is_moment)
    return checker


def _is_uri(value: object) -> bool:
    if not isinstance(value, str):
        return True
    parts = urlsplit(value)
    return bool(parts.scheme and (parts.netloc or parts.path)) and not any(map(str.isspace, value))


def _is_moment(value: object) -> bool:
    return not isinstance(value, str) or datetime.fromisoformat(value).tzinfo is not None


# ---------------------------------------------------------------- one field


def _field(name: str, schema: Object, *, required: bool) -> InputField:
    items = schema.get("items")
    chosen_from = items if isinstance(items, dict) else schema
    enum, labels = chosen_from.get("enum"), chosen_from.get("enumNames")
    title, description = schema.get("title"), schema.get("description")
    choices = tuple(str(one) for one in enum) if isinstance(enum, list) else ()
    at_least, at_most = schema.get("minItems"), schema.get("maxItems")
    return InputField(
        name=name,
        title=title if isinstance(title, str) and title.strip() else name,
        kind=_KINDS[str(schema["type"])],
        required=required,
        description=description if isinstance(description, str) else "",
        choices=choices,
        labels=tuple(str(one) for one in labels) if isinstance(labels, list) else choices,
        default=_as_text(schema.get("default")),
        format=str(schema.get("format", "")),
        several=schema["type"] == "array",
        at_least=at_least if isinstance(at_least, int) else 0,
        at_most=at_most if isinstance(at_most, int) else None,
    )


def _as_text(value: JsonValue) -> str:
    match value:
        case None:
            return ""
        case str():
            return value
        case list():
            return ", ".join(str(one) for one in value)
        case _:
            return json.dumps(value)


def _in_words(field: InputField) -> str:
    choices = " | ".join(field.choices)
    wanted = f"{choices} ({field.wanted})" if field.several else choices or field.wanted
    named = field.name if field.title == field.name else f"{field.name} ({field.title})"
    about = f": {field.description}" if field.description else ""
    return f"{named}: {wanted}{'' if field.required else ', may be left out'}{about}"


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
