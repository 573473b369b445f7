"""The bounds of what memory is given."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping

from pydantic import JsonValue

from perstack.domain.memory import SESSION_PREFIX
from perstack.errors import UsageError


def check_key(key: str) -> None:
    """Raise a UsageError unless it has 1..500 characters."""
    _check_length("key", key, 1, 500)


def check_content(content: str) -> None:
    """Raise a UsageError unless it has 1..1,000,000 characters."""
    _check_length("content", content, 1, 1_000_000)


def check_namespace(namespace: str) -> None:
    """Raise a UsageError unless it has 1..100 characters, and more than `session:`."""
    _check_length("namespace", namespace, 1, 100)
    if namespace == SESSION_PREFIX:
        raise UsageError("namespace session: cannot be empty after the colon")


def check_query(query: str) -> None:
    """Raise a UsageError if it has more than 1,000 characters."""
    _check_length("query", query, 0, 1_000)


def check_metadata(metadata: Mapping[str, JsonValue] | None) -> None:
    """Raise a UsageError if it is no JSON object, or one of more than a million characters."""
    try:
        size = len(json.dumps(None if metadata is None else dict(metadata), allow_nan=False))
    except (TypeError, ValueError, RecursionError) as error:
        raise UsageError("metadata must be a JSON object") from error
    if size > 1_000_000:
        raise UsageError("metadata must be 1000000 characters or less")


def check_count(name: str, value: int, least: int, most: int) -> None:
    """Raise a UsageError unless `value` is `least`..`most`."""
    if not least <= value <= most:
        raise UsageError(f"{name} must be between {least} and {most}, not {value}")


def check_threshold(value: float) -> None:
    """Raise a UsageError unless it is 0..1."""
    if math.isnan(value) or not 0 <= value <= 1:
        raise UsageError(f"threshold must be between 0 and 1, not {value}")


def _check_length(name: str, text: str, least: int, most: int) -> None:
    if len(text) < least:
        raise UsageError(f"{name} cannot be empty")
    if len(text) > most:
        raise UsageError(f"{name} must be {most} characters or less, not {len(text)}")
