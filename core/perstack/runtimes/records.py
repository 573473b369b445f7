"""Looking into records of programs, whose shapes are theirs to change."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from typing import Final, cast

from pydantic import JsonValue

_NOTHING: Mapping[str, JsonValue] = {}
# Deeper ones cannot be stored, and say nothing.
_DEEPEST: Final = 64
_LONGEST_LINE: Final = 1_000
# What a secret may end in; half of one would not be known again.
_LAST_WORD: Final = re.compile(r"[^\s\"',;{}()<>\[\]]*\Z")


def fit_record(line: bytes) -> Mapping[str, JsonValue] | None:
    """Return the record that a line holds, None when it holds none, or one that nobody can keep.

    Numbers that are none become None, halves of characters a question mark.
    """
    try:
        found: object = json.loads(line, parse_float=_finite, parse_constant=_no_number)
    except (ValueError, RecursionError):
        return None
    if not isinstance(found, dict):
        return None
    record = cast("dict[str, JsonValue]", found)
    # Few are so deep, or hold escapes that may be half of a character.
    if b"\\u" not in line and line.count(b"{") + line.count(b"[") <= _DEEPEST:
        return record
    fit = _fit(record, 0)
    return fit if isinstance(fit, dict) else None


def shown_line(line: bytes) -> str:
    """Return a line for an error message: at most 1,000 characters, no word of it cut in two."""
    text = line[: 4 * _LONGEST_LINE + 4].decode("utf-8", "replace").strip()
    if len(text) <= _LONGEST_LINE and len(line) <= 4 * _LONGEST_LINE:
        return text
    return _LAST_WORD.sub("", text[:_LONGEST_LINE]) + "…"


def text_at(record: Mapping[str, JsonValue], key: str) -> str:
    """Return the text at `key`, "" when there is none."""
    value = record.get(key)
    return value if isinstance(value, str) else ""


def number_at(record: Mapping[str, JsonValue], key: str) -> float | None:
    """Return the finite number at `key`, None when there is none."""
    value = record.get(key)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    return number if math.isfinite(number) else None


def count_at(record: Mapping[str, JsonValue], key: str) -> int:
    """Return the count at `key`, 0 when there is none or it cannot be one."""
    value = number_at(record, key)
    return int(value) if value is not None and 0 <= value < 1e12 else 0


def child(record: Mapping[str, JsonValue], key: str) -> Mapping[str, JsonValue]:
    """Return the object at `key`, an empty one when there is none."""
    value = record.get(key)
    return value if isinstance(value, dict) else _NOTHING


def children(record: Mapping[str, JsonValue], key: str) -> list[Mapping[str, JsonValue]]:
    """Return the objects of the list at `key`."""
    value = record.get(key)
    return [one for one in value if isinstance(one, dict)] if isinstance(value, list) else []


def content_text(value: JsonValue) -> str:
    """Return a content as text: as it is, its text blocks joined, or else as JSON."""
    if isinstance(value, str):
        return value
    if value is None:
        return ""
    if isinstance(value, list) and all(isinstance(one, dict) for one in value):
        blocks = [one for one in value if isinstance(one, dict)]
        if all(isinstance(one.get("text"), str) for one in blocks):
            return "".join(text_at(one, "text") for one in blocks)
    return json.dumps(value, ensure_ascii=False)


def _finite(text: str) -> float | None:
    number = float(text)
    return number if math.isfinite(number) else None


def _no_number(name: str) -> None:
    del name


def _fit(value: JsonValue, depth: int) -> JsonValue:
    """Return the value as it can be stored; None in place of what is too deep."""
    match value:
        case str():
            return _whole(value)
        case list() | dict() if depth >= _DEEPEST:
            return None
        case list():
            return [_fit(one, depth + 1) for one in value]
        case dict():
            return {_whole(key): _fit(one, depth + 1) for key, one in value.items()}
        case _:
            return value


def _whole(text: str) -> str:
    return text if text.isascii() else text.encode("utf-8", "replace").decode()
