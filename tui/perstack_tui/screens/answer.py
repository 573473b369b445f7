"""Answering an interactive call: the question in full, choices by number, free text."""

from __future__ import annotations

from textual import events
from textual.app import ComposeResult
from textual.containers import Vertical
from textual.widgets import Input

from perstack.errors import PerstackError
from perstack.projection.views import QuestionView
from perstack_tui.ports.gateway import Gateway
from perstack_tui.ports.host import Host
from perstack_tui.screens.sheet import Sheet
from perstack_tui.state.inbox import question_key
from perstack_tui.state.lines import BLANK, Line, Span, line, note
from perstack_tui.text import flat, wrap
from perstack_tui.widgets.bar import Bar
from perstack_tui.widgets.field import Field
from perstack_tui.widgets.paint import Frame
from perstack_tui.widgets.pane import Pane


class AnswerSheet(Sheet[None]):
    """A number fills the field with that choice; only enter in the field sends."""

    def __init__(self, host: Host, question: QuestionView) -> None:
        super().__init__(host)
        self._question = question
        self._waiting = False
        self._error = ""
        self._pane = Pane(id="question")
        self._field = Field(id="answer")

    def compose(self) -> ComposeResult:
        """Question above, field below."""
        with Vertical(id="answer-sheet"):
            yield self._pane
            yield self._field
            yield Bar(id="answer-keys")

    def on_mount(self) -> None:
        """Show the first question."""
        self._turn_to(self._question)

    def refresh_view(self) -> None:
        """Go on to the run's next question, or close when there is none left."""
        open_now = {asked.tool_call_id: asked for asked in self._mine()}
        if self._waiting and self._question.tool_call_id not in open_now:
            if open_now:
                self._turn_to(min(open_now.values(), key=lambda asked: asked.position))
                return
            if self._question.position >= self._question.of:
                self.dismiss(None)
                return
        elif not self._waiting and self._question.tool_call_id not in open_now:
            self._error = "this question is no longer open: it was answered elsewhere"
        self._paint()

    def _mine(self) -> list[QuestionView]:
        inbox = self.host.state.index.view.inbox
        return [asked for asked in inbox.questions if asked.run_id == self._question.run_id]

    def _turn_to(self, question: QuestionView) -> None:
        self._question, self._waiting, self._error = question, False, ""
        draft = self.host.state.drafts.get(question_key(question), "")
        self._field.value = draft
        self._field.cursor_position = len(draft)
        self._field.placeholder = "your answer"
        if question.choices and not draft:
            self._pane.focus()
        else:
            self._field.focus()
        self._paint()

    def _paint(self) -> None:
        asked, width = self._question, self._pane.inner_width
        which = f"question {asked.position} of {asked.of}" if asked.of > 1 else ""
        title = f"{flat(asked.expert_key)} asks"
        self._pane.show(_question_lines(asked, width), frame=Frame(title, which))
        self.query_one("#answer-keys", Bar).show(self._keys())

    def _keys(self) -> Line:
        if self._error:
            return line((f" ✗ {self._error}", "fail"))
        if self._waiting:
            return line(
                (" ● sent; waiting for what comes next", "run"),
                ("   esc", "accent"),
                (" close", "muted"),
            )
        numbers: tuple[tuple[str, str], ...] = ()
        if self._question.choices:
            numbers = (
                (f" 1-{min(9, len(self._question.choices))}", "choose  "),
                (" tab", "other text  "),
            )
        keys = [*numbers, (" ⏎", "send  "), (" esc", "close, the text is kept")]
        spans: list[Span] = []
        for key, text in keys:
            spans.append((key, "accent"))
            spans.append((" " + text, "muted"))
        return Line(tuple(spans))

    def on_input_changed(self, event: Input.Changed) -> None:
        """Keep the draft."""
        self.host.state.drafts[question_key(self._question)] = event.value

    def on_key(self, event: events.Key) -> None:
        """Choose by number while the field does not have the keyboard."""
        if event.key == "escape":
            event.stop()
            self.dismiss(None)
        elif self._pane.has_focus:
            event.stop()
            event.prevent_default()
            self._key_on_choices(event)
        elif event.key in ("tab", "shift+tab", "up") and self._question.choices:
            event.stop()
            event.prevent_default()
            self._pane.focus()

    def _key_on_choices(self, event: events.Key) -> None:
        character = event.character or ""
        choices = self._question.choices[:9]
        if character.isdecimal() and 0 < int(character) <= len(choices):
            self._fill(choices[int(character) - 1])
        elif event.key in ("tab", "down", "enter"):
            self._field.focus()
        elif event.key in ("pagedown", "pageup"):
            self._pane.scroll_lines(5 if event.key == "pagedown" else -5)
        elif event.is_printable and character:
            self._fill(self._field.value + character)

    def _fill(self, text: str) -> None:
        self._field.value = text
        self._field.cursor_position = len(self._field.value)
        self._field.focus()

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Send the answer."""
        event.stop()
        text, asked = event.value.strip(), self._question
        if not text or self._waiting:
            return
        self._waiting, self._error = True, ""

        async def answer(gateway: Gateway) -> None:
            await gateway.answer(asked, text)
            self.host.state.drafts.pop(question_key(asked), None)
            self._sent(asked)

        self.host.command(answer, self._failed)
        self._paint()

    def _sent(self, asked: QuestionView) -> None:
        if asked is not self._question:
            return
        others = [other for other in self._mine() if other.tool_call_id != asked.tool_call_id]
        if others:
            self._turn_to(min(others, key=lambda other: other.position))
        elif asked.position >= asked.of:
            self.host.tell("answered; the job goes on", "good")
            self.dismiss(None)

    def _failed(self, error: PerstackError) -> None:
        self._waiting = False
        self._error = flat(error.message)
        if self.is_mounted:
            self._paint()


def _question_lines(asked: QuestionView, width: int) -> list[Line]:
    lines = [line((text, "strong")) for text in wrap(asked.text, width)]
    if asked.choices:
        lines.append(BLANK)
    for number, choice in enumerate(asked.choices, 1):
        head, *rest = wrap(choice, width - 4)
        key = str(number) if number <= 9 else " "
        lines.append(line((f" {key}  ", "accent"), (head, "text")))
        lines += [line(("    " + text, "text")) for text in rest]
    lines += [BLANK, note(f"asked with {flat(asked.tool_name)}")]
    return lines + [note("  " + text) for text in wrap(asked.args, width - 2)]
