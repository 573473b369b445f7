"""The prompt line: a label and a field, there only while something is being typed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final, Literal, Protocol

from textual import events
from textual.app import ComposeResult
from textual.containers import Horizontal
from textual.message import Message
from textual.widgets import Input

from perstack_tui.state.bars import keys_line
from perstack_tui.state.goto import Completion
from perstack_tui.state.lines import Line, Span
from perstack_tui.text import flat, width_of
from perstack_tui.widgets.bar import Bar
from perstack_tui.widgets.field import Field

Purpose = Literal["follow_up", "filter", "goto"]
Complete = Callable[[str], Sequence[Completion]]
_ENTERED: Final[Mapping[Purpose, str]] = {
    "follow_up": "send",
    "filter": "keep the filter",
    "goto": "go there",
}
_LEFT: Final[Mapping[Purpose, str]] = {
    "follow_up": "leave; what you typed is kept",
    "filter": "take the filter away",
    "goto": "leave",
}


class Asker(Protocol):
    """Who asked something in the prompt line."""

    def typed(self, text: str) -> None:
        """Take note of what is being typed."""
        ...

    def entered(self, text: str) -> bool:
        """Take the text; return whether the prompt may close."""
        ...

    def left(self) -> None:
        """Nothing was entered."""
        ...


class Prompt(Horizontal):
    """`ask` opens it; `Typed`, `Entered` and `Left` come out.

    Tab goes through what `complete` offers, up and down through `past`, the oldest first.
    """

    class Typed(Message):
        """The text changed."""

        def __init__(self, purpose: Purpose, text: str) -> None:
            super().__init__()
            self.purpose: Purpose = purpose
            self.text = text

    class Entered(Typed):
        """Enter was pressed."""

    class Left(Typed):
        """Escape was pressed."""

    def __init__(self) -> None:
        super().__init__(id="prompt")
        self.purpose: Purpose | None = None
        self._complete: Complete | None = None
        self._offered: Sequence[Completion] = ()
        self._chosen = -1
        self._past: Sequence[str] = ()
        self._recalled = 0
        self._filled: str | None = None
        self._complaint = ""

    def compose(self) -> ComposeResult:
        """Label and field."""
        yield Bar(id="prompt-label")
        yield Field(id="prompt-field")

    def ask(
        self,
        purpose: Purpose,
        label: str,
        text: str,
        *,
        complete: Complete | None = None,
        past: Sequence[str] = (),
    ) -> None:
        """Open with `text` in the field."""
        self.purpose = None
        bar, field = self.query_one(Bar), self.query_one(Field)
        bar.show(Line(((f" {label} › ", "accent"),)))
        bar.styles.width = width_of(label) + 4
        self._complete, self._past, self._recalled = complete, past, len(past)
        self._filled, self._complaint = None, ""
        field.value = text
        field.cursor_position = len(text)
        self.purpose = purpose
        self._offer(text)
        self.display = True
        field.focus()

    def leave(self) -> None:
        """Close."""
        self.purpose = None
        self.display = False

    def complain(self, text: str) -> None:
        """Say what is wrong with what was entered, until it is changed."""
        self._complaint = text

    @property
    def keys(self) -> Line:
        """What the keys do while it is open."""
        entered = _ENTERED[self.purpose or "follow_up"]
        recall = (("↑ ↓", "what was typed before"),) if self._past else ()
        offered = (("tab", "complete"),) if self._complete is not None else ()
        return keys_line(("⏎", entered), *offered, *recall, ("esc", _LEFT[self.purpose or "goto"]))

    @property
    def line(self) -> Line | None:
        """What is wrong with the text, else what it may go on to; None where neither is known."""
        if self.display and self._complaint:
            return Line(((" ✗ ", "fail"), (flat(self._complaint), "fail")))
        if not self.display or self._complete is None:
            return None
        spans: list[Span] = [(" ", "text")]
        first = max(0, self._chosen - 3)
        for at, offer in enumerate(self._offered[first : first + 20], first):
            spans.append((flat(offer.text), "chip" if at == self._chosen else "accent"))
            spans.append((f" {flat(offer.note)}  " if offer.note else "  ", "muted"))
        if not self._offered:
            spans.append(("nothing goes on like this", "muted"))
        return Line(tuple(spans), (("tab ", "accent"), ("complete ", "muted")))

    def _offer(self, text: str) -> None:
        self._offered = () if self._complete is None else self._complete(text)
        self._chosen = -1

    def on_input_changed(self, event: Input.Changed) -> None:
        """Tell what is typed, so that drafts survive and filters act at once."""
        event.stop()
        if self.purpose is None:
            return
        self._complaint = ""
        if event.value != self._filled:
            self._filled = None
            self._offer(event.value)
        self.post_message(self.Typed(self.purpose, event.value))

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Tell that enter was pressed."""
        event.stop()
        if self.purpose is not None:
            self.post_message(self.Entered(self.purpose, event.value))

    def on_key(self, event: events.Key) -> None:
        """Leave on escape; complete on tab; recall on up and down."""
        if self.purpose is None:
            return
        match event.key:
            case "escape":
                self.post_message(self.Left(self.purpose, self.query_one(Field).value))
            case "tab" | "shift+tab" if self._complete is not None:
                self._fill(-1 if event.key == "shift+tab" else 1)
            case "up" | "down":
                self._recall(-1 if event.key == "up" else 1)
            case _:
                return
        event.stop()
        event.prevent_default()

    def _fill(self, by: int) -> None:
        if not self._offered:
            return
        alone = len(self._offered) == 1
        start = 0 if by < 0 and self._chosen < 0 else self._chosen
        self._chosen = (start + by) % len(self._offered)
        text = self._offered[self._chosen].text + (" " if alone else "")
        self._put(text, stays=not alone)

    def _recall(self, by: int) -> None:
        wanted = self._recalled + by
        if 0 <= wanted <= len(self._past):
            self._recalled = wanted
            self._put(self._past[wanted] if wanted < len(self._past) else "", stays=False)

    def _put(self, text: str, *, stays: bool) -> None:
        field = self.query_one(Field)
        self._filled = text if stays else None
        field.value = text
        field.cursor_position = len(field.value)
