"""What a call that writes or edits a file changes, from its own arguments."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from functools import lru_cache
from typing import Final, Literal, TypeAlias

from perstack.projection.cutting import CUT_MARK
from perstack.projection.views import CallView
from perstack_tui.state.lines import Line
from perstack_tui.state.wording import Role
from perstack_tui.text import cut_lines, wrap

Sign = Literal["+", "-", " ", "…"]
Row: TypeAlias = tuple[Sign, str]
_COMPARED: Final = 300
_CONTEXT: Final = 2
_SIGNS: Final[dict[str, tuple[str, Role]]] = {
    "+": ("+ ", "added"),
    "-": ("- ", "removed"),
    " ": ("  ", "muted"),
    "…": ("  ", "muted"),
}


@dataclass(frozen=True, slots=True)
class Change:
    """Lines that came and went. `is_part`: the call was longer than what is kept of it."""

    rows: tuple[Row, ...]
    added: int
    removed: int
    is_part: bool


def change_of(call: CallView | None) -> Change | None:
    """Return what the call writes, None for a call that writes no text."""
    if call is None or call.after is None:
        return None
    return _change(call.before or "", call.after)


def change_words(change: Change) -> tuple[tuple[str, Role], ...]:
    """Return `+64 −3`."""
    least = "≥" if change.is_part else ""
    words: list[tuple[str, Role]] = [(f"{least}+{change.added}", "added")]
    if change.removed:
        words.append((f" {least}−{change.removed}", "removed"))
    return tuple(words)


def change_lines(change: Change, width: int, *, wraps: bool) -> Iterator[Line]:
    """Return the change line by line, each with its sign."""
    for kind, text in change.rows:
        sign, role = _SIGNS[kind]
        rows = (wrap if wraps else cut_lines)(text, width - 6)
        for row in rows:
            yield Line(((f"    {sign}{row}", role),))
            sign = "  "


@lru_cache(maxsize=32)
def _change(before: str, after: str) -> Change:
    old, new = before.splitlines(), after.splitlines()
    rows = tuple(_rows(old, new))
    return Change(
        rows,
        sum(kind == "+" for kind, _ in rows),
        sum(kind == "-" for kind, _ in rows),
        before.endswith(CUT_MARK) or after.endswith(CUT_MARK),
    )


def _rows(old: Sequence[str], new: Sequence[str]) -> Iterator[Row]:
    """Compare line by line; of what is the same only the lines next to a change are shown."""
    same = _shared(old, new)
    ends = _shared(old[same:][::-1], new[same:][::-1])
    for text in old[max(0, same - _CONTEXT) : same]:
        yield " ", text
    yield from _compared(old[same : len(old) - ends], new[same : len(new) - ends])
    for text in old[len(old) - ends : len(old) - ends + _CONTEXT]:
        yield " ", text


def _shared(old: Sequence[str], new: Sequence[str]) -> int:
    shared = 0
    for one, other in zip(old, new, strict=False):
        if one != other:
            break
        shared += 1
    return shared


def _compared(old: Sequence[str], new: Sequence[str]) -> Iterator[Row]:
    if not old or not new or len(old) + len(new) > _COMPARED:
        yield from _all("-", old)
        yield from _all("+", new)
        return
    for tag, a, b, c, d in SequenceMatcher(None, old, new, autojunk=False).get_opcodes():
        if tag == "equal":
            if b - a > 2 * _CONTEXT + 1:
                yield from _all(" ", old[a : a + _CONTEXT])
                yield "…", f"… {b - a - 2 * _CONTEXT} lines stay"
                yield from _all(" ", old[b - _CONTEXT : b])
            else:
                yield from _all(" ", old[a:b])
        else:
            yield from _all("-", old[a:b])
            yield from _all("+", new[c:d])


def _all(sign: Sign, texts: Sequence[str]) -> Iterator[Row]:
    return ((sign, text) for text in texts)
