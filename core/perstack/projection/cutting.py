"""Shortening text for views; loads no models, so a screen may have it before its first paint."""

from __future__ import annotations

from typing import Final

CUT_MARK: Final = "… (cut)"


def one_line(text: str, limit: int) -> str:
    """Return the words of `text` on one line, at most `limit` characters, cut with `…`."""
    # No more than could be shown is looked at: a tool's argument may be megabytes long.
    line = " ".join(text[: limit * 4].split())
    if len(line) <= limit and len(text) <= limit * 4:
        return line
    return line[: limit - 1].rstrip() + "…"


def cut(text: str, limit: int) -> str:
    """Return at most `limit` characters of `text`; where some are missing it ends in a mark."""
    if len(text) <= limit:
        return text
    return text[: limit - len(CUT_MARK)] + CUT_MARK
