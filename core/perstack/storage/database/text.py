"""Texts and JSON as every database takes them."""

from __future__ import annotations

import json


def safe_text(value: str) -> str:
    """Return `value` without what a database refuses: lone surrogates and NUL."""
    return value.encode("utf-8", "surrogatepass").decode("utf-8", "replace").replace("\0", "\ufffd")


def json_text(value: object) -> str:
    """Return JSON in ASCII, whose escapes hold any text, lone surrogates and NUL included."""
    return json.dumps(value, ensure_ascii=True, separators=(",", ":"))
