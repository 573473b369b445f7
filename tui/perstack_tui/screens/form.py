"""Answering what a tool server asks: the question in full, its fields one after another."""

from __future__ import annotations

from typing import TYPE_CHECKING

from textual import events
from textual.app import ComposeResult
from textual.containers import Vertical
from textual.widgets import Input

from perstack.errors import PerstackError
from perstack_tui.deliberate import Deliberate
from perstack_tui.ports.gateway import Gateway
from perstack_tui.ports.host import Host
from perstack_tui.screens.sheet import Sheet
from perstack_tui.state.form import Form, form_pane_lines
from perstack_tui.state.inbox import items_of
from perstack_tui.state.lines import Line, Span, line
from perstack_tui.state.wording import countdown
from perstack_tui.text import flat
from perstack_tui.widgets.bar import Bar
from perstack_tui.widgets.field import Field
from perstack_tui.widgets.paint import Frame
from perstack_tui.widgets.pane import Pane

if TYPE_CHECKING:
    from perstack.domain.consensus import ConsensusCheckpoint, Decision

DECLINE = "ctrl+r"


class FormSheet(Sheet[None]):
    """Enter takes a field and goes on; at the last one it sends. Declining takes a key twice."""

    def __init__(self, host: Host, gate: ConsensusCheckpoint) -> None:
        super().__init__(host)
        self._form = Form(gate, self._drafts(host, gate))
        self._sending = False
        self._declining = False
        self._error = ""
        self._deliberate = Deliberate(host, self._refused)
        self._pane = Pane(id="form")
        self._field = Field(id="form-field")

    def compose(self) -> ComposeResult:
        """Question and fields above, what is typed below."""
        with Vertical(id="form-sheet"):
            yield self._pane
            yield self._field
            yield Bar(id="form-keys")

    def on_mount(self) -> None:
        """Show the first field."""
        self._field.display = self._form.field is not None
        self._turn()

    def refresh_view(self) -> None:
        """Paint; what was answered elsewhere, or has expired, cannot be answered here."""
        form = self._form
        for item in items_of(self.host.state.index.view.inbox):
            if item.gate is not None and item.gate.id == form.gate.id:
                form.gate = item.gate
        left = countdown(form.gate.expires_at, self.host.clock.now_ms())
        which = f"field {form.at + 1} of {len(form.fields)} · " if len(form.fields) > 1 else ""
        frame = Frame(f"{flat(form.gate.expert_key)} asks", f"{which}{left}", badge_role="need")
        self._pane.show(form_pane_lines(form, self._pane.inner_width), frame=frame)
        self.query_one("#form-keys", Bar).show(self._keys())

    def _refused(self, why: str) -> None:
        self._error = why
        if self.is_mounted:
            self.refresh_view()

    def _turn(self) -> None:
        self._deliberate.restart()
        draft = self._form.draft()
        self._field.value = draft
        self._field.cursor_position = len(draft)
        asked = self._form.field
        self._field.placeholder = flat(asked.title) if asked is not None else ""
        if asked is None or self._form.takes_several or (self._form.choices and not draft):
            self._pane.focus()
        else:
            self._field.focus()
        self.refresh_view()

    def _keys(self) -> Line:
        closed = self._form.why_closed()
        if closed or self._error:
            return line((f" ✗ {closed or self._error}", "fail"))
        if self._sending:
            return line((" ● sending…", "run"))
        if self._declining:
            return line((f" {DECLINE}", "accent"), (" again declines to answer", "need"))
        sends = "send  " if self._form.is_last else "next field  "
        keys: list[tuple[str, str]] = []
        if self._form.choices:
            keys.append((f" 1-{min(9, len(self._form.choices))}", "choose  "))
        keys.append((" ⏎", sends))
        if self._form.at:
            keys.append((" ↑", "field before  "))
        keys += [(f" {DECLINE}", "decline  "), (" esc", "close, the text is kept")]
        spans: list[Span] = []
        for key, text in keys:
            spans.append((key, "accent"))
            spans.append((" " + text, "muted"))
        return Line(tuple(spans))

    # --- keys -------------------------------------------------------------------------------

    def on_key(self, event: events.Key) -> None:
        """Choose by number while the field does not have the keyboard."""
        if event.key != DECLINE:
            self._declining = False
        if event.key in ("escape", DECLINE, "shift+tab", "up"):
            event.stop()
            event.prevent_default()
            self._leave_field(event.key)
        elif self._pane.has_focus:
            event.stop()
            event.prevent_default()
            self._key_on_choices(event)

    def _leave_field(self, key: str) -> None:
        if key == "escape":
            self.dismiss(None)
        elif key == DECLINE:
            self._decline()
        else:
            self._error = ""
            self._form.move(-1)
            self._turn()

    def _key_on_choices(self, event: events.Key) -> None:
        character = event.character or ""
        choices = self._form.choices[:9]
        if event.key == "enter" and self._form.field is None:
            self._deliberate.send(self._send)
        elif event.key == "enter" and self._form.takes_several:
            self._enter()
        elif character.isdecimal() and 0 < int(character) <= len(choices):
            self._choose(choices[int(character) - 1])
        elif event.key in ("pagedown", "pageup"):
            self._pane.scroll_lines(5 if event.key == "pagedown" else -5)
        elif event.key in ("tab", "down", "enter"):
            self._field.focus()
        elif event.is_printable and character:
            self._fill(self._field.value + character)

    def _choose(self, choice: str) -> None:
        """Take the choice; where several can be taken, go on choosing."""
        self._fill(self._form.choose(choice))
        if self._form.takes_several:
            self._pane.focus()
            self.refresh_view()

    def _fill(self, text: str) -> None:
        self._field.value = text
        self._field.cursor_position = len(text)
        self._field.focus()

    def on_input_changed(self, event: Input.Changed) -> None:
        """Keep the draft; whoever types does not decline."""
        if self._declining:
            self._declining = False
            self.refresh_view()
        asked = self._form.field
        if asked is not None:
            self._form.texts[asked.name] = event.value
            self.host.state.drafts[("form", self._form.gate.id, asked.name)] = event.value

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Take the field; go to the next one, or send."""
        event.stop()
        self._enter()

    def _enter(self) -> None:
        """Go on to the next field at once; send behind the last one only what was meant."""
        if self._form.is_last:
            self._deliberate.send(self._take)
        else:
            self._take()

    def _take(self) -> None:
        if self._is_left or self._sending:
            return
        self._error = self._form.take(self._field.value.strip()) or ""
        if self._error:
            self.refresh_view()
        elif self._form.is_last:
            self._send()
        else:
            self._form.move(1)
            self._turn()

    # --- deciding ---------------------------------------------------------------------------

    def _send(self) -> None:
        try:
            decision = self._form.acceptance(self.host.reviewer)
        except ValueError as error:
            self._error = str(error)
            self._turn()
        else:
            self._decide(decision, "answered; the call goes on")

    def _decline(self) -> None:
        if self._declining:
            self._deliberate.send(self._refuse)
        else:
            self._declining = True
            self._deliberate.restart()
            self.refresh_view()

    def _refuse(self) -> None:
        if self._declining:
            self._decide(self._form.refusal(self.host.reviewer), "declined; the call goes on")

    def _decide(self, decision: Decision, told: str) -> None:
        if self._sending or self._is_left or self.host.observing or self._form.why_closed():
            return
        self._sending, self._error = True, ""
        gate = self._form.gate

        async def decide(gateway: Gateway) -> None:
            await gateway.decide(gate.id, decision)
            for asked in self._form.fields:
                self.host.state.drafts.pop(("form", gate.id, asked.name), None)
            self.host.tell(told, "good")
            if self.is_mounted:
                self.dismiss(None)

        self.host.command(decide, self._failed)
        self.refresh_view()

    def _failed(self, error: PerstackError) -> None:
        self._sending = False
        self._error = flat(error.message)
        if self.is_mounted:
            self.refresh_view()

    @staticmethod
    def _drafts(host: Host, gate: ConsensusCheckpoint) -> dict[str, str]:
        return {
            asked.name: text
            for asked in Form(gate).fields
            if (text := host.state.drafts.get(("form", gate.id, asked.name))) is not None
        }
