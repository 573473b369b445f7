"""A question with named keys. Enter decides nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from textual import events
from textual.app import ComposeResult

from perstack_tui.deliberate import Deliberate
from perstack_tui.ports.host import Host
from perstack_tui.screens.sheet import Sheet
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
        self._deliberate = Deliberate(host, self._refused)
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
        self._deliberate.restart()
        self._pane.focus()
        self._show()

    def _show(self, wrong: str = "") -> None:
        said = [BLANK, *(line((text, "fail")) for text in wrap(wrong, 60))] if wrong else []
        self._pane.styles.height = len(self._lines) + len(said) + 3
        self._pane.show(_spaced([*self._lines, *said]), frame=Frame(self._title))

    def _refused(self, why: str) -> None:
        if self.is_mounted:
            self._show(why)

    def _choose(self, key: str | None) -> None:
        self.dismiss(key)

    def on_paste(self, event: events.Paste) -> None:
        """Pasting chooses nothing, nor do keys that come right behind it."""
        event.stop()
        self._deliberate.restart()

    def on_key(self, event: events.Key) -> None:
        """Take one of the named keys."""
        event.stop()
        event.prevent_default()
        if not self._deliberate.admits():
            return
        chosen = event.character
        if event.key == "escape":
            self.dismiss(None)
        elif any(choice.key == chosen for choice in self._choices):
            self._deliberate.decide(lambda: self._choose(chosen))
        else:
            # A key that means nothing here is text that was meant for somewhere else.
            self._deliberate.restart()


def _spaced(lines: Sequence[Line]) -> list[Line]:
    return [Line((("  ", "text"), *text.left), text.right, text.key) for text in lines]
