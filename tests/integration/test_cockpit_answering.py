"""Answering what Experts ask: several questions, several choices, the editor, drafts."""

from __future__ import annotations

from dataclasses import replace

import pytest

from perstack.domain.ids import RunId, ToolCallId
from perstack.domain.messages import ToolCallPart
from perstack.errors import ConflictError
from perstack.projection.questions import asked_of
from perstack.projection.views import InboxView, QuestionView
from perstack_tui.screens.answer import AnswerSheet
from perstack_tui.screens.main import MainScreen
from perstack_tui.state.answer import Answering, picked
from perstack_tui.widgets.field import LongField
from tests.fakes.gateway import WRITER_ENTRIES, busy_view, job, question, run
from tests.fakes.stage import Stage

pytestmark = pytest.mark.anyio


def asking(*questions: QuestionView) -> Stage:
    return Stage(replace(busy_view(), inbox=InboxView(questions=questions)))


def three() -> QuestionView:
    second = question("q2", "Which tone?", choices=("dry", "warm"), position=2, of=3)
    third = question("q3", "How long?", choices=(), position=3, of=3)
    return question("q1", of=3).with_later((second, third))


async def test_several_questions_are_tabs_and_sent_together_once_all_are_answered() -> None:
    stage = asking(three())
    async with stage.play():
        await stage.press("4", "enter")
        assert "[1 ○]" in stage.text_of("#question")
        await stage.press("right", "right")
        assert "How long?" in stage.text_of("#question")
        await stage.write("a page")
        await stage.press("enter")
        assert stage.gateway.calls == []
        assert "[1 ○]" in stage.text_of("#question")
        await stage.press("2", "enter", "1", "enter")
        assert stage.gateway.calls == [
            ("answer", ToolCallId("q1"), "operators"),
            ("answer", ToolCallId("q2"), "dry"),
            ("answer", ToolCallId("q3"), "a page"),
        ]
        assert isinstance(stage.app.screen, MainScreen)
        assert not [key for key, text in stage.app.state.drafts.items() if text]


async def test_several_choices_are_taken_with_space_or_number_and_left_again() -> None:
    stage = asking(replace(question(), several=True))
    async with stage.play():
        await stage.press("4", "enter", "3", "1", "up", "space", "down", "space", "space")
        rows = [row for row in stage.text_of("#question").splitlines() if "] " in row]
        assert ["[x]" in row for row in rows] == [False, False, True]
        await stage.press("1", "tab", "enter")
        assert stage.gateway.calls == [("answer", ToolCallId("q1"), "developers, everyone")]


def test_choices_that_hold_commas_are_told_apart() -> None:
    asked = question(choices=("red, green", "red", "blue"))
    asked = replace(asked, several=True)
    answering = Answering((asked,))
    text = answering.chosen(answering.chosen("", 2), 0)
    assert text == "red, green, blue"
    assert picked(asked, text) == ["red, green", "blue"]
    assert answering.chosen(text, 0) == "blue"
    assert picked(asked, "red, green, something else") == []


@pytest.mark.parametrize(
    ("args", "several"),
    [
        ({"question": "Which?", "choices": ["a", "b"], "multiple": True}, True),
        ({"question": "Which?", "options": [{"label": "a"}], "multiSelect": True}, True),
        ({"question": "Which?", "choices": ["a"], "multiple": "yes"}, False),
        ({"question": "Which?", "multiple": True}, False),
    ],
)
def test_several_may_be_taken_where_the_call_says_so(
    args: dict[str, object], several: bool
) -> None:
    call = ToolCallPart.model_validate({"toolCallId": "q1", "toolName": "ask", "args": args})
    assert asked_of(call, 1_000)[2] is several


async def test_what_came_before_stands_above_and_the_arguments_unfold() -> None:
    asked = question(run_name="writer", job_name="job-1")
    only = replace(run("writer", "asks", job="job-1"), entries=WRITER_ENTRIES)
    view = replace(busy_view(), jobs=(job("job-1", (only,)),), inbox=InboxView(questions=(asked,)))
    stage = Stage(view)
    async with stage.play(here=()):
        await stage.press("4", "enter")
        shown = stage.text_of("#question")
        assert "Consensus gates for risky subtasks" in shown
        assert '"question"' not in shown
        await stage.press("ctrl+o")
        assert '"question"' in stage.text_of("#question")


