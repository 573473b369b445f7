"""Looking into records of programs, whose shapes are theirs to change."""

from __future__ import annotations

import json
from collections.abc import Mapping

from pydantic import JsonValue

_NOTHING: Mapping[str, JsonValue] = {}


def text_at(record: Mapping[str, JsonValue], key: str) -> str:
    """Return the text at `key`, "" when there is none."""
    value = record.get(key)
    return value if isinstance(value, str) else ""


def number_at(record: Mapping[str, JsonValue], key: str) -> float | None:
    """Return the finite number at `key`, None when there is none."""
    value = record.get(key)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if abs(value) < float("inf") else None


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
