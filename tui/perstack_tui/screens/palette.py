"""The palette: every action and every place by name."""

from __future__ import annotations

from collections.abc import Callable

from textual import events
from textual.app import ComposeResult
from textual.containers import Vertical
from textual.widgets import Input

from perstack_tui.ports.host import Host
from perstack_tui.screens.sheet import Sheet
from perstack_tui.state.lines import BLANK, Line, line, note
from perstack_tui.state.palette import Entry, Finder, entries_of, palette_lines
from perstack_tui.widgets.bar import Bar
from perstack_tui.widgets.field import Field
from perstack_tui.widgets.paint import Frame
from perstack_tui.widgets.pane import Pane


class PaletteSheet(Sheet[Entry | None]):
    """The field has the keyboard; enter gives the selected entry."""

    def __init__(self, host: Host, why_not: Callable[[str], str | None]) -> None:
        super().__init__(host)
        self._pane, self._shell = Pane(id="palette-list"), Bar(id="palette-shell")
        self._field = Field(id="palette-field", placeholder="an action, a job, a run, an Expert")
        self._finder = Finder(entries_of(host.state, why_not))
        self._shown: list[Entry] = []
        self._selected: str | None = None

    def compose(self) -> ComposeResult:
        """The field above, what is found below it."""
        with Vertical(id="palette"):
            yield self._field
            yield self._pane
            yield self._shell

    def on_mount(self) -> None:
        """Show everything."""
        self._field.focus()
        self._find("")

    def on_input_changed(self, event: Input.Changed) -> None:
        """Find at once."""
        event.stop()
        self._find(event.value)

    def _find(self, needle: str) -> None:
        self._shown = self._finder.find(needle)
        self._selected = self._shown[0].id if self._shown else None
        self._pane.scroll_lines(-len(self._pane.lines))
        self.refresh_view()

    @property
    def _entry(self) -> Entry | None:
        return next((entry for entry in self._shown if entry.id == self._selected), None)

    def refresh_view(self) -> None:
        """Paint what was found."""
        if not self._pane.inner_height:
            return
        needle = self._field.value.strip()
        lines = palette_lines(self._shown, self._pane.inner_width, heads=not needle)
        count = f"{len(self._shown)} of {self._finder.total}"
        frame = Frame("Palette", count, "⏎ run  ^y copy as shell command  tab fill  esc close")
        self._pane.show(
            lines or [BLANK, note("Nothing is called that.")], selected=self._selected, frame=frame
        )
        self._shell.show(self._shell_line())

    def _shell_line(self) -> Line:
        entry = self._entry
        if entry is None:
            return BLANK
        if entry.why_not:
            return line(("  not now: ", "muted"), (entry.why_not, "fail"))
        if entry.shell:
            return line(("  $ ", "muted"), (entry.shell, "text"))
        return line((f"  {entry.about}", "muted"))

    def on_key(self, event: events.Key) -> None:
        """Move, fill, copy, leave; letters go to the field."""
        match event.key:
            case "escape":
                self.dismiss(None)
            case "down" | "ctrl+n" | "up" | "ctrl+p":
                self._move(1 if event.key in ("down", "ctrl+n") else -1)
            case "pagedown" | "pageup":
                step = max(1, self._pane.inner_height - 1)
                self._move(step if event.key == "pagedown" else -step)
            case "tab":
                self._fill()
            case "ctrl+y":
                self._copy()
            case _:
                return
        event.stop()
        event.prevent_default()

    def _move(self, by: int) -> None:
        key = self._pane.move(by)
        self._selected = key if isinstance(key, str) else self._selected
        self.refresh_view()

    def _fill(self) -> None:
        entry = self._entry
        if entry is not None:
            self._field.value = entry.label
            self._field.cursor_position = len(entry.label)

    def _copy(self) -> None:
        entry = self._entry
        if entry is not None and entry.shell:
            self.host.copy(entry.shell, "the command")
        else:
            self.host.tell("this has no shell command")

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Do it."""
        event.stop()
        self._take()

    def on_pane_chosen(self, event: Pane.Chosen) -> None:
        """Select what was clicked."""
        event.stop()
        self._selected = event.key if isinstance(event.key, str) else self._selected
        self.refresh_view()

    def on_pane_opened(self, event: Pane.Opened) -> None:
        """Do what was double-clicked."""
        event.stop()
        self._take()

    def _take(self) -> None:
        entry = self._entry
        if entry is None:
            return
        if entry.why_not:
            self.host.tell(entry.why_not, "bad")
        else:
            self.dismiss(entry)
