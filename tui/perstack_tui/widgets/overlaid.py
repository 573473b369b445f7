"""A widget of lines with marks and jump labels painted over them."""

from __future__ import annotations

from collections.abc import Hashable

from textual.strip import Strip

from perstack_tui.widgets.dragging import Dragging
from perstack_tui.widgets.overlay import NO_OVERLAY, Overlay, with_label, with_mark
from perstack_tui.widgets.paint import ink_of


class Overlaid(Dragging):
    """`first_key` says which key begins in a row."""

    overlay: Overlay = NO_OVERLAY

    def first_key(self, row: int) -> Hashable:
        """Return the key whose first line is the visible row `row`, from 0; else None."""
        raise NotImplementedError

    def lay_over(self, overlay: Overlay) -> None:
        """Paint marks and labels over the lines."""
        if overlay != self.overlay:
            self.overlay = overlay
            self.refresh()

    def keys_in_view(self, height: int) -> list[Hashable]:
        """Return the keys whose first line is visible now, from top to bottom."""
        found = (self.first_key(row) for row in range(height))
        return list(dict.fromkeys(key for key in found if key is not None))

    def render_line(self, y: int) -> Strip:
        """Return line `y` of the widget, with what lies over it."""
        strip = self.plain_line(y)
        if self.overlay is not NO_OVERLAY:
            strip = self._with_overlay(y, strip)
        return self.with_selection(y, strip)

    def _with_overlay(self, y: int, strip: Strip) -> Strip:
        ink, overlay, offset = ink_of(self), self.overlay, 1 if self.framed else 0
        if self.framed and y == self.size.height - 1:
            return strip
        if self.framed and y == 0:
            return with_label(ink, strip, overlay.label, 1) if overlay.label else strip
        key = self.first_key(y - offset)
        if key is None:
            return strip
        if key in overlay.marked:
            strip = with_mark(ink, strip, framed=self.framed)
        label = overlay.labels.get(key)
        return with_label(ink, strip, label, offset) if label else strip
