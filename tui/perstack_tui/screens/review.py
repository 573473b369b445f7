"""The review sheet: everything about a consensus checkpoint, then one deliberate key."""

from __future__ import annotations

from collections.abc import Hashable
from typing import TYPE_CHECKING

from textual import events
from textual.app import ComposeResult
from textual.widgets import Input

from perstack.domain.ids import SubtaskId
from perstack.errors import PerstackError
from perstack_tui.ports.gateway import Gateway
from perstack_tui.ports.host import Host
from perstack_tui.screens.sheet import Sheet
from perstack_tui.state.grace import Grace
from perstack_tui.state.inbox import gate_headline, items_of
from perstack_tui.state.lines import Line, line
from perstack_tui.state.review import Review, review_lines
from perstack_tui.state.wording import RISK_WORDS, countdown, outcome_of
from perstack_tui.text import flat
from perstack_tui.widgets.bar import Bar
from perstack_tui.widgets.field import Field
from perstack_tui.widgets.paint import Frame
from perstack_tui.widgets.pane import Pane

if TYPE_CHECKING:
    from perstack.domain.consensus import ConsensusCheckpoint, Decision


class ReviewSheet(Sheet[None]):
    """`a` and `r` decide, once the keyboard was quiet; enter and pasting never do."""

    def __init__(self, host: Host, gate: ConsensusCheckpoint) -> None:
        super().__init__(host)
        self._review = Review(gate)
        self._grace = Grace(host.monotonic)
        self._sending = False
        self._error = ""
        self._pane = Pane(id="review")
        draft = host.state.drafts.get(("feedback", gate.id), "")
        self._field = Field(
            id="feedback",
            value=draft,
            placeholder="e: a note to the agent (goes back with the decision)",
        )

    def compose(self) -> ComposeResult:
        """What is asked, the note, what would happen, the keys."""
        yield self._pane
        yield self._field
        yield Bar(id="consequence")
        yield Bar(id="review-keys")

    def on_mount(self) -> None:
        """The list has the keyboard, not the field."""
        self._grace.restart()
        self._pane.focus()

    def refresh_view(self) -> None:
        """Paint; a decision made elsewhere closes the sheet for deciding."""
        review, now = self._review, self.host.clock.now_ms()
        for item in items_of(self.host.state.index.view.inbox):
            if item.gate is not None and item.gate.id == review.gate.id:
                review.gate = item.gate
        gate = review.gate
        left = countdown(gate.expires_at, now) if gate.status == "pending" else outcome_of(gate)[1]
        badge = f"▲ {RISK_WORDS[gate.risk_level]} · {left}"
        title = f"Review · {gate_headline(gate)}"
        hints = "j/k select  space keep/drop  J/K scroll"
        lines = review_lines(review, self._pane.inner_width, now)
        self._pane.show(
            lines, selected=review.selected, frame=Frame(title, badge, hints, badge_role="need")
        )
        self._note_read()
        self.query_one("#consequence", Bar).show(self._consequence())
        self.query_one("#review-keys", Bar).show(_FIELD_KEYS if self._field.has_focus else _KEYS)

    def _note_read(self) -> None:
        """Remember which subtasks were visible to their last line."""
        pane = self._pane
        bottom = pane.top + pane.inner_height
        for task in self._review.gate.proposed_subtasks:
            last = max(
                (at for at, text in enumerate(pane.lines) if text.key == task.id), default=-1
            )
            if 0 <= last < bottom:
                self._review.read.add(task.id)

    def _consequence(self) -> Line:
        if self._error:
            return line((f" ✗ {self._error}", "fail"))
        if self._sending:
            return line((" ● deciding…", "run"))
        told = self._review.consequence(self._field.value)
        return Line(((" ", "text"), *told.left))

    def on_input_changed(self, event: Input.Changed) -> None:
        """Keep the draft."""
        self.host.state.drafts[("feedback", self._review.gate.id)] = event.value
        if self.is_mounted:
            self.query_one("#consequence", Bar).show(self._consequence())

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Enter only leaves the field."""
        event.stop()
        self._pane.focus()

    def on_descendant_focus(self, event: events.DescendantFocus) -> None:
        """Say which keys count now."""
        self.refresh_view()

    def on_paste(self, event: events.Paste) -> None:
        """Pasting outside the field does nothing, nor do keys that come right behind it."""
        event.stop()
        self._grace.restart()

    def on_key(self, event: events.Key) -> None:
        """Keys of the list; in the field only escape is ours."""
        if self._field.has_focus:
            if event.key == "escape":
                event.stop()
                self._pane.focus()
            return
        event.stop()
        event.prevent_default()
        if self._grace.admits():
            self._list_key(event)

    def _list_key(self, event: events.Key) -> None:
        match event.key:
            case "escape":
                self.dismiss(None)
            case "j" | "down":
                self._select(self._pane.move(1))
            case "k" | "up":
                self._select(self._pane.move(-1))
            case "J" | "shift+j" | "upper_j" | "pagedown":
                self._pane.scroll_lines(max(1, self._pane.inner_height // 2))
            case "K" | "shift+k" | "upper_k" | "pageup":
                self._pane.scroll_lines(-max(1, self._pane.inner_height // 2))
            case "space":
                self._review.toggle()
            case "e" | "tab":
                self._field.focus()
            case "a":
                self._approve()
            case "r":
                self._reject()
            case _:
                return
        if self.is_mounted:
            self.refresh_view()

    def on_pane_chosen(self, event: Pane.Chosen) -> None:
        """Take the selected subtask."""
        self._select(event.key)
        self.refresh_view()

    def _select(self, key: Hashable) -> None:
        if key is not None:
            self._review.selected = SubtaskId(str(key))

    def _approve(self) -> None:
        if self._review.why_not_approve() is None:
            self._decide(self._review.approval(self._field.value.strip(), self.host.reviewer))

    def _reject(self) -> None:
        if self._review.why_closed() is None:
            self._decide(self._review.rejection(self._field.value.strip(), self.host.reviewer))

    def _decide(self, decision: Decision) -> None:
        if self._sending or self.host.observing:
            return
        self._sending, self._error = True, ""
        gate = self._review.gate

        async def decide(gateway: Gateway) -> None:
            decided = await gateway.decide(gate.id, decision)
            self.host.state.drafts.pop(("feedback", gate.id), None)
            _, word, _ = outcome_of(decided)
            self._tell_decided(word, gate)
            if self.is_mounted:
                self.dismiss(None)

        self.host.command(decide, self._failed)

    def _tell_decided(self, word: str, gate: ConsensusCheckpoint) -> None:
        job = self.host.state.index.jobs.get(gate.job_id) if gate.job_id else None
        if job is not None and not self.host.state.is_driven(job):
            self.host.tell(f"{word}; nothing runs this job: i goes on with it", "good")
        else:
            self.host.tell(f"{word}: {gate_headline(gate)}", "good")

    def _failed(self, error: PerstackError) -> None:
        self._sending = False
        self._error = flat(error.message + (f" ({error.hint})" if error.hint else ""))
        if self.is_mounted:
            self.refresh_view()


_FIELD_KEYS = line((" esc", "accent"), (" back to the list; a and r decide there", "muted"))
_KEYS = line(
    (" a", "accent"),
    (" approve kept  ", "muted"),
    ("r", "accent"),
    (" reject all  ", "muted"),
    ("space", "accent"),
    (" keep/drop  ", "muted"),
    ("e", "accent"),
    (" note  ", "muted"),
    ("esc", "accent"),
    (" back, no decision", "muted"),
)
