"""Text from tools, made fit to be stored and sent."""

from __future__ import annotations

import json
from typing import Final

from pydantic import JsonValue

from perstack.domain.messages import TextPart

MAX_TEXT_CHARS: Final = 200_000


def storable(text: str) -> str:
    """Return `text` with half characters (lone surrogates), which no file can hold, replaced."""
    return text.encode("utf-8", "replace").decode("utf-8")


def json_part(value: JsonValue) -> TextPart:
    """Return `value` as JSON in a text part."""
    return TextPart(text=storable(json.dumps(value, ensure_ascii=False)))


def cut(text: str, at_most: int = MAX_TEXT_CHARS) -> str:
    """Return the beginning of `text`, with a mark that says so if something was left out."""
    if len(text) <= at_most:
        return text
    return f"{text[:at_most]}\n… cut: {at_most:,} of {len(text):,} characters are shown …"


def printable(text: str) -> str:
    """Return `text` with what a terminal might act on replaced, for use in an error message."""
    return "".join(letter if letter.isprintable() else "\ufffd" for letter in text)
