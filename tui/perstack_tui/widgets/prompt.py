"""The prompt line: a label and a field, there only while something is being typed."""

from __future__ import annotations

from typing import Literal

from textual import events
from textual.app import ComposeResult
from textual.containers import Horizontal
from textual.message import Message
from textual.widgets import Input

from perstack_tui.state.lines import Line
from perstack_tui.text import width_of
from perstack_tui.widgets.bar import Bar
from perstack_tui.widgets.field import Field

Purpose = Literal["follow_up", "filter"]


class Prompt(Horizontal):
    """`ask` opens it; `Typed`, `Entered` and `Left` come out."""

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

    def compose(self) -> ComposeResult:
        """Label and field."""
        yield Bar(id="prompt-label")
        yield Field(id="prompt-field")

    def ask(self, purpose: Purpose, label: str, text: str) -> None:
        """Open with `text` in the field."""
        self.purpose = None
        bar, field = self.query_one(Bar), self.query_one(Field)
        bar.show(Line(((f" {label} › ", "accent"),)))
        bar.styles.width = width_of(label) + 4
        field.value = text
        field.cursor_position = len(text)
        self.purpose = purpose
        self.display = True
        field.focus()

    def leave(self) -> None:
        """Close."""
        self.purpose = None
        self.display = False

    def on_input_changed(self, event: Input.Changed) -> None:
        """Tell what is typed, so that drafts survive and filters act at once."""
        event.stop()
        if self.purpose is not None:
            self.post_message(self.Typed(self.purpose, event.value))

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Tell that enter was pressed."""
        event.stop()
        if self.purpose is not None:
            self.post_message(self.Entered(self.purpose, event.value))

    def on_key(self, event: events.Key) -> None:
        """Leave on escape."""
        if event.key == "escape" and self.purpose is not None:
            event.stop()
            event.prevent_default()
            self.post_message(self.Left(self.purpose, self.query_one(Field).value))
