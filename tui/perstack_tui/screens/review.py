"""The review sheet: everything about a consensus checkpoint, then one deliberate key."""

from __future__ import annotations

from collections.abc import Hashable
from typing import TYPE_CHECKING

from textual import events
from textual.app import ComposeResult
from textual.widgets import Input

from perstack.domain.ids import SubtaskId
from perstack.errors import PerstackError
from perstack_tui.deliberate import Deliberate
from perstack_tui.ports.host import Host
from perstack_tui.screens.review_parts import ReviewParts
from perstack_tui.screens.sheet import Sheet
from perstack_tui.state.decided import moment_before
from perstack_tui.state.held import Choice, held_choice
from perstack_tui.state.inbox import Item, items_of
from perstack_tui.state.lines import Line, line
from perstack_tui.state.review import review_of
from perstack_tui.text import flat
from perstack_tui.widgets.pane import Pane

if TYPE_CHECKING:
    from perstack.domain.consensus import ConsensusCheckpoint, Decision


class ReviewSheet(Sheet[None]):
    """`a` and `r` decide, once the keyboard was quiet; enter and pasting never do."""

    def __init__(self, host: Host, gate: ConsensusCheckpoint) -> None:
        super().__init__(host)
        self._review = review_of(host.state.reviews, gate)
        self._deliberate = Deliberate(host, self._refused)
        self._sending = False
        self._error = ""
        self._parts = ReviewParts(host.monotonic, self._draft)
        self._pane, self._detail = self._parts.rows, self._parts.detail
        self._field, self._word = self._parts.field, self._parts.word

    def compose(self) -> ComposeResult:
        """What is asked, one subtask in full, the note, what would happen, the word, the keys."""
        yield from self._parts.widgets

    def on_mount(self) -> None:
        """The list has the keyboard, not the field."""
        self._deliberate.restart()
        self._pane.focus()

    @property
    def _draft(self) -> str:
        return self.host.state.drafts.get(("feedback", self._review.gate.id), "")

    # --- painting ---------------------------------------------------------------------------

    def refresh_view(self) -> None:
        """Paint; a decision made elsewhere closes the sheet for deciding."""
        if not self.is_mounted:
            return
        review, now = self._review, self.host.clock.now_ms()
        for item in items_of(self.host.state.index.view.inbox):
            if item.gate is not None and item.gate.id == review.gate.id:
                self._hear_reviewer(review.take(item.gate))
        review.held = held_choice(self.host.state.held, review.gate.id)
        review.observing = self.host.observing
        if review.why_unready() is not None and self._parts.word.has_focus:
            self._pane.focus()
        self._parts.paint(review, self.size.height, now)
        # What counts as seen is what is painted, not what was merely scrolled past.
        self.call_after_refresh(self._note_read)
        self._paint_bars()

    def _hear_reviewer(self, objected: frozenset[SubtaskId]) -> None:
        """Say what a verdict dropped that came while the sheet was open; `a` waits for quiet."""
        if objected:
            names = ", ".join(sorted(map(flat, objected)))
            self._error = f"the reviewer objects: {names} dropped; space keeps it"
            self._deliberate.restart()

    def _paint_bars(self) -> None:
        self._parts.paint_bars(self._review, self._consequence())

    def _note_read(self) -> None:
        if self.is_mounted and self._parts.note_read(self._review):
            self.refresh_view()

    def _consequence(self) -> Line:
        if self._error:
            return line((f" ✗ {self._error}", "fail"))
        if self._sending:
            return line((" ● deciding…", "run"))
        told = self._review.consequence(self._field.text)
        return Line(((" ", "text"), *told.left))

    # --- typing -----------------------------------------------------------------------------

    def on_input_changed(self, event: Input.Changed) -> None:
        """Keep the draft; take the word once it was typed key by key."""
        if event.input is self._word:
            self._typed_word(event.value)
        else:
            self.host.state.drafts[("feedback", self._review.gate.id)] = self._field.text
        if self.is_mounted:
            self._paint_bars()

    def _typed_word(self, text: str) -> None:
        review = self._review
        if text.strip().lower() != review.word:
            return
        if self._word.typed_by_hand:
            review.confirmed = review.kept_high
        else:
            self._error = "type the word key by key; what is pasted does not count"
        self._to_list()

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Enter only leaves the field; where a word was typed, the right one left it already."""
        event.stop()
        if event.input is self._word:
            self._error, self._word.value = f"not the word: it is {self._review.word}", ""
            self._paint_bars()
        else:
            self._to_list()

    def _to_list(self) -> None:
        """Leave a field; keys count in the list once the keyboard was quiet."""
        self._parts.leave_word()
        self._deliberate.restart()
        self._pane.focus()
        self.refresh_view()

    def on_descendant_focus(self, event: events.DescendantFocus) -> None:
        """Say which keys count now; in the list, once the keyboard was quiet."""
        if event.widget is self._pane:
            self._deliberate.restart()
        self.refresh_view()

    def on_paste(self, event: events.Paste) -> None:
        """Pasting outside the field does nothing, nor do keys that come right behind it."""
        event.stop()
        self._deliberate.restart()

    def on_key(self, event: events.Key) -> None:
        """Keys of the list; in a field only escape is ours, and the editor's key."""
        if self._field.has_focus or self._word.has_focus:
            if event.key == "escape":
                event.stop()
                self._to_list()
            elif event.key == "ctrl+g" and self._field.has_focus:
                event.stop()
                self._edit_note()
            return
        event.stop()
        event.prevent_default()
        if self._deliberate.admits():
            self._list_key(event)

    def _list_key(self, event: events.Key) -> None:
        self._error = ""
        match event.key:
            case "escape":
                self.dismiss(None)
            case "j" | "down":
                self._select(self._pane.move(1))
            case "k" | "up":
                self._select(self._pane.move(-1))
            case "J" | "shift+j" | "upper_j" | "pagedown":
                self._scroll(1)
            case "K" | "shift+k" | "upper_k" | "pageup":
                self._scroll(-1)
            case "right_square_bracket":
                self._turn(1)
            case "left_square_bracket":
                self._turn(-1)
            case _:
                self._deed_key(event.key)
        self.refresh_view()

    def _deed_key(self, key: str) -> None:
        decide = self._deliberate.decide
        match key:
            case "space":
                self._review.toggle()
            case "e" | "i" | "tab":
                self._field.focus()
            case "ctrl+g":
                self._edit_note()
            case "a":
                decide(self._approve)
            case "A" | "shift+a" | "upper_a":
                decide(self._approve_standing)
            case "r":
                decide(self._reject)
            case "u":
                self.host.holding.undo(self._review.gate.id)
            case "y":
                command = self._review.command(self._field.text)
                self.host.copy(command, "the command")
            case "F" | "shift+f" | "upper_f":
                self._fork()
            case _:
                # Keys that mean nothing here are text that was meant for somewhere else.
                self._deliberate.restart()

    def _scroll(self, sign: int) -> None:
        self._detail.scroll_lines(sign * max(1, self._detail.inner_height - 1))

    def on_pane_chosen(self, event: Pane.Chosen) -> None:
        """Take the selected subtask."""
        self._select(event.key)
        self.refresh_view()

    def _select(self, key: Hashable) -> None:
        if key is not None and key != self._review.selected:
            self._review.selected = SubtaskId(str(key))
            self._detail.scroll_lines(-self._detail.top)

    def _edit_note(self) -> None:
        async def edit() -> None:
            text = await self.host.edit_text(self._field.text)
            if text is not None and self.is_mounted:
                self._field.put(text)
            self._to_list()

        self.run_worker(edit(), group="editor", exclusive=True)

    def _turn(self, by: int) -> None:
        """Go to another item that waits; a key decides it after a quiet moment, as everywhere."""
        gates = [item.gate for item in self.host.state.pending if _is_gate(item)]
        ids = [gate.id for gate in gates if gate is not None]
        if not ids:
            return
        at = ids.index(self._review.gate.id) + by if self._review.gate.id in ids else 0
        gate = gates[at % len(ids)]
        if gate is None or gate.id == self._review.gate.id:
            return
        self._review = review_of(self.host.state.reviews, gate)
        self._sending, self._error = False, ""
        self._field.put(self._draft)
        self._parts.leave_word()
        self._pane.scroll_lines(-self._pane.top)
        self._detail.scroll_lines(-self._detail.top)

    def _fork(self) -> None:
        moment = moment_before(self.host.state.index, self._review.gate)
        if moment is None:
            self._error = "no checkpoint before it: its run had taken no step"
        else:
            self.dismiss(None)
            self.host.travel_to(moment)

    # --- deciding ---------------------------------------------------------------------------

    def _refused(self, why: str) -> None:
        self._error = why
        self.refresh_view()

    def _approve(self) -> None:
        review = self._review
        if review.why_unready() is None and review.wants_word:
            self._error = ""
            self._parts.ask_word()
        elif review.why_not_approve() is None:
            self._decide(review.approval(self._field.text, self.host.reviewer))
        else:
            # Whoever presses what cannot be done is not looking: the next key waits, too.
            self._deliberate.restart()

    def _approve_standing(self) -> None:
        review = self._review
        self._error = review.why_not_standing() or ""
        if self._error:
            self._deliberate.restart()
            self.refresh_view()
        else:
            decision = review.approval(self._field.text, self.host.reviewer)
            self._decide(decision, standing=True)

    def _reject(self) -> None:
        if self._review.why_closed() is None:
            self._decide(self._review.rejection(self._field.text, self.host.reviewer))

    def _decide(self, decision: Decision, *, standing: bool = False) -> None:
        if self._sending or self._is_left or self.host.observing:
            return
        self._sending, self._error = True, ""
        choice = Choice(self._review.gate, decision, standing)
        held = self.host.holding.decide((choice,), self._done, self._failed)
        if held:
            self.dismiss(None)
        else:
            self.refresh_view()

    def _done(self) -> None:
        if self.is_mounted:
            self.dismiss(None)

    def _failed(self, error: PerstackError) -> None:
        self._sending = False
        self._error = flat(error.message + (f" ({error.hint})" if error.hint else ""))
        if self.is_mounted:
            self.refresh_view()


def _is_gate(item: Item) -> bool:
    return item.key.kind == "gate"