async def test_answer_is_written_in_the_editor_keeps_its_lines_and_is_copied_as_a_command() -> None:
    stage = asking(question(choices=()))
    copied: list[str] = []
    edited: list[str] = []

    async def edit(text: str, *, suffix: str = ".md") -> str:
        edited.append(text)
        return f"{text} and\n    more\n\nlines"

    async with stage.play():
        stage.app.edit_text = edit
        stage.app.copy = lambda text, what: copied.append(text)
        await stage.press("4", "enter")
        await stage.write("this")
        await stage.press("ctrl+g")
        field = stage.app.screen.query_one("#answer", LongField)
        assert "4 lines" in field.placeholder
        await stage.press("x")  # A letter among lines that are not shown would be lost.
        await stage.press("escape", "enter", "ctrl+y", "enter")
        written = "this and\n    more\n\nlines"
        assert copied == [f"perstack run auditor '{written}' --continue-job job-5c1e -i"]
        assert stage.gateway.calls == [("answer", ToolCallId("q1"), written)]
        assert edited == ["this"]


async def test_lines_are_dropped_as_a_whole_and_a_line_is_typed_in_their_place() -> None:
    stage = asking(question(choices=()))

    async def edit(text: str, *, suffix: str = ".md") -> str:
        return "one\ntwo"

    async with stage.play():
        stage.app.edit_text = edit
        await stage.press("4", "enter", "ctrl+g", "backspace")
        await stage.write("short")
        await stage.press("enter")
        assert [call[2] for call in stage.gateway.calls] == ["short"]


async def test_enter_on_its_way_elsewhere_sends_no_answer() -> None:
    """A key that repeats, text that was typed on, a read that brings several keys at once."""
    stage = asking(question(choices=()))
    async with stage.play():
        await stage.press("4", "enter")
        await stage.write("never meant")
        await stage.press("escape")
        await stage.press("enter")
        await stage.press("enter", "enter", after=0.03)
        assert stage.gateway.calls == []
        assert "press it once more" in stage.text_of("#answer-keys")
        await stage.burst("o", "k", "enter")
        assert stage.gateway.calls == []
        await stage.press("enter")
        assert [call[2] for call in stage.gateway.calls] == ["never meantok"]


async def test_refused_answer_keeps_the_sheet_and_the_text() -> None:
    stage = asking(question(choices=()))
    async with stage.play():
        await stage.press("4", "enter")
        await stage.write("late")
        stage.gateway.refuse = ConflictError("call q1 does not wait for an answer")
        await stage.press("enter")
        assert isinstance(stage.app.screen, AnswerSheet)
        assert "does not wait" in stage.text_of("#answer-keys")
        assert "late" in stage.app.state.drafts.values()


async def test_going_on_with_an_answer_opens_what_the_job_asks() -> None:
    asked = question(run_name="auditor", job_name="job-started")
    asked = replace(asked, run_id=RunId("run-auditor"))
    stage = asking(question("other", run_name="writer", job_name="job-8f3a"), asked)
    stage.app.opening = replace(stage.app.opening, goes_on=True, answers=True)
    async with stage.play():
        assert isinstance(stage.app.screen, AnswerSheet)
        await stage.press("1", "enter")
        assert stage.gateway.calls == [("go_on",), ("answer", ToolCallId("q1"), "developers")]


async def test_question_that_comes_while_somebody_works_here_opens_nothing_and_is_told() -> None:
    asked = question(job_name="job-started")
    stage = asking(question("other", run_name="writer", job_name="job-8f3a"))
    stage.app.opening = replace(stage.app.opening, goes_on=True, answers=True)
    async with stage.play():
        await stage.press("1", "j")
        await stage.show(replace(busy_view(), inbox=InboxView(questions=(asked,))))
        assert isinstance(stage.app.screen, MainScreen)
        assert "auditor asks: i answers" in stage.text_of("#notice")


async def test_given_answer_opens_only_what_the_job_asks_next() -> None:
    old = question(job_name="job-started")
    stage = asking(old)
    opening = replace(stage.app.opening, goes_on=True, answers=True, query="developers")
    stage.app.opening = opening
    async with stage.play():
        assert isinstance(stage.app.screen, MainScreen)
        new = replace(old, tool_call_id=ToolCallId("q2"), asked_at=stage.clock.now_ms())
        await stage.show(replace(busy_view(), inbox=InboxView(questions=(new,))))
        await stage.until(lambda: isinstance(stage.app.screen, AnswerSheet))
        await stage.press("escape")
        await stage.show(replace(busy_view(), inbox=InboxView(questions=(new,))))
        assert isinstance(stage.app.screen, MainScreen)
