"""A field below some lines: for what is more than a key and less than a form."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from typing import Final

from textual import events
from textual.app import ComposeResult
from textual.containers import Vertical
from textual.widgets import Input

from perstack_tui.deliberate import Deliberate
from perstack_tui.ports.host import Host
from perstack_tui.screens.sheet import Sheet
from perstack_tui.state.lines import BLANK, Line, line
from perstack_tui.text import cell, flat
from perstack_tui.widgets.bar import Bar
from perstack_tui.widgets.field import Field
from perstack_tui.widgets.paint import Frame
from perstack_tui.widgets.pane import Pane


class AskSheet(Sheet[str]):
    """Gives what was typed, None when nothing is sent. What is typed stays there for next time.

    `why_not` says what is wrong with a text. What is offered is picked with up and down. What
    acts is sent only by an enter that was meant for it.
    """

    DEFAULT_CSS = """
    #ask-sheet { width: 100%; height: 100%; max-width: 120; }
    #ask { height: 1fr; }
    """

    def __init__(
        self,
        host: Host,
        title: str,
        about: Sequence[Line],
        *,
        placeholder: str,
        why_not: Callable[[str], str | None],
        draft: Hashable,
        acts: bool = True,
    ) -> None:
        super().__init__(host)
        self._title = title
        self._about = about
        self._why_not = why_not
        self._draft = draft
        self._offered: Sequence[tuple[str, str]] = ()
        self._picked: str | None = None
        self._deliberate = Deliberate(host, self._say) if acts else None
        self._pane = Pane(id="ask")
        kept = host.state.drafts.get(draft, "")
        self._field = Field(id="ask-field", value=kept, placeholder=placeholder)

    def compose(self) -> ComposeResult:
        """What it is about, the field, the keys."""
        with Vertical(id="ask-sheet"):
            yield self._pane
            yield self._field
            yield Bar(id="ask-keys")

    def on_mount(self) -> None:
        """The field has the keyboard."""
        if self._deliberate is not None:
            self._deliberate.restart()
        self._field.focus()
        self._field.cursor_position = len(self._field.value)
        self._say(None)
        self.refresh_view()

    def offer(self, rows: Sequence[tuple[str, str]]) -> None:
        """Offer texts to pick from, each with a note."""
        self._offered = rows
        if self.is_mounted:
            self._say(None)
            self.refresh_view()

    def refresh_view(self) -> None:
        """Paint what it is about and what is offered."""
        width = self._pane.inner_width
        names = min(40, max(16, width // 2))
        rows = [
            line((f" {cell(text, names)} ", "text"), (flat(said), "muted"), key=text)
            for text, said in self._offered
        ]
        lines = [*self._about, *((BLANK,) if rows else ()), *rows]
        self._pane.show(lines, selected=self._picked, frame=Frame(self._title))

    def _say(self, wrong: str | None) -> None:
        if wrong is not None:
            shown = line((" ✗ ", "fail"), (flat(wrong), "fail"))
        else:
            shown = _PICK_KEYS if self._offered else _KEYS
        self.query_one("#ask-keys", Bar).show(shown)

    def on_input_changed(self, event: Input.Changed) -> None:
        """Keep the draft."""
        event.stop()
        self.host.state.drafts[self._draft] = event.value
        if self.is_mounted:
            self._say(None)

    def on_key(self, event: events.Key) -> None:
        """Pick, or close."""
        if event.key in ("up", "down") and self._offered:
            event.stop()
            event.prevent_default()
            self._pick(self._next(-1 if event.key == "up" else 1))
        elif event.key == "escape":
            event.stop()
            self.dismiss(None)

    def on_pane_chosen(self, event: Pane.Chosen) -> None:
        """Take what was clicked."""
        event.stop()
        if isinstance(event.key, str):
            self._pick(event.key)
            self._field.focus()

    def _next(self, by: int) -> str:
        texts = [text for text, _ in self._offered]
        if self._picked not in texts:
            return texts[0 if by > 0 else -1]
        return texts[(texts.index(self._picked) + by) % len(texts)]

    def _pick(self, text: str) -> None:
        self._picked = text
        self._field.value = text
        self._field.cursor_position = len(self._field.value)
        self.refresh_view()

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Send it, if nothing is wrong with it."""
        event.stop()
        text = event.value.strip()
        wrong = self._why_not(text)
        if wrong is not None:
            self._say(wrong)
        elif self._deliberate is None:
            self._send()
        else:
            self._deliberate.send(self._send)

    def _send(self) -> None:
        text = self._field.value.strip()
        if not self._is_left and self._why_not(text) is None:
            self.host.state.drafts.pop(self._draft, None)
            self.dismiss(text)


_KEYS: Final = line((" ⏎", "accent"), (" send ", "muted"), (" esc", "accent"), (" close", "muted"))
_PICK_KEYS: Final = line(
    (" ↑↓", "accent"),
    (" pick ", "muted"),
    (" ⏎", "accent"),
    (" send ", "muted"),
    (" esc", "accent"),
    (" close", "muted"),
)
