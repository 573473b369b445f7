"""A tool server's question in the cockpit: found in the inbox, answered field by field."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from pydantic import JsonValue

from perstack.domain.consensus import ConsensusCheckpoint, Decision
from perstack.domain.ids import ConsensusId, JobId, RunId, ToolCallId
from perstack.errors import UsageError
from perstack.projection.views import EntryView, InboxView, WorkspaceView
from perstack_tui.screens.form import FormSheet
from perstack_tui.screens.main import MainScreen
from tests.fakes.consensus import make_question
from tests.fakes.gateway import NOW, Said, busy_view, job, run
from tests.fakes.stage import Stage

pytestmark = pytest.mark.anyio

ASKED = ConsensusId("input-1")
ALL_KINDS: dict[str, JsonValue] = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "title": "Your name"},
        "region": {"type": "string", "oneOf": [{"const": "eu", "title": "Europe"}]},
        "sure": {"type": "boolean"},
        "machines": {"type": "integer", "default": 2},
    },
    "required": ["name", "sure"],
}
ONE_TEXT: dict[str, JsonValue] = {"type": "object", "properties": {"why": {"type": "string"}}}


def asked(
    schema: dict[str, JsonValue] | None = None, message: str = "Which region?"
) -> ConsensusCheckpoint:
    """A question of the writer's `cloud` skill."""
    made = make_question(
        ASKED, schema=schema, message=message, created_at=NOW, expires_at=NOW + 252_000
    )
    return made.model_copy(
        update={
            "job_id": JobId("job-8f3a"),
            "run_id": RunId("run-writer"),
            "expert_key": "writer",
        }
    )


def view(gate: ConsensusCheckpoint) -> WorkspaceView:
    return replace(busy_view(), inbox=InboxView(pending=(gate,)))


def sent(stage: Stage) -> list[Decision]:
    return [
        call[2]
        for call in stage.gateway.calls
        if call[:2] == ("decide", ASKED) and isinstance(call[2], Decision)
    ]


def answer(stage: Stage) -> JsonValue:
    [decision] = sent(stage)
    assert decision.approved
    assert decision.reviewed_by == "ana@pi"
    found: JsonValue = json.loads(decision.feedback or "")
    return found


async def test_the_inbox_shows_a_servers_question_as_one_and_counts_down() -> None:
    stage = Stage(view(asked(message="Which region?\x1b[2J")))
    async with stage.play():
        shown = stage.text_of("#inbox")
        assert "ASK  Which region?‹U+001B›" in shown
        assert "4:12 left" in shown
        assert "writer · skill cloud" in shown


async def test_fields_are_answered_one_after_another_and_sent_together() -> None:
    stage = Stage(view(asked(ALL_KINDS)))
    async with stage.play():
        await stage.press("4", "enter")
        assert isinstance(stage.app.screen, FormSheet)
        assert "field 1 of 4" in stage.text_of("#form")
        await stage.write("ana b")
        await stage.press("enter")
        assert "1  Europe" in stage.text_of("#form")
        await stage.press("1", "enter")
        await stage.press("2", "enter")
        assert sent(stage) == []
        await stage.press("enter")
        assert answer(stage) == {"name": "ana b", "region": "eu", "sure": False, "machines": 2}
        assert isinstance(stage.app.screen, MainScreen)


async def test_several_choices_are_taken_and_left_again_by_number() -> None:
    fish: dict[str, JsonValue] = {
        "type": "array",
        "items": {
            "anyOf": [
                {"const": "fish-1", "title": "Tuna"},
                {"const": "fish-2", "title": "Salmon, wild"},
                {"const": "fish-3", "title": "Trout"},
            ]
        },
        "minItems": 1,
        "maxItems": 2,
        "default": ["fish-1"],
    }
    stage = Stage(view(asked({"type": "object", "properties": {"fish": fish}})))
    async with stage.play():
        await stage.press("4", "enter")
        assert "1 to 2 of them" in stage.text_of("#form")
        assert "✓ Tuna" in stage.text_of("#form")
        await stage.press("2", "3")
        assert "✓ Salmon, wild" in stage.text_of("#form")
        await stage.press("enter")
        assert "fish: 1 to 2 of them" in stage.text_of("#form-keys")
        assert sent(stage) == []
        await stage.press("1")
        assert "✓ Tuna" not in stage.text_of("#form")
        await stage.press("enter")
        assert answer(stage) == {"fish": ["fish-2", "fish-3"]}


async def test_what_does_not_fit_is_said_at_once_and_nothing_is_sent() -> None:
    stage = Stage(view(asked(ALL_KINDS)))
    async with stage.play():
        await stage.press("4", "enter", "enter")
        assert "Your name: an answer is wanted" in stage.text_of("#form-keys")
        await stage.write("ana")
        await stage.press("enter")
        await stage.press("enter", "enter")
        await stage.write("maybe")
        await stage.press("enter")
        assert "sure: yes or no" in stage.text_of("#form-keys")
        assert sent(stage) == []


