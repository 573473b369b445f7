"""A one-line text field that takes any paste without passing control characters on."""

from __future__ import annotations

from typing import Final

from textual import events
from textual.widgets import Input

from perstack.projection.inert import has_hidden

LONGEST: Final = 20_000


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
