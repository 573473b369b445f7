"""What a configuration that was found asks for, shown whole before any of it happens."""

from __future__ import annotations

from textual import events
from textual.app import ComposeResult
from textual.containers import Vertical

from perstack.config.untrusted import UntrustedError
from perstack_tui.ports.host import Host
from perstack_tui.screens.sheet import Sheet
from perstack_tui.state.grace import Grace
from perstack_tui.state.lines import BLANK, Line, line
from perstack_tui.text import wrap
from perstack_tui.widgets.bar import Bar
from perstack_tui.widgets.paint import Frame
from perstack_tui.widgets.pane import Pane

_PAGE = 10


class TrustSheet(Sheet[bool]):
    """Gives True for accepting. Nothing is accepted before its last line was on the screen."""

    def __init__(self, host: Host, error: UntrustedError) -> None:
        super().__init__(host)
        self._demands = error.demands
        self._grace = Grace(host.monotonic)
        self._pane = Pane(id="trust")
        self._bar = Bar(id="trust-keys")
        self._read_to = 0

    def compose(self) -> ComposeResult:
        """The list, and what the keys do."""
        with Vertical(id="trust-sheet"):
            yield self._pane
            yield self._bar

    def on_mount(self) -> None:
        """Take the keyboard."""
        self._pane.focus()

    def refresh_view(self) -> None:
        """Paint the list as wide as it may be."""
        self._pane.show(self._lines(), frame=Frame("Trust this perstack.toml?"))
        self._note()

    def on_paste(self, event: events.Paste) -> None:
        """Pasting accepts nothing, nor do keys that come right behind it."""
        event.stop()
        self._grace.restart()

    def on_key(self, event: events.Key) -> None:
        """Scroll, accept or leave. Enter accepts nothing."""
        event.stop()
        event.prevent_default()
        steps = {"down": 1, "j": 1, "up": -1, "k": -1, "pagedown": _PAGE, "pageup": -_PAGE}
        if event.key in steps:
            self._pane.scroll_lines(steps[event.key])
            self._note()
        elif event.key == "escape":
            self.dismiss(False)
        elif event.character == "a" and self._grace.admits() and self._is_read:
            self.dismiss(True)

    @property
    def _is_read(self) -> bool:
        return self._read_to >= len(self._pane.lines)

    def _note(self) -> None:
        """Remember how far the list was seen, and say what can be done."""
        self._read_to = max(self._read_to, self._pane.top + self._pane.inner_height)
        accept = " accept and go on  " if self._is_read else " accept, once read to the end  "
        tone = "accent" if self._is_read else "muted"
        self._bar.show(
            line(
                (" a", tone),
                (accept, "muted"),
                ("↑↓", "accent"),
                (" read  ", "muted"),
                ("esc", "accent"),
                (" start nothing", "muted"),
            )
        )

    def _lines(self) -> list[Line]:
        width = max(10, self._pane.inner_width - 2)
        intro = (
            "It was found in this folder, not named by you, and asks for more than its Experts' "
            "own tools. It would:"
        )
        lines = [BLANK, *(line((f" {text}", "text")) for text in wrap(intro, width)), BLANK]
        for demand in self._demands:
            first, *others = wrap(demand.text, width - 2) or [""]
            lines.append(line((" • ", "accent"), (first, "strong")))
            lines += [line((f"   {text}", "strong")) for text in others]
        closing = "Accepted once; asked again when one of these changes."
        return [*lines, BLANK, *(line((f" {text}", "muted")) for text in wrap(closing, width))]
