"""Keeps the values that a user handed to a server out of what the server says."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from pydantic import JsonValue

_MIN_CHARS: Final = 8


class Redactor:
    """Replaces the values of named variables; values too short to be secrets are left alone."""

    def __init__(self, values: Mapping[str, str]) -> None:
        self._values = sorted(
            ((value, name) for name, value in values.items() if len(value) >= _MIN_CHARS),
            key=lambda pair: -len(pair[0]),
        )

    def clean(self, text: str) -> str:
        """Return `text` with each value replaced by its variable's name."""
        for value, name in self._values:
            text = text.replace(value, f"[{name}]")
        return text


def cleaned(value: JsonValue, clean: Callable[[str], str]) -> JsonValue:
    """Return `value` with each of its texts, also the names of members, made clean."""
    if isinstance(value, str):
        return clean(value)
    if isinstance(value, list):
        return [cleaned(each, clean) for each in value]
    return cleaned_object(value, clean) if isinstance(value, dict) else value


def cleaned_object(
    value: Mapping[str, JsonValue], clean: Callable[[str], str]
) -> dict[str, JsonValue]:
    """Return an object with each of its texts, also the names of members, made clean."""
    return {clean(name): cleaned(each, clean) for name, each in value.items()}
