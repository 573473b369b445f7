"""A question with named keys. Enter decides nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from textual import events
from textual.app import ComposeResult

from perstack_tui.ports.host import Host
from perstack_tui.screens.sheet import Sheet
from perstack_tui.state.grace import Grace
from perstack_tui.state.lines import BLANK, Line, line
from perstack_tui.text import wrap
from perstack_tui.widgets.paint import Frame
from perstack_tui.widgets.pane import Pane


@dataclass(frozen=True, slots=True)
class Choice:
    """A key and what it does."""

    key: str
    label: str


class ConfirmSheet(Sheet[str | None]):
    """Gives the chosen key, or None for staying (escape)."""

    def __init__(
        self, host: Host, title: str, body: Sequence[str], choices: Sequence[Choice], stay: str
    ) -> None:
        super().__init__(host)
        self._choices = choices
        self._grace = Grace(host.monotonic)
        self._pane = Pane(id="confirm")
        self._title = title
        self._lines = [
            BLANK,
            *(line((text, "text")) for part in body for text in wrap(part, 60)),
            BLANK,
        ]
        self._lines += [
            line((f"{choice.key:<5}", "accent"), (choice.label, "text")) for choice in choices
        ]
        self._lines += [line(("esc  ", "accent"), (stay, "text"))]

    def compose(self) -> ComposeResult:
        """One pane."""
        yield self._pane

    def on_mount(self) -> None:
        """Size the pane to its lines."""
        self._pane.styles.height = len(self._lines) + 3
        self._pane.focus()
        self._pane.show(_spaced(self._lines), frame=Frame(self._title))

    def on_paste(self, event: events.Paste) -> None:
        """Pasting chooses nothing, nor do keys that come right behind it."""
        event.stop()
        self._grace.restart()

    def on_key(self, event: events.Key) -> None:
        """Take one of the named keys."""
        event.stop()
        event.prevent_default()
        if not self._grace.admits():
            return
        if event.key == "escape":
            self.dismiss(None)
        elif any(choice.key == event.character for choice in self._choices):
            self.dismiss(event.character)


def _spaced(lines: Sequence[Line]) -> list[Line]:
    return [Line((("  ", "text"), *text.left), text.right, text.key) for text in lines]
