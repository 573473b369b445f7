"""A framed pane of lines: it scrolls, selects by key, and repaints only the lines that changed."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import replace

from textual import events
from textual.message import Message
from textual.strip import Strip

from perstack_tui.state.lines import Line
from perstack_tui.widgets.overlaid import Overlaid
from perstack_tui.widgets.paint import Frame, edge, ink_of, paint, walled
from perstack_tui.widgets.scrolling import Scroller

WHEEL_LINES = 3


class Pane(Scroller, Overlaid, can_focus=True):
    """Attributes in (`show`), messages out (`Chosen`, `Opened`). It knows nothing of runs.

    `move` and `move_to_end` return what was chosen, so that the next key finds it selected; only
    the mouse tells by message. A pane that is `measured` says at its foot how far its lines were
    read, while there are more below.
    """

    class Chosen(Message):
        """The user moved to the line with `key`."""

        def __init__(self, pane: Pane, key: Hashable) -> None:
            super().__init__()
            self.pane = pane
            self.key = key

        @property
        def control(self) -> Pane:
            """The pane."""
            return self.pane

    class Resized(Message):
        """The pane has another size; what it shows may have to be made anew."""

    class Wheeled(Message):
        """The user scrolled with the mouse; what is in view may count as read."""

    class Opened(Chosen):
        """The user opened the line with `key`."""

    def __init__(
        self,
        *,
        id: str,  # noqa: A002
        framed: bool = True,
        follows: bool = False,
        heads: int = 0,
        measured: bool = False,
    ) -> None:
        Scroller.__init__(self, tails=follows, heads=heads)
        Overlaid.__init__(self, id=id, framed=framed)
        self._measured = measured
        self.frame = Frame()
        self._strips: dict[int, tuple[Line, int, bool, bool, int, Strip]] = {}

    @property
    def inner_width(self) -> int:
        """Cells of one line."""
        return max(0, self.size.width - (4 if self.framed else 0))

    @property
    def inner_height(self) -> int:
        """Lines that are visible."""
        return max(0, self.size.height - (2 if self.framed else 0))

    def show(
        self, lines: Sequence[Line], *, selected: Hashable = None, frame: Frame | None = None
    ) -> None:
        """Show `lines`; what is the same as before is not painted again."""
        old_top, old_frame, old_selected = self.top, self.frame, self.selected
        self.frame = frame or self.frame
        before, after = self.update_lines(lines, selected, (self.inner_width, self.inner_height))
        self._measure()
        if (self.top, before.size) != (old_top, after.size):
            self.refresh()
            return
        chosen = () if selected == old_selected else (selected, old_selected)
        offset = 1 if self.framed else 0
        rows = [
            row
            for row, (old, new) in enumerate(zip(before.lines, after.lines, strict=True), offset)
            if old != new or (new.key is not None and new.key in chosen)
        ]
        edges = self.framed and self.frame != old_frame
        self.refresh_rows([0, *rows, self.size.height - 1] if edges else rows)

    def scroll_lines(self, by: int) -> None:
        """Scroll without moving the selection; reaching the end of a tail follows it again."""
        if self.scroll_to_line(self.top + by):
            self._measure()
            self.refresh()
        self.scrolled()

    def _measure(self) -> None:
        if self._measured:
            bottom, count = self.top + self.inner_height, len(self.lines)
            foot = f"{bottom} of {count}" if bottom < count else ""
            self.frame = replace(self.frame, foot=foot)

    def scrolled(self) -> None:
        """Called after the user scrolled; panes whose frame says where they are override it."""

    def move(self, by: int) -> Hashable:
        """Choose the line `by` selectable lines away; return its key, None when none has one."""
        keys = self.keys
        if not keys:
            self.scroll_lines(by)
            return None
        at = keys.index(self.selected) if self.selected in keys else -1 if by > 0 else 0
        return self._select(keys[max(0, min(len(keys) - 1, at + by))])

    def move_to_end(self, *, last: bool) -> Hashable:
        """Choose the first or the last line; return its key, None when none has one."""
        keys = self.keys
        if keys:
            return self._select(keys[-1 if last else 0])
        self.scroll_lines(len(self.lines) if last else -len(self.lines))
        return None

    def choose(self, key: Hashable) -> None:
        """Select `key` and say so."""
        self.post_message(self.Chosen(self, self._select(key)))

    def _select(self, key: Hashable) -> Hashable:
        if key != self.selected:
            self.show(self.lines, selected=key)
        return key

    def open(self) -> None:
        """Say that the selected line was opened."""
        if self.selected is not None:
            self.post_message(self.Opened(self, self.selected))

    def forget_paint(self) -> None:
        """Paint everything anew (the theme changed)."""
        self._strips.clear()
        self.refresh()

    def plain_line(self, y: int) -> Strip:
        """Return line `y` of the widget with nothing over it."""
        ink, focused, width = ink_of(self), self.has_focus, self.size.width
        if not self.framed:
            return self._row(self.line_in(y))
        if y == 0 or y == self.size.height - 1:
            return edge(ink, self.frame, width, top=y == 0, focused=focused)
        return walled(ink, self._row(self.line_in(y - 1)), focused=focused)

    def _row(self, at: int) -> Strip:
        ink, focused, width = ink_of(self), self.has_focus, self.inner_width
        line = self.line_at(at)
        chosen = line.key is not None and line.key == self.selected
        known = self._strips.get(at)
        wanted = (line, width, chosen, focused, id(ink))
        if known is not None and known[:5] == wanted:
            return known[5]
        strip = paint(ink, line, width, selected=chosen, focused=focused)
        if len(self._strips) > 2000:
            self._strips.clear()
        self._strips[at] = (*wanted, strip)
        return strip

    def on_resize(self) -> None:
        """Say so."""
        self.post_message(self.Resized())

    def on_focus(self) -> None:
        """Paint the heavy border."""
        self.refresh()

    def on_blur(self) -> None:
        """Paint the light border."""
        self.refresh()

    def on_mouse_scroll_down(self, event: events.MouseScrollDown) -> None:
        """Scroll."""
        event.stop()
        self._wheel(WHEEL_LINES)

    def on_mouse_scroll_up(self, event: events.MouseScrollUp) -> None:
        """Scroll."""
        event.stop()
        self._wheel(-WHEEL_LINES)

    def _wheel(self, by: int) -> None:
        self.scroll_lines(by)
        self.post_message(self.Wheeled())

    def on_click(self, event: events.Click) -> None:
        """Choose the line under the pointer; a double click opens it."""
        if self.drag is not None:
            return
        row = event.y - (1 if self.framed else 0)
        line = self.line_at(self.line_in(row) if row >= 0 else -1)
        if line.key is not None:
            self.choose(line.key)
            if event.chain == 2:
                self.open()
