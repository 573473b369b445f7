"""Several consensus checkpoints on one sheet, decided with one key once all of it was read."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from textual import events
from textual.app import ComposeResult
from textual.widgets import Input

from perstack.errors import PerstackError
from perstack_tui.deliberate import Deliberate
from perstack_tui.ports.host import Host
from perstack_tui.screens.sheet import Sheet
from perstack_tui.state.bulk import Group, bulk_lines, choices, grouped, may_be_bulk
from perstack_tui.state.inbox import ItemKey, items_of
from perstack_tui.state.lines import Line, line
from perstack_tui.state.reading import Reading
from perstack_tui.state.wording import count_of
from perstack_tui.text import flat
from perstack_tui.widgets.bar import Bar
from perstack_tui.widgets.field import Field
from perstack_tui.widgets.paint import Frame
from perstack_tui.widgets.pane import Pane


class BulkSheet(Sheet[None]):
    """`a` approves all that is shown, `r` rejects it; what is of high risk is not among it."""

    def __init__(self, host: Host, keys: Sequence[ItemKey]) -> None:
        super().__init__(host)
        self._ids = frozenset(key.id for key in keys)
        self._draft = ("bulk", self._ids)
        self._groups: tuple[Group, ...] = ()
        self._deliberate = Deliberate(host, self._refused)
        self._reading = Reading()
        self._error = ""
        self._sending = False
        self._pane = Pane(id="bulk")
        kept = host.state.drafts.get(self._draft, "")
        self._field = Field(id="bulk-note", value=kept, placeholder="e: a note to all of them")

    def compose(self) -> ComposeResult:
        """All of it, a note, what would happen, the keys."""
        yield self._pane
        yield self._field
        yield Bar(id="bulk-consequence")
        yield Bar(id="bulk-keys")

    def on_mount(self) -> None:
        """The list has the keyboard."""
        self._deliberate.restart()
        self._pane.focus()

    def refresh_view(self) -> None:
        """Paint; what was decided elsewhere drops out."""
        if not self.is_mounted:
            return
        items = items_of(self.host.state.index.view.inbox)
        gates = [item.gate for item in items if item.gate is not None and item.gate.id in self._ids]
        parted = {id_ for id_, review in self.host.state.reviews.items() if review.dropped}
        whole = [gate for gate in gates if may_be_bulk(gate) and gate.id not in parted]
        before, self._groups = self._groups, grouped(whole)
        if [group.gates for group in before] != [group.gates for group in self._groups]:
            self._reading = Reading()
        left_out = [gate for gate in gates if gate not in whole]
        now, width = self.host.clock.now_ms(), self._pane.inner_width
        badge = f"▲ {count_of(self._count, 'item')}"
        frame = Frame("Decide together", badge, "J/K scroll", badge_role="need")
        self._pane.show(bulk_lines(self._groups, left_out, width, now), frame=frame)
        self.call_after_refresh(self._note_read)
        self._paint_bars()

    @property
    def _count(self) -> int:
        return sum(len(group.gates) for group in self._groups)

    def _note_read(self) -> None:
        pane, read = self._pane, "all" in self._reading.read
        if pane.inner_height > 0 and pane.inner_width > 0:
            seen = range(pane.top, pane.top + pane.inner_height)
            self._reading.saw("all", pane.inner_width, len(pane.lines), seen)
        if not read and "all" in self._reading.read and self.is_mounted:
            self._paint_bars()

    def _why_not(self) -> str | None:
        if not self._count:
            return "nothing is left that can be decided together"
        if "all" not in self._reading.read:
            return "read all of it first (J scrolls)"
        return None

    def _paint_bars(self) -> None:
        self.query_one("#bulk-consequence", Bar).show(self._consequence())
        in_field = self._field.has_focus
        self.query_one("#bulk-keys", Bar).show(_FIELD_KEYS if in_field else _KEYS)

    def _consequence(self) -> Line:
        if self._error:
            return line((f" ✗ {self._error}", "fail"))
        if (why := self._why_not()) is not None:
            return line((" a is off: ", "muted"), (why, "need"))
        return line((" a approves ", "done"), (f"all {count_of(self._count, 'item')}", "text"))

    def on_input_changed(self, event: Input.Changed) -> None:
        """Keep the note: closing the sheet, or undoing what it decided, loses nothing."""
        event.stop()
        self.host.state.drafts[self._draft] = event.value

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Enter only leaves the field."""
        event.stop()
        self._deliberate.restart()
        self._pane.focus()

    def on_descendant_focus(self, event: events.DescendantFocus) -> None:
        """Say which keys count now."""
        self.refresh_view()

    def on_paste(self, event: events.Paste) -> None:
        """Pasting outside the field does nothing, nor do keys that come right behind it."""
        event.stop()
        self._deliberate.restart()

    def on_key(self, event: events.Key) -> None:
        """Keys of the list; in the field only escape is ours."""
        if self._field.has_focus:
            if event.key == "escape":
                event.stop()
                self._deliberate.restart()
                self._pane.focus()
            return
        event.stop()
        event.prevent_default()
        if self._deliberate.admits():
            self._list_key(event.key)

    def _list_key(self, key: str) -> None:
        self._error = ""
        page = max(1, self._pane.inner_height - 1)
        match key:
            case "escape":
                self.dismiss(None)
            case "j" | "down":
                self._pane.scroll_lines(1)
            case "k" | "up":
                self._pane.scroll_lines(-1)
            case "J" | "shift+j" | "upper_j" | "pagedown":
                self._pane.scroll_lines(page)
            case "K" | "shift+k" | "upper_k" | "pageup":
                self._pane.scroll_lines(-page)
            case "e" | "i" | "tab":
                self._field.focus()
            case "a" | "r":
                self._deliberate.decide(partial(self._decide, approve=key == "a"))
            case _:
                # Keys that mean nothing here are text that was meant for somewhere else.
                self._deliberate.restart()
        self.refresh_view()

    def _refused(self, why: str) -> None:
        self._error = why
        self.refresh_view()

    def _decide(self, *, approve: bool) -> None:
        refused = self.host.observing or self._sending or self._is_left or not self._count
        if refused or (approve and self._why_not() is not None):
            return
        note = self._field.value.strip()
        made = choices(self._groups, note, self.host.reviewer, approve=approve)
        self._sending = True
        self.host.state.marks -= {
            key for key in self.host.state.marks if isinstance(key, ItemKey) and key.id in self._ids
        }
        self.host.holding.decide(made, failed=self._failed)
        self.dismiss(None)

    def _failed(self, error: PerstackError) -> None:
        self.host.tell(flat(error.message), "bad")


_FIELD_KEYS = line((" esc", "accent"), (" back; a and r decide there", "muted"))
_KEYS = line(
    (" a", "accent"),
    (" approve all  ", "muted"),
    ("r", "accent"),
    (" reject all  ", "muted"),
    ("e", "accent"),
    (" note  ", "muted"),
    ("esc", "accent"),
    (" back, no decision", "muted"),
)
