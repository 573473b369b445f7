"""One line of the screen that is only looked at: header, crumbs, notice, footer."""

from __future__ import annotations

from textual.strip import Strip

from perstack_tui.state.lines import BLANK, Line
from perstack_tui.widgets.paint import ink_of, paint
from perstack_tui.widgets.painted import Painted


class Bar(Painted):
    """A painted line."""

    def __init__(self, *, id: str) -> None:  # noqa: A002
        super().__init__(id=id)
        self.line = BLANK

    def show(self, line: Line) -> None:
        """Show `line`; nothing happens when it is the one shown."""
        if line != self.line:
            self.line = line
            self.refresh()

    def render_line(self, y: int) -> Strip:
        """Return the line; there is only one."""
        return paint(ink_of(self), self.line if y == 0 else BLANK, self.size.width)
