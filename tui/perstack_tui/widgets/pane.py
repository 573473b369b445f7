"""A framed pane of lines: it scrolls, selects by key, and repaints only the lines that changed."""

from __future__ import annotations

from collections.abc import Hashable, Sequence

from textual import events
from textual.geometry import Region
from textual.message import Message
from textual.strip import Strip
from textual.widget import Widget

from perstack_tui.state.lines import BLANK, Line
from perstack_tui.widgets.paint import Frame, edge, ink_of, paint, walled

WHEEL_LINES = 3


class Pane(Widget, can_focus=True):
    """Attributes in (`show`), messages out (`Chosen`, `Opened`). It knows nothing of runs.

    `move` and `move_to_end` return what was chosen, so that the next key finds it selected; only
    the mouse tells by message.
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

    class Opened(Chosen):
        """The user opened the line with `key`."""

    def __init__(
        self,
        *,
        id: str,  # noqa: A002
        framed: bool = True,
        follows: bool = False,
        heads: int = 0,
    ) -> None:
        super().__init__(id=id)
        self.lines: Sequence[Line] = ()
        self.frame = Frame()
        self.selected: Hashable = None
        self.top = 0
        self.following = follows
        self._framed = framed
        self._tails = follows
        self._heads = heads
        self._strips: dict[int, tuple[Line, int, bool, bool, int, Strip]] = {}

    @property
    def inner_width(self) -> int:
        """Cells of one line."""
        return max(0, self.size.width - (4 if self._framed else 0))

    @property
    def inner_height(self) -> int:
        """Lines that are visible."""
        return max(0, self.size.height - (2 if self._framed else 0))

    def show(
        self, lines: Sequence[Line], *, selected: Hashable = None, frame: Frame | None = None
    ) -> None:
        """Show `lines`; what is the same as before is not painted again."""
        before, old_top, old_frame = self.lines, self.top, self.frame
        moved = selected != self.selected
        old_selected = self.selected
        self.lines, self.selected = lines, selected
        self.frame = frame or self.frame
        self._keep_in_view(moved)
        if self.top != old_top or self.frame != old_frame:
            self.refresh()
            return
        for row in range(self.inner_height):
            at = self._line_in(row)
            if _line_at(before, at) != _line_at(lines, at) or (
                moved and _line_at(lines, at).key in (selected, old_selected)
            ):
                self._refresh_row(row)

    @property
    def heads(self) -> int:
        """How many of the first lines stay where they are while the others scroll."""
        return self._heads if self.inner_height > self._heads + 1 else 0

    def _line_in(self, row: int) -> int:
        return row if row < self.heads else self.top + row

    def _refresh_row(self, row: int) -> None:
        offset = 1 if self._framed else 0
        self.refresh(Region(0, row + offset, self.size.width, 1))

    def _keep_in_view(self, moved: bool) -> None:
        last_top = max(0, len(self.lines) - self.inner_height)
        if self._tails:
            self.top = last_top if self.following else min(self.top, last_top)
            return
        self.top = min(self.top, last_top)
        if moved:
            self.reveal(self.selected)

    def reveal(self, key: Hashable) -> None:
        """Scroll as little as needed to see all lines of `key`."""
        at = [number for number, line in enumerate(self.lines) if line.key == key]
        if key is None or not at:
            return
        if at[-1] >= self.top + self.inner_height:
            self.top = at[-1] - self.inner_height + 1
        if at[0] < self.top + self.heads:
            self.top = max(0, at[0] - self.heads)
        if self.top and all(line.key is None for line in self.lines[: self.top]):
            self.top = 0

    def scroll_lines(self, by: int) -> None:
        """Scroll without moving the selection; reaching the end of a tail follows it again."""
        last_top = max(0, len(self.lines) - self.inner_height)
        top = max(0, min(last_top, self.top + by))
        if self._tails:
            self.following = top >= last_top
        if top != self.top:
            self.top = top
            self.refresh()
        self.scrolled()

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

    @property
    def keys(self) -> list[Hashable]:
        """The keys that can be chosen, each once, from top to bottom."""
        return list(dict.fromkeys(line.key for line in self.lines if line.key is not None))

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

    def render_line(self, y: int) -> Strip:
        """Return line `y` of the widget."""
        ink, focused, width = ink_of(self), self.has_focus, self.size.width
        if not self._framed:
            return self._row(self._line_in(y))
        if y == 0 or y == self.size.height - 1:
            return edge(ink, self.frame, width, top=y == 0, focused=focused)
        return walled(ink, self._row(self._line_in(y - 1)), focused=focused)

    def _row(self, at: int) -> Strip:
        ink, focused, width = ink_of(self), self.has_focus, self.inner_width
        line = _line_at(self.lines, at)
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
        self.scroll_lines(WHEEL_LINES)

    def on_mouse_scroll_up(self, event: events.MouseScrollUp) -> None:
        """Scroll."""
        event.stop()
        self.scroll_lines(-WHEEL_LINES)

    def on_click(self, event: events.Click) -> None:
        """Choose the line under the pointer; a double click opens it."""
        row = event.y - (1 if self._framed else 0)
        line = _line_at(self.lines, self._line_in(row) if row >= 0 else -1)
        if line.key is not None:
            self.choose(line.key)
            if event.chain == 2:
                self.open()


def _line_at(lines: Sequence[Line], at: int) -> Line:
    return lines[at] if 0 <= at < len(lines) else BLANK
