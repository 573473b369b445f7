"""Selecting the text of a widget that paints its own lines, by dragging the mouse over it."""

from __future__ import annotations

from textual import events
from textual.message import Message
from textual.strip import Strip

from perstack_tui.widgets.overlay import Drag, dragged_text, selected_part
from perstack_tui.widgets.painted import Painted


class Dragging(Painted):
    """Says `Dragged` when the button is let go; what was selected stays so until the next press."""

    class Dragged(Message):
        """The user dragged the mouse over `text`."""

        def __init__(self, text: str) -> None:
            super().__init__()
            self.text = text

    def __init__(self, *, id: str, framed: bool) -> None:  # noqa: A002
        super().__init__(id=id)
        self.framed = framed
        self.drag: Drag | None = None
        self._pressed: tuple[int, int] | None = None

    def plain_line(self, y: int) -> Strip:
        """Return line `y` of the widget with nothing over it."""
        raise NotImplementedError

    def with_selection(self, y: int, strip: Strip) -> Strip:
        """Return line `y` as it looks while text is being selected."""
        edge = self.framed and y in (0, self.size.height - 1)
        if self.drag is None or edge:
            return strip
        return selected_part(self.drag, strip, y, self.size.width, framed=self.framed)

    def on_mouse_down(self, event: events.MouseDown) -> None:
        """A drag may begin here; what was selected before is not any more."""
        self._pressed = (event.x, event.y) if event.button == 1 else None
        self.select_text(None)

    def on_mouse_move(self, event: events.MouseMove) -> None:
        """Select text from where the button went down."""
        if self._pressed is not None and (event.x, event.y) != self._pressed:
            self.capture_mouse()
            self.select_text(Drag(*self._pressed, event.x, event.y))

    def on_mouse_up(self, event: events.MouseUp) -> None:
        """Give what was selected."""
        self.release_mouse()
        self._pressed = None
        if self.drag is not None:
            rows = [self.plain_line(y) for y in range(self.size.height)]
            text = dragged_text(self.drag, rows, self.size.width, framed=self.framed)
            if text:
                self.post_message(self.Dragged(text))

    def select_text(self, drag: Drag | None) -> None:
        """Show what a drag selects; None: nothing."""
        before, self.drag = self.drag, drag
        touched = {*(before.rows if before else ()), *(drag.rows if drag else ())}
        self.refresh_rows(sorted(touched))
