"""Wrapping text that has several roles, and showing in it what was searched for."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import lru_cache

from rich.cells import chop_cells

from perstack_tui.state.lines import Line, Span
from perstack_tui.state.wording import Role
from perstack_tui.text import width_of

Row = tuple[Span, ...]


def wrap_spans(spans: Sequence[Span], width: int) -> list[Row]:
    """Return `spans`, inert and without newlines, as rows of at most `width` cells."""
    width = max(1, width)
    if width_of("".join(text for text, _ in spans)) <= width:
        return [tuple(spans)]
    rows: list[Row] = []
    row: list[Span] = []
    used = 0
    for word in _words(spans):
        wide = sum(width_of(text) for text, _ in word)
        bare = wide - (1 if word[-1][0].endswith(" ") else 0)
        if used and used + bare > width:
            rows.append(_joined(row))
            row, used = [], 0
        if bare > width:
            *full, (row, used) = _chopped(word, width)
            rows += [_joined(piece) for piece, _ in full]
            continue
        row += word
        used += wide
    if row:
        rows.append(_joined(row))
    return rows


def _words(spans: Iterable[Span]) -> Iterable[list[Span]]:
    """Split behind spaces; a word may be of several roles."""
    word: list[Span] = []
    for text, role in spans:
        *ended, last = text.split(" ")
        for part in ended:
            word.append((part + " ", role))
            yield word
            word = []
        if last:
            word.append((last, role))
    if word:
        yield word


def _chopped(word: Iterable[Span], width: int) -> list[tuple[list[Span], int]]:
    """Cut a word that is wider than a row into pieces that fit, each with its width."""
    pieces: list[tuple[list[Span], int]] = [([], 0)]
    for text, role in word:
        for part in chop_cells(text, width):
            wide = width_of(part)
            row, used = pieces[-1]
            if used and used + wide > width:
                pieces.append(([(part, role)], wide))
            else:
                row.append((part, role))
                pieces[-1] = (row, used + wide)
    return pieces


def _joined(row: Sequence[Span]) -> Row:
    """Join neighbours of one role; nothing is left behind the last word."""
    joined: list[Span] = []
    for text, role in row:
        if not text:
            continue
        if joined and joined[-1][1] == role:
            joined[-1] = (joined[-1][0] + text, role)
        else:
            joined.append((text, role))
    if joined:
        joined[-1] = (joined[-1][0].rstrip(" "), joined[-1][1])
    return tuple(joined)


@lru_cache(maxsize=16)
def needle_pattern(needle: str) -> re.Pattern[str]:
    """Return what finds `needle` without regard to case."""
    return re.compile(re.escape(needle), re.IGNORECASE)


def marked(line: Line, needle: str) -> Line:
    """Return `line` with the places that read `needle` in the role of a match."""
    text = "".join(part for part, _ in line.left)
    found = [match.span() for match in needle_pattern(needle).finditer(text)]
    if not found:
        return line
    spans: list[Span] = []
    at = 0
    for part, role in line.left:
        spans += _parted(part, role, at, found)
        at += len(part)
    return replace(line, left=tuple(spans))


def _parted(text: str, role: Role, at: int, found: Sequence[tuple[int, int]]) -> Iterable[Span]:
    """Split a span that begins at `at` where matches begin and end."""
    place = 0
    for start, end in found:
        first, last = max(start - at, place), min(end - at, len(text))
        if first >= last:
            continue
        if first > place:
            yield text[place:first], role
        yield text[first:last], "match"
        place = last
    if place < len(text):
        yield text[place:], role
