"""A list that is searched as one types: the line for the words, and the keys that lead there."""

from __future__ import annotations

from typing import Final

from textual import events
from textual.containers import Horizontal
from textual.widgets import Input

from perstack_tui.ports.host import Host
from perstack_tui.screens.sheet import Sheet
from perstack_tui.state.lines import line
from perstack_tui.widgets.bar import Bar
from perstack_tui.widgets.field import Field
from perstack_tui.widgets.pane import Pane

_LEAD_OUT: Final = ("up", "down", "pageup", "pagedown")


class SearchedSheet(Sheet[None]):
    """Has a list and, below it, a line for words that is shown while one searches.

    `name` begins the ids of the line's widgets, `label` is what stands before the words.
    """

    def __init__(self, host: Host, name: str, *, label: str, listed: Pane) -> None:
        super().__init__(host)
        self._list = listed
        self._field = Field(id=f"{name}-field")
        head = Bar(id=f"{name}-filter-label")
        head.line = line((f" {label} › ", "accent"))
        self._search_line = Horizontal(head, self._field, classes="search-line")
        self._searching = False

    @property
    def _words(self) -> str:
        """What is searched for now."""
        raise NotImplementedError

    def _seek(self, words: str, *, typing: bool = False) -> None:
        """Search for `words`; `typing`: more of them may come."""
        raise NotImplementedError

    def _search(self) -> None:
        """Let words be typed, those that are searched for to begin with."""
        self._searching = True
        self._search_line.display = True
        self._field.value = self._words
        self._field.focus()

    def _end_search(self, words: str) -> None:
        """Give the keyboard back to the list, and keep `words`."""
        self._searching = False
        self._search_line.display = False
        self._list.focus()
        if words != self._words:
            self._seek(words)
        self.refresh_view()

    def _search_takes(self, event: events.Key) -> bool:
        """Say whether a key is for the words, and add it to them; what moves is the list's."""
        if not self._searching or event.key in _LEAD_OUT:
            return False
        if event.key == "escape":
            event.stop()
            self._end_search("")
        elif not self._field.has_focus:
            # It was typed before the line had the keyboard.
            event.stop()
            event.prevent_default()
            if event.key == "enter":
                self._end_search(self._field.value.strip())
            elif event.is_printable:
                self._field.insert_text_at_cursor(event.character or "")
        return True

    def on_input_changed(self, event: Input.Changed) -> None:
        """Search as it is typed."""
        event.stop()
        if self._searching and event.value.strip() != self._words:
            self._seek(event.value.strip(), typing=True)

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Keep the search."""
        event.stop()
        self._end_search(event.value.strip())
