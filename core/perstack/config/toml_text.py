"""Writes values as TOML; reading is `tomllib`'s."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Mapping
from typing import Final

from pydantic import JsonValue

_BARE: Final = re.compile(r"[A-Za-z0-9_-]+")
_DEEPEST: Final = 32
# TOML knows whole numbers of 64 bits.
_INTEGERS: Final = range(-(2**63), 2**63)


def toml_key(*parts: str) -> str:
    """Return a dotted key."""
    return ".".join(part if _BARE.fullmatch(part) else _string(part) for part in parts)


def toml_value(value: JsonValue) -> str:
    """Return `value` on one line; it must be one that `fits_toml`."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return _string(value)
    if isinstance(value, list):
        return f"[{', '.join(toml_value(item) for item in value)}]"
    if isinstance(value, dict):
        return f"{{ {', '.join(toml_lines(value))} }}" if value else "{}"
    return repr(value)


def toml_lines(table: Mapping[str, JsonValue]) -> Iterable[str]:
    """Return `key = value` for each entry."""
    return (f"{toml_key(key)} = {toml_value(value)}" for key, value in table.items())


def fits_toml(value: JsonValue, *, depth: int = 0) -> bool:
    """Tell whether TOML can hold `value`: it has no null, and readers nest only so deep."""
    if isinstance(value, list | dict):
        inner = value.values() if isinstance(value, dict) else value
        return depth < _DEEPEST and all(fits_toml(item, depth=depth + 1) for item in inner)
    if isinstance(value, float):
        return math.isfinite(value)
    if isinstance(value, int):
        return value in _INTEGERS
    return value is not None


def _string(text: str) -> str:
    # JSON escapes what TOML wants escaped but for DEL, and nothing that TOML does not know.
    storable = text.encode("utf-8", "replace").decode()
    return json.dumps(storable, ensure_ascii=False).replace("\x7f", "\\u007f")
