"""A widget that is nothing but its own lines, each made once until it is refreshed.

Textual lays borders, padding, tint and text opacity over what `render_line` returns, and works
out anew for every widget and paint that there are none: half of what a paint cost. Widgets here
have none of them, so `render_lines` hands out what it made.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Self

from textual.geometry import NULL_SIZE, Region, Size
from textual.strip import Strip
from textual.widget import Widget


class Painted(Widget):
    """`render_line` makes a line; it is asked again only once that line was refreshed."""

    def __init__(self, *, id: str) -> None:  # noqa: A002
        # Before `Widget` begins, which may refresh already.
        self._lines_made: dict[int, Strip] = {}
        self._made_for: Size = NULL_SIZE
        super().__init__(id=id)

    def refresh(
        self,
        *regions: Region,
        repaint: bool = True,
        layout: bool = False,
        recompose: bool = False,
    ) -> Self:
        """Forget the lines in `regions`, all without any, and have them painted again."""
        if not regions:
            self._lines_made.clear()
        for region in regions:
            for y in region.line_range:
                self._lines_made.pop(y, None)
        return super().refresh(*regions, repaint=repaint, layout=layout, recompose=recompose)

    def refresh_rows(self, rows: Sequence[int]) -> None:
        """Paint `rows`, ascending, again; neighbours are one region."""
        regions: list[Region] = []
        width, first, last = self.size.width, -1, -2
        for row in rows:
            if row != last + 1:
                if first >= 0:
                    regions.append(Region(0, first, width, last + 1 - first))
                first = row
            last = row
        if first >= 0:
            regions.append(Region(0, first, width, last + 1 - first))
            self.refresh(*regions)

    def render_lines(self, crop: Region) -> list[Strip]:
        """Return the lines in `crop`."""
        size, made = self.size, self._lines_made
        if size != self._made_for:
            self._made_for = size
            made.clear()
        lines = [made.get(y) or self._make(y) for y in crop.line_range]
        if crop.column_span != (0, size.width):
            return [line.crop(*crop.column_span) for line in lines]
        return lines

    def _make(self, y: int) -> Strip:
        line = self.render_line(y).adjust_cell_length(self.size.width)
        background = self.background_colors[1]
        for line_filter in self.get_line_filters():
            line = line.apply_filter(line_filter, background)
        self._lines_made[y] = line
        return line
