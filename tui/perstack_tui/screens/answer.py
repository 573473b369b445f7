"""Answering an interactive call: the question in full, choices by number, free text."""

from __future__ import annotations

from functools import partial
from typing import Final

from textual import events
from textual.app import ComposeResult
from textual.containers import Vertical
from textual.widgets import Input

from perstack.errors import PerstackError
from perstack.projection.views import QuestionView
from perstack_tui.deliberate import Deliberate
from perstack_tui.ports.gateway import Gateway
from perstack_tui.ports.host import Host
from perstack_tui.screens.sheet import Sheet
from perstack_tui.state.answer import Answering, all_of, answer_lines, command
from perstack_tui.state.inbox import question_key
from perstack_tui.state.lines import Line, Span, line
from perstack_tui.text import flat
from perstack_tui.widgets.bar import Bar
from perstack_tui.widgets.field import LongField
from perstack_tui.widgets.paint import Frame
from perstack_tui.widgets.pane import Pane

_PAGE: Final = 5


class AnswerSheet(Sheet[None]):
    """A number fills the field with that choice; only enter in the field sends."""

    def __init__(self, host: Host, question: QuestionView) -> None:
        super().__init__(host)
        self._answering = Answering(all_of(question, self._asked_now()))
        ids = [one.tool_call_id for one in self._answering.questions]
        self._answering.at = ids.index(question.tool_call_id)
        self._waiting = False
        self._error = ""
        self._deliberate = Deliberate(host, self._refused)
        self._pane = Pane(id="question")
        self._field = LongField(id="answer")

    def compose(self) -> ComposeResult:
        """Question above, field below."""
        with Vertical(id="answer-sheet"):
            yield self._pane
            yield self._field
            yield Bar(id="answer-keys")

    def on_mount(self) -> None:
        """Show the first question."""
        self._turn_to()

    @property
    def _question(self) -> QuestionView:
        return self._answering.question

    def _asked_now(self) -> tuple[QuestionView, ...]:
        return self.host.state.index.view.inbox.questions

    def _open_now(self) -> tuple[QuestionView, ...]:
        """Return the questions of this run that wait now."""
        asked = self._answering.question
        mine = [one for one in self._asked_now() if one.run_id == asked.run_id]
        return all_of(mine[0], mine) if mine else ()

    # --- painting ---------------------------------------------------------------------------

    def refresh_view(self) -> None:
        """Go on to the run's next question, or close when there is none left."""
        if not self.is_mounted:
            return
        open_now = self._open_now()
        sent = {one.tool_call_id for one in self._answering.questions}
        left = [one for one in open_now if one.tool_call_id not in sent]
        if self._waiting and not sent & {one.tool_call_id for one in open_now}:
            if left:
                self._answering = Answering(tuple(left))
                self._turn_to()
                return
            if self._is_last:
                self.dismiss(None)
                return
        elif not self._waiting and self._question not in open_now:
            ids = {one.tool_call_id for one in open_now}
            gone = self._question.tool_call_id not in ids
            self._error = "this question is no longer open: it was answered elsewhere"
            self._error = self._error if gone else ""
        self._paint()

    @property
    def _is_last(self) -> bool:
        """Whether the run asks nothing behind what stands here."""
        last = self._answering.questions[-1]
        return last.position >= last.of

    def _turn_to(self) -> None:
        """Show the question at hand, with what was typed for it."""
        self._waiting, self._error = False, ""
        self._deliberate.restart()
        question = self._question
        draft = self.host.state.drafts.get(question_key(question), "")
        self._field.put(draft)
        self._field.hint("several, with commas" if question.several else "your answer")
        if question.choices and not draft:
            self._pane.focus()
        else:
            self._field.focus()
        self._pane.scroll_lines(-self._pane.top)
        self._paint()

    def _paint(self) -> None:
        asked, state = self._question, self.host.state
        which = f"question {asked.position} of {asked.of}" if asked.of > 1 else ""
        run = state.index.run(asked.run_id)
        width, height = self._pane.inner_width, self._pane.inner_height
        lines = answer_lines(self._answering, run, state.drafts, width, height)
        selected = self._answering.cursor if asked.choices else None
        self._pane.show(
            lines, selected=selected, frame=Frame(f"{flat(asked.expert_key)} asks", which)
        )
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
        asked, keys = self._question, list[tuple[str, str]]()
        if asked.choices and self._field.has_focus:
            keys.append((" tab", "choices "))
        elif asked.choices:
            keys.append((f" 1-{min(9, len(asked.choices))}", "choose "))
            keys.append((" space", "take ") if asked.several else (" tab", "other text "))
        more = len(self._answering.questions) - len(self._answering.taken) > 1
        keys.append((" ⏎", "next " if more else "send "))
        keys += [(" ^g", "$EDITOR "), (" ^y", "command "), (" esc", "close")]
        spans: list[Span] = []
        for key, text in keys:
            spans.append((key, "accent"))
            spans.append((" " + text, "muted"))
        return Line(tuple(spans))

    # --- keys -------------------------------------------------------------------------------

    def on_input_changed(self, event: Input.Changed) -> None:
        """Keep the draft."""
        self.host.state.drafts[question_key(self._question)] = self._field.text
        if self.is_mounted and (self._question.several or self._error):
            self._error = ""
            self._paint()

    def on_descendant_focus(self, event: events.DescendantFocus) -> None:
        """Say which keys count now: a digit is a choice in the list, text in the field."""
        if self.is_mounted:
            self._paint()

    def on_key(self, event: events.Key) -> None:
        """Choose by number while the field does not have the keyboard."""
        if event.key == "escape":
            event.stop()
            self.dismiss(None)
        elif event.key in _EVERYWHERE:
            event.stop()
            event.prevent_default()
            self._key_anywhere(event.key)
        elif self._pane.has_focus:
            event.stop()
            event.prevent_default()
            self._key_on_choices(event)
        elif event.key in ("tab", "shift+tab", "up") and self._has_list:
            event.stop()
            event.prevent_default()
            self._pane.focus()

    @property
    def _has_list(self) -> bool:
        return bool(self._question.choices) or len(self._answering.questions) > 1

    def _key_anywhere(self, key: str) -> None:
        match key:
            case "ctrl+g":
                self.run_worker(self._edit(), group="editor", exclusive=True)
            case "ctrl+y":
                asked = self._question
                job = self.host.state.index.jobs.get(asked.job_id)
                expert = job.expert_key if job is not None else asked.expert_key
                text = command(asked, expert, self._field.text)
                self.host.copy(text, "the command")
            case "ctrl+o":
                self._answering.unfolded = not self._answering.unfolded
                self._paint()
            case _:
                self._pane.scroll_lines(_PAGE if key == "pagedown" else -_PAGE)

    def _key_on_choices(self, event: events.Key) -> None:
        character, answering = event.character or "", self._answering
        choices = self._question.choices[:9]
        if character.isdecimal() and 0 < int(character) <= len(choices):
            self._choose(int(character) - 1)
        elif event.key == "space" and self._question.several:
            self._choose(answering.cursor)
        elif event.key in ("up", "down") and choices:
            answering.move(1 if event.key == "down" else -1)
            self._paint()
        elif event.key in ("left", "right"):
            if len(answering.questions) > 1 and not self._waiting:
                answering.turn(1 if event.key == "right" else -1)
                self._turn_to()
        elif event.key in ("tab", "down", "enter"):
            self._field.focus()
        elif event.is_printable and character:
            self._field.focus()
            self._field.cursor_position = len(self._field.value)
            self._field.insert_text_at_cursor(character)

    def on_pane_chosen(self, event: Pane.Chosen) -> None:
        """Take the choice that was clicked; sending is another key."""
        if isinstance(event.key, int) and not self._waiting:
            self._choose(event.key)

    def _choose(self, number: int) -> None:
        """Take a choice; of several, more may follow, so the list keeps the keyboard."""
        text = self._answering.chosen(self._field.value, number)
        if self._question.several:
            self._answering.cursor = number
            self._field.put(text)
            self._paint()
        else:
            self._fill(text)

    def _fill(self, text: str) -> None:
        self._field.put(text)
        self._field.focus()

    async def _edit(self) -> None:
        text = await self.host.edit_text(self._field.text)
        if text is not None and self.is_mounted:
            self._fill(text)

    # --- sending ----------------------------------------------------------------------------

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Take the answer, if it was meant; send when none is missing any more."""
        event.stop()
        if self._field.text and not self._waiting:
            self._deliberate.send(partial(self._take, self._question))

    def _refused(self, why: str) -> None:
        self._error = why
        if self.is_mounted:
            self._paint()

    def _take(self, question: QuestionView) -> None:
        text = self._field.text
        if not text or self._waiting or self._is_left or question != self._question:
            return
        if not self._answering.take(text):
            self._turn_to()
            return
        given = self._answering.given()
        self._waiting, self._error = True, ""

        async def answer(gateway: Gateway) -> None:
            await gateway.answer(given)
            for question, _ in given:
                self.host.state.drafts.pop(question_key(question), None)
            self._sent(given[-1][0])

        self.host.command(answer, self._failed)
        self._paint()

    def _sent(self, last: QuestionView) -> None:
        if last.position >= last.of:
            self.host.tell("answered; the job goes on", "good")
            self.dismiss(None)

    def _failed(self, error: PerstackError) -> None:
        self._waiting = False
        self._error = flat(error.message)
        if self.is_mounted:
            self._paint()


_EVERYWHERE: Final = ("ctrl+g", "ctrl+y", "ctrl+o", "pagedown", "pageup")
