"""How texts differ, line by line, bounded in time. Pure."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Sequence
from typing import Final

MOST_BYTES: Final = 1_000_000
MOST_LINES: Final = 20_000
# What is compared line by line, once what both begin and end with is put aside.
_MOST_APART: Final = 4_000
_CONTEXT: Final = 3


def text_lines(content: bytes) -> list[str] | None:
    """Return the lines of a text without their ends, None for what is none or too long."""
    if len(content) > MOST_BYTES or b"\0" in content[:8_000]:
        return None
    try:
        text = content.decode()
    except UnicodeDecodeError:
        return None
    lines = text.split("\n")
    if lines and not lines[-1]:
        lines.pop()
    return lines if len(lines) <= MOST_LINES else None


def counts(before: Sequence[str], after: Sequence[str]) -> tuple[int, int]:
    """Return how many lines were added and removed."""
    start, old, new = _apart(before, after)
    if len(old) + len(new) > _MOST_APART:
        return len(new), len(old)
    del start
    added = removed = 0
    for tag, i1, i2, j1, j2 in _matcher(old, new).get_opcodes():
        if tag != "equal":
            removed, added = removed + i2 - i1, added + j2 - j1
    return added, removed


def unified(before: Sequence[str], after: Sequence[str]) -> Iterator[str]:
    """Yield a unified diff, without the lines that name the files."""
    start, old, new = _apart(before, after)
    if len(old) + len(new) > _MOST_APART:
        yield f"@@ -{start + 1},{len(old)} +{start + 1},{len(new)} @@"
        yield from (f"-{line}" for line in old)
        yield from (f"+{line}" for line in new)
        return
    margin = min(start, _CONTEXT)
    end = min(len(before) - start - len(old), _CONTEXT)
    old = [*before[start - margin : start], *old, *before[start + len(old) :][:end]]
    new = [*after[start - margin : start], *new, *after[start + len(new) :][:end]]
    first = start - margin
    for group in _matcher(old, new).get_grouped_opcodes(_CONTEXT):
        yield _heading(group, first)
        for tag, i1, i2, j1, j2 in group:
            if tag == "equal":
                yield from (f" {line}" for line in old[i1:i2])
                continue
            yield from (f"-{line}" for line in old[i1:i2])
            yield from (f"+{line}" for line in new[j1:j2])


def _apart(before: Sequence[str], after: Sequence[str]) -> tuple[int, Sequence[str], Sequence[str]]:
    """Return what is left without the lines that both begin and end with, and where it starts."""
    start, shorter = 0, min(len(before), len(after))
    while start < shorter and before[start] == after[start]:
        start += 1
    end = 0
    while end < shorter - start and before[-1 - end] == after[-1 - end]:
        end += 1
    return start, before[start : len(before) - end], after[start : len(after) - end]


def _matcher(old: Sequence[str], new: Sequence[str]) -> difflib.SequenceMatcher[str]:
    return difflib.SequenceMatcher(None, old, new, autojunk=True)


def _heading(group: Sequence[tuple[str, int, int, int, int]], first: int) -> str:
    _, i1, _, j1, _ = group[0]
    _, _, i2, _, j2 = group[-1]
    return f"@@ -{_range(i1 + first, i2 + first)} +{_range(j1 + first, j2 + first)} @@"


def _range(start: int, stop: int) -> str:
    length = stop - start
    if length == 1:
        return f"{start + 1}"
    return f"{start + 1 if length else start},{length}"
