"""Bounds of what front doors hand in, checked once for all of them."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from typing import Final, TypeVar

from pydantic import JsonValue

from perstack.domain.moments import from_iso8601
from perstack.errors import UsageError

Word = TypeVar("Word", bound=str)

MOST_METADATA: Final = 64 * 1024


def check_text(value: str, what: str, *, shortest: int = 0, longest: int) -> str:
    """Return `value` if it has that many characters, blanks around it not counted as any.

    Raises:
        UsageError: it has not; `what` ("title") names it.
    """
    if shortest and not value.strip():
        raise UsageError(f"{what} must not be empty")
    if not shortest <= len(value) <= longest:
        raise UsageError(
            f"{what} must have {shortest} to {longest:,} characters; it has {len(value):,}"
        )
    return value


def moment_of(text: str, what: str) -> int:
    """Return the Unix milliseconds that `text` says in ISO 8601; without a zone it is UTC.

    Raises:
        UsageError: it says none; `what` ("since") names it.
    """
    try:
        return from_iso8601(text)
    except (ValueError, OverflowError) as error:
        raise UsageError(
            f"{what} must be a date in ISO 8601",
            hint="such as 2026-01-31 or 2026-01-31T12:00:00Z",
        ) from error


def check_number(value: int, what: str, *, least: int, most: int) -> int:
    """Return `value` if it is within the bounds, both included.

    Raises:
        UsageError: it is not.
    """
    if not least <= value <= most:
        raise UsageError(f"{what} must be {least} to {most:,}; it is {value:,}")
    return value


def check_word(value: str, what: str, words: Collection[Word]) -> Word:
    """Return which of `words` the value is.

    Raises:
        UsageError: it is none of them.
    """
    for word in words:
        if word == value:
            return word
    raise UsageError(f"Invalid {what} {value[:40]!a}. Must be one of: {', '.join(words)}")


def check_metadata(value: Mapping[str, JsonValue] | None, what: str = "metadata") -> None:
    """Let what a record carries along pass if it is at most 64 KiB of JSON.

    Raises:
        UsageError: it is more, or no JSON.
    """
    try:
        size = 0 if value is None else len(json.dumps(dict(value), allow_nan=False))
    except (TypeError, ValueError, RecursionError) as error:
        raise UsageError(f"{what} must be a JSON object") from error
    if size > MOST_METADATA:
        raise UsageError(f"{what} must have at most {MOST_METADATA:,} characters of JSON")
