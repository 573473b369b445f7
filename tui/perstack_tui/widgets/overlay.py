"""What is painted over a pane's lines: jump labels, marks, and the text that is being selected."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from rich.segment import Segment
from rich.style import Style
from textual.strip import Strip

from perstack_tui.theme import Ink

MARK: Final = "»"
_WALL: Final = 2
_REVERSE: Final = Style(reverse=True)


@dataclass(frozen=True, slots=True)
class Overlay:
    """`marked` and `labels` by a line's key; `label` is the pane's own."""

    marked: frozenset[Hashable] = frozenset()
    labels: Mapping[Hashable, str] = field(default_factory=dict[Hashable, str])
    label: str = ""


NO_OVERLAY: Final = Overlay()


@dataclass(frozen=True, slots=True)
class Drag:
    """From where to where the mouse was dragged, in cells of the widget, in either order."""

    from_x: int
    from_y: int
    to_x: int
    to_y: int

    def span(self, y: int, left: int, right: int) -> tuple[int, int] | None:
        """Return the cells of row `y` that are selected, between `left` and `right`."""
        (top, start), (bottom, end) = sorted(((self.from_y, self.from_x), (self.to_y, self.to_x)))
        if not top <= y <= bottom:
            return None
        first = max(left, start) if y == top else left
        last = min(right, end + 1) if y == bottom else right
        return (first, last) if first < last else None

    @property
    def rows(self) -> range:
        """The rows it touches."""
        return range(min(self.from_y, self.to_y), max(self.from_y, self.to_y) + 1)


def with_label(ink: Ink, strip: Strip, label: str, at: int = 0) -> Strip:
    """Return `strip` with a label over its cells from `at` on."""
    chip = Segment(f" {label} ", ink.style("warn-chip"))
    wide = min(len(chip.text), max(0, strip.cell_length - at))
    return _spliced(strip, at, Strip([chip]).crop(0, wide))


def with_mark(ink: Ink, strip: Strip, *, framed: bool) -> Strip:
    """Return `strip` with the sign of a marked line at its left edge."""
    return _spliced(strip, 1 if framed else 0, Strip([Segment(MARK, ink.style("accent"))]))


def selected_part(drag: Drag, strip: Strip, y: int, width: int, *, framed: bool) -> Strip:
    """Return line `y` with what is selected of it reversed."""
    wall = _WALL if framed else 0
    span = drag.span(y, wall, width - wall)
    if span is None:
        return strip
    piece = strip.crop(*span)
    turned = [
        Segment(text, (style or Style()) + _REVERSE, control) for text, style, control in piece
    ]
    return _spliced(strip, span[0], Strip(turned, piece.cell_length))


def _spliced(strip: Strip, at: int, piece: Strip) -> Strip:
    behind = at + piece.cell_length
    return Strip.join([strip.crop(0, at), piece, strip.crop(behind, strip.cell_length)])


def dragged_text(drag: Drag, rows: Sequence[Strip], width: int, *, framed: bool) -> str:
    """Return what a drag over `rows` (all of the widget's) selected, without the frame."""
    left, right = (_WALL, width - _WALL) if framed else (0, width)
    taken: list[str] = []
    for y in drag.rows:
        inside = 0 <= y < len(rows) and (not framed or 0 < y < len(rows) - 1)
        span = drag.span(y, left, right) if inside else None
        if span is not None:
            taken.append(rows[y].crop(*span).text.rstrip())
        elif inside:
            taken.append("")
    return "\n".join(taken).strip("\n")
