"""Keeps the values that a user handed to a server out of what the server says."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

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
