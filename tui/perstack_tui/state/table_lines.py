"""Tables of Markdown in columns; what is too wide for its column goes on below."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import zip_longest
from typing import Final

from perstack_tui.state.inline import inline
from perstack_tui.state.lines import Line, Span
from perstack_tui.state.spans import Row, wrap_spans
from perstack_tui.state.wording import Role
from perstack_tui.text import width_of

_RULER: Final = re.compile(r"^\s*\|?\s*:?-+:?\s*(?:\|\s*:?-+:?\s*)*\|?\s*$")
_BAR: Final = re.compile(r"(?<!\\)\|")
_NARROWEST: Final = 4
_MOST_COLUMNS: Final = 24


def is_table(rows: Sequence[str]) -> bool:
    """Say whether lines with bars are a table: the second one rules off the first."""
    return len(rows) > 1 and "|" in rows[0] and _RULER.match(rows[1]) is not None


def table_lines(rows: Sequence[str], width: int, role: Role) -> list[Line] | None:
    """Return the table's lines; None where they do not fit into `width` cells or its head."""
    head, ruler, *body = [_cells(row) for row in rows]
    count = len(head)
    surplus = any(len(row) > count for row in body)
    if surplus or count > _MOST_COLUMNS or width < count * (_NARROWEST + 3):
        return None
    right = [cell.endswith(":") and not cell.startswith(":") for cell in ruler]
    right += [False] * (count - len(right))
    parsed = [[inline(cell, "strong") for cell in head]]
    parsed += [[inline(cell, role) for cell in (*row, *[""] * count)[:count]] for row in body]
    room = _room([[_width(cell) for cell in row] for row in parsed], width - 3 * (count - 1))
    lines = _row_lines(parsed[0], room, right)
    lines.append(Line((("─┼─".join("─" * wide for wide in room), "line"),)))
    for row in parsed[1:]:
        lines += _row_lines(row, room, right)
    return lines


def _cells(row: str) -> list[str]:
    bare = row.strip()
    bare = bare.removeprefix("|")
    if bare.endswith("|") and not bare.endswith("\\|"):
        bare = bare[:-1]
    return [cell.strip() for cell in _BAR.split(bare)]


def _width(cell: Sequence[Span]) -> int:
    return sum(width_of(text) for text, _ in cell)


def _room(widths: Sequence[Sequence[int]], width: int) -> list[int]:
    """Return the columns' widths: the widest give way until all fit into `width`."""
    room = [max(1, *column) for column in zip(*widths, strict=True)]
    while sum(room) > width:
        widest = max(room)
        next_widest = max((wide for wide in room if wide < widest), default=_NARROWEST)
        among = [at for at, wide in enumerate(room) if wide == widest]
        surplus = sum(room) - width
        give = max(1, min(widest - max(next_widest, 1), -(-surplus // len(among))))
        for at in among:
            room[at] = max(1, room[at] - give)
    return room


def _row_lines(
    row: Sequence[Sequence[Span]], room: Sequence[int], right: Sequence[bool]
) -> list[Line]:
    wrapped = [wrap_spans(cell, wide) for cell, wide in zip(row, room, strict=True)]
    lines: list[Line] = []
    for parts in zip_longest(*wrapped, fillvalue=()):
        spans: list[Span] = []
        for at, (part, wide) in enumerate(zip(parts, room, strict=True)):
            if at:
                spans.append((" │ ", "line"))
            spans += _filled(part, wide, right=right[at])
        lines.append(Line(tuple(spans)))
    return lines


def _filled(part: Row, wide: int, *, right: bool) -> list[Span]:
    space: Span = (" " * max(0, wide - _width(part)), "text")
    return [space, *part] if right else [*part, space]