async def test_going_back_keeps_what_was_typed() -> None:
    stage = Stage(view(asked(ALL_KINDS)))
    async with stage.play():
        await stage.press("4", "enter")
        await stage.write("ana")
        await stage.press("enter", "up")
        assert "field 1 of 4" in stage.text_of("#form")
        await stage.press("escape")
        await stage.press("4", "enter")
        await stage.press("enter", "enter", "enter")
        await stage.press("1", "enter", "enter")
        assert answer(stage) == {"name": "ana", "sure": True, "machines": 2}


async def test_a_single_text_is_asked_for_in_one_field() -> None:
    stage = Stage(view(asked(ONE_TEXT, "Why?")))
    async with stage.play():
        await stage.press("4", "i")
        await stage.write("because")
        await stage.press("enter")
        assert answer(stage) == {"why": "because"}


async def test_a_question_without_fields_is_agreed_to_with_enter_that_was_meant() -> None:
    stage = Stage(view(asked({"type": "object", "properties": {}}, "Go on?")))
    async with stage.play():
        await stage.press("4", "enter")
        await stage.press("enter", "enter", after=0.03)
        await stage.burst("enter", "enter")
        assert sent(stage) == []
        await stage.press("enter")
        assert answer(stage) == {}


async def test_declining_takes_the_key_twice() -> None:
    stage = Stage(view(asked(ONE_TEXT)))
    async with stage.play():
        await stage.press("4", "enter", "ctrl+r")
        assert "again declines" in stage.text_of("#form-keys")
        await stage.press("ctrl+r", "ctrl+r", after=0.03)
        assert sent(stage) == []
        await stage.press("x", "ctrl+r")
        assert sent(stage) == []
        await stage.press("ctrl+r")
        assert sent(stage) == [Decision(approved=False, reviewed_by="ana@pi")]


async def test_an_answer_that_the_runtime_refuses_keeps_the_sheet_open() -> None:
    stage = Stage(view(asked(ONE_TEXT)))
    async with stage.play():
        await stage.press("4", "enter")
        await stage.write("x")
        stage.gateway.refuse = UsageError("the answer does not fit: why: 'x' is too short")
        await stage.press("enter")
        assert "too short" in stage.text_of("#form-keys")
        await stage.write("yz")
        await stage.press("enter")
        assert answer(stage) == {"why": "xyz"}


async def test_a_question_answered_elsewhere_cannot_be_answered_any_more() -> None:
    gate = asked(ONE_TEXT)
    stage = Stage(view(gate))
    async with stage.play():
        await stage.press("4", "enter")
        closed = gate.model_copy(
            update={
                "status": "approved",
                "decision": Decision(approved=True, feedback="{}", reviewed_by="bo"),
            }
        )
        await stage.show(replace(busy_view(), inbox=InboxView(decided=(closed,))))
        assert "no longer open: approved" in stage.text_of("#form-keys")
        await stage.write("x")
        await stage.press("enter", "ctrl+r", "ctrl+r")
        assert sent(stage) == []


async def test_an_observing_cockpit_answers_nothing() -> None:
    stage = Stage(view(asked(ONE_TEXT)), observing=True)
    async with stage.play():
        await stage.press("4", "enter")
        await stage.write("x")
        await stage.press("enter", "ctrl+r", "ctrl+r")
        assert sent(stage) == []


async def test_news_while_the_sheet_is_being_made_or_taken_away_paints_nothing_of_it() -> None:
    stage = Stage(view(asked()))
    async with stage.play():
        sheet = FormSheet(stage.app, asked())
        stage.app.open_sheet(sheet)
        stage.app.refresh_screens()
        await stage.settle()
        assert stage.app.screen is sheet
        sheet.dismiss(None)
        stage.app.refresh_screens()
        await stage.settle()
        assert stage.app.screen is not sheet


async def test_the_keys_that_approve_never_reach_a_question() -> None:
    stage = Stage(view(asked(ONE_TEXT)))
    async with stage.play():
        await stage.press("a", "r")
        assert isinstance(stage.app.screen, MainScreen)
        assert sent(stage) == []


async def test_what_a_running_call_prints_is_shown_below_it_and_bounded() -> None:
    calls = tuple(
        EntryView("tool", f"exec make {name}", "", ToolCallId(name), "running", NOW)
        for name in ("a", "b")
    )
    shown = WorkspaceView(jobs=(job("job-8f3a", (run("writer", entries=calls),)),), caught_up=True)
    stage = Stage(shown)
    lines = "".join(f"line {number}\x1b[2J\n" for number in range(30))
    stage.fold.said[RunId("run-writer")] = Said(output={ToolCallId("a"): lines})
    async with stage.play():
        text = stage.text_of("#stream").splitlines()
        at = {
            name: next(i for i, line in enumerate(text) if name in line)
            for name in ("exec make a", "line 24‹U+001B›", "line 29‹U+001B›", "exec make b")
        }
        assert list(at) == sorted(at, key=lambda name: at[name])
        assert at["exec make b"] - at["exec make a"] == 7
