"""All keys, from the keymap."""

from __future__ import annotations

from textual import events
from textual.app import ComposeResult
from textual.containers import Vertical
from textual.widgets import Input

from perstack_tui.ports.host import Host
from perstack_tui.screens.sheet import Sheet
from perstack_tui.state.help import help_lines
from perstack_tui.state.layout import PaneName
from perstack_tui.widgets.field import Field
from perstack_tui.widgets.paint import Frame
from perstack_tui.widgets.pane import Pane


class HelpSheet(Sheet[None]):
    """Scrolls; `/` searches; escape or `?` closes it."""

    def __init__(self, host: Host, active: PaneName = "tree") -> None:
        super().__init__(host)
        self._active: PaneName = active
        self._pane = Pane(id="help-keys")
        self._field = Field(id="help-field", placeholder="what a key does")

    def compose(self) -> ComposeResult:
        """The keys, and a field while one searches."""
        with Vertical(id="help"):
            yield self._pane
            yield self._field

    def on_mount(self) -> None:
        """Fill the pane."""
        self._field.display = False
        self._pane.focus()
        self.refresh_view()

    def refresh_view(self) -> None:
        """Paint the keys as they are now."""
        needle, width = self._field.value, self._pane.inner_width
        lines = help_lines(self.host.state.keymap, self._active, needle, width or 74)
        searched = f"/{needle}" if needle else ""
        self._pane.show(lines, frame=Frame("Keys", searched, "j/k scroll  / search  esc close"))

    def on_input_changed(self, event: Input.Changed) -> None:
        """Search at once."""
        event.stop()
        self._pane.scroll_lines(-len(self._pane.lines))
        self.refresh_view()

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Keep what was found."""
        event.stop()
        self._leave_field(keep=True)

    def _leave_field(self, *, keep: bool) -> None:
        if not keep:
            self._field.value = ""
        self._field.display = False
        self._pane.focus()

    def on_key(self, event: events.Key) -> None:
        """Scroll, search or close."""
        event.stop()
        page = max(1, self._pane.inner_height - 1)
        if self._field.display:
            if event.key == "escape":
                self._leave_field(keep=False)
            return
        match event.key:
            case "escape" if self._field.value:
                self._field.value = ""
            case "escape" | "question_mark" | "q":
                self.dismiss(None)
            case "slash":
                self._field.display = True
                self._field.focus()
            case "j" | "down" | "k" | "up":
                self._pane.scroll_lines(1 if event.key in ("j", "down") else -1)
            case "pagedown" | "space" | "ctrl+d" | "pageup" | "ctrl+u":
                down = event.key in ("pagedown", "space", "ctrl+d")
                self._pane.scroll_lines(page if down else -page)
            case "g" | "home" | "G" | "shift+g" | "end":
                first = event.key in ("g", "home")
                self._pane.scroll_lines(len(self._pane.lines) * (-1 if first else 1))
            case _:
                return
        event.prevent_default()
