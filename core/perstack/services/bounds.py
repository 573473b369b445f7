"""Bounds of what front doors hand in, checked once for all of them."""

from __future__ import annotations

from collections.abc import Collection
from typing import TypeVar

from perstack.errors import UsageError

Word = TypeVar("Word", bound=str)


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
