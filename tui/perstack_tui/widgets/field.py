"""A one-line text field that takes any paste without passing control characters on."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from textual import events
from textual.widgets import Input

from perstack.projection.inert import has_hidden

LONGEST: Final = 20_000
SECONDS_A_KEY: Final = 0.025


def clean(text: str) -> str:
    """Return `text` on one line, without characters that act on a terminal or hide."""
    flat = " ".join(text[:LONGEST].replace("\t", " ").splitlines())
    if not has_hidden(flat):
        return flat
    return "".join(character for character in flat if not has_hidden(character))


class Field(Input):
    """Textual's input, made safe; `ctrl+c` belongs to the app."""

    def __init__(self, *, id: str, value: str = "", placeholder: str = "") -> None:  # noqa: A002
        super().__init__(
            clean(value), placeholder, id=id, max_length=LONGEST, select_on_focus=False
        )

    def replace(self, text: str, start: int, end: int) -> None:
        """Replace a range, by typing or pasting, with what is clean of `text`."""
        super().replace(clean(text) if len(text) > 1 or has_hidden(text) else text, start, end)

    async def _on_key(self, event: events.Key) -> None:
        """Submit at once on enter: a binding would act once what is typed behind it was taken."""
        if event.key == "enter":
            event.stop()
            event.prevent_default()
            await self.action_submit()
        else:
            await super()._on_key(event)

    def _on_paste(self, event: events.Paste) -> None:
        event.prevent_default()
        event.stop()
        if text := clean(event.text):
            self.replace(text, *sorted(self.selection))


class LongField(Field):
    """A field whose text may have lines, once it was written in `$EDITOR`.

    They stand beside it and are sent as they are: the field then says how many there are and takes
    no letter, until the editor is opened again or they are deleted.
    """

    def __init__(self, *, id: str, placeholder: str = "") -> None:  # noqa: A002
        super().__init__(id=id, placeholder=placeholder)
        self._written = ""
        self._hint = placeholder

    @property
    def text(self) -> str:
        """What is sent: the lines as they were written, else what was typed."""
        return self._written or self.value.strip()

    def put(self, text: str) -> None:
        """Hold `text`, in the field where it is of one line."""
        lines = text if "\n" in text.strip() else ""
        told = lines != self._written
        self._written = lines
        self.placeholder = _lines_words(lines) if lines else self._hint
        before, self.value = self.value, "" if lines else clean(text.strip())
        self.cursor_position = len(self.value)
        if told and self.value == before and self.is_mounted:
            self.post_message(self.Changed(self, self.value))

    def hint(self, text: str) -> None:
        """Say what is wanted while nothing stands there."""
        self._hint = text
        if not self._written:
            self.placeholder = text

    def replace(self, text: str, start: int, end: int) -> None:
        """Replace a range, unless lines stand there."""
        if not self._written:
            super().replace(text, start, end)

    async def _on_key(self, event: events.Key) -> None:
        """Delete the lines as a whole."""
        if self._written and event.key in _DELETING:
            event.stop()
            event.prevent_default()
            self.put("")
        else:
            await super()._on_key(event)


def _lines_words(text: str) -> str:
    return f"{len(text.strip().splitlines())} lines · ^g edits them, backspace drops them"


_DELETING: Final = ("backspace", "delete", "ctrl+u", "ctrl+k", "ctrl+w")


class TypedWord(Field):
    """A field for a word that a person types key by key; what is pasted into it is not taken."""

    def __init__(self, *, id: str, monotonic: Callable[[], float]) -> None:  # noqa: A002
        super().__init__(id=id)
        self._monotonic = monotonic
        self._began = self._last = 0.0

    def replace(self, text: str, start: int, end: int) -> None:
        """Take a character at a time."""
        if len(text) > 1:
            return
        self._last = self._monotonic()
        if not self.value:
            self._began = self._last
        super().replace(text, start, end)

    def _on_paste(self, event: events.Paste) -> None:
        event.prevent_default()
        event.stop()

    @property
    def typed_by_hand(self) -> bool:
        """Whether the word took as long as fingers take; keys that come at once were pasted."""
        return self._last - self._began >= SECONDS_A_KEY * (len(self.value) - 1)
