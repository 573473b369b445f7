"""Steering from the keyboard: what each key asks, what it orders, what it says when it cannot."""

from __future__ import annotations

from dataclasses import replace

import pytest

from perstack.domain.ids import ExpertKey, JobId, RunId
from perstack.errors import ConflictError
from perstack.projection.views import PauseView, WorkspaceView
from perstack_tui.ports.steering import BudgetRaise
from tests.fakes.gateway import busy_view, definitions, failed_view, job, run, running_view
from tests.fakes.stage import Stage

pytestmark = pytest.mark.anyio

WRITER, LINTER = RunId("run-writer"), RunId("run-linter")


def choose(stage: Stage, name: str) -> None:
    stage.app.state.select(RunId(f"run-{name}"))


async def test_a_delegated_run_is_stopped_alone_and_the_sheet_says_who_goes_on() -> None:
    stage = Stage(busy_view())
    async with stage.play():
        choose(stage, "researcher")
        await stage.press("x")
        asked = stage.text_of("#confirm")
        assert "researcher, summarizer" in asked
        assert "writer" not in asked
        assert "coordinator is told that it failed" in asked
        await stage.press("enter", "s")
        assert stage.gateway.calls == [("stop", JobId("job-8f3a"), False)]
        choose(stage, "linter")
        await stage.press("x")
        assert "linter has ended in this job" in stage.text_of("#notice")


async def test_marked_runs_are_stopped_at_once_and_their_marks_go() -> None:
    stage = Stage(busy_view())
    async with stage.play():
        stage.app.state.marks = {RunId("run-writer"), RunId("run-summarizer"), LINTER}
        await stage.press("x")
        assert "Stop 2 runs of 1 job?" in stage.text_of("#confirm")
        await stage.press("n")
        assert len(stage.gateway.calls) == 2
        assert stage.app.state.marks == {LINTER}


async def test_pausing_and_resuming_are_one_key() -> None:
    view = running_view()
    stage = Stage(view)
    async with stage.play():
        await stage.press("z")
        assert stage.gateway.calls == [("pause", WRITER, None)]
        assert "writer waits before its next step" in stage.text_of("#notice")
        held = replace(view.jobs[0].runs[0], state="stop", paused=PauseView("ana", "look", 1))
        await stage.show(WorkspaceView((job("job-8f3a", (held,)),), caught_up=True))
        await stage.press("z")
        assert stage.gateway.calls[1:] == [("resume", WRITER)]


async def test_what_is_said_to_a_run_at_work_goes_to_it_and_stays_there_when_refused() -> None:
    stage = Stage(running_view())
    async with stage.play():
        await stage.press("i")
        assert "say to writer" in stage.text_of("#prompt-label")
        stage.gateway.refuse = ConflictError("nothing drives this run any more", hint="i goes on")
        await stage.write("be brief")
        await stage.press("enter")
        assert "nothing drives this run any more" in stage.text_of("#notice")
        await stage.press("i", "enter")
        assert stage.gateway.calls == [("say", WRITER, "be brief")]
        assert "reads it before its next step" in stage.text_of("#notice")
        await stage.press("i")
        assert "be brief" not in stage.screen_text()


async def test_what_is_said_to_a_run_that_ended_goes_to_its_coordinator() -> None:
    stage = Stage(busy_view())
    async with stage.play():
        choose(stage, "linter")
        await stage.press("i")
        assert "say to coordinator" in stage.text_of("#prompt-label")


async def test_a_failed_delegate_is_done_again_and_what_works_is_not() -> None:
    stage = Stage(busy_view())
    async with stage.play():
        choose(stage, "writer")
        await stage.press("full_stop")
        assert "writer has not failed" in stage.text_of("#notice")
        choose(stage, "linter")
        await stage.press("full_stop")
        assert stage.gateway.calls == [("retry", LINTER)]


async def test_a_failed_job_is_done_again_from_its_last_checkpoint() -> None:
    stage = Stage(failed_view())
    async with stage.play(here=()):
        await stage.press("full_stop")
        assert stage.gateway.calls == [("follow_up", JobId("job-8f3a"), "")]


async def test_a_model_is_picked_from_those_known_or_typed() -> None:
    stage = Stage(running_view())
    async with stage.play():
        await stage.press("M")
        await stage.until(lambda: "swift" in stage.text_of("#ask"))
        assert "claude-sonnet-5-5" in stage.text_of("#ask")
        await stage.press("enter")
        assert "name a model" in stage.text_of("#ask-keys")
        await stage.press("down", "enter")
        assert stage.gateway.calls == [("change_model", WRITER, "swift")]
        assert "writer generates with swift from its next step on" in stage.text_of("#notice")
        await stage.press("M")
        await stage.write("own-model")
        await stage.press("enter")
        assert stage.gateway.calls[1:] == [("change_model", WRITER, "own-model")]


async def test_the_new_definition_is_taken_only_when_confirmed() -> None:
    stage, known = Stage(running_view()), definitions()
    saved = tuple(replace(one, version="1.3.0") for one in known.experts)
    async with stage.play(defined=replace(known, experts=saved)):
        await stage.press("T")
        assert "1.0.0 → 1.3.0" in stage.text_of("#confirm")
        await stage.press("enter", "escape")
        assert not stage.gateway.calls
        await stage.press("T", "t")
        assert stage.gateway.calls == [("take_definition", WRITER, ExpertKey("writer"))]
        assert "writer uses 1.3.0" in stage.text_of("#notice")


async def test_a_budget_is_raised_by_what_is_typed_in_words() -> None:
    stage = Stage(running_view())
    async with stage.play():
        await stage.press("b")
        assert "steps   4 of 100" in stage.text_of("#ask")
        await stage.write("soon")
        await stage.press("enter")
        assert "not understood: soon" in stage.text_of("#ask-keys")
        await stage.press(*["backspace"] * 4)
        await stage.write("50 $2.50")
        await stage.press("enter")
        more = BudgetRaise(max_steps=50, max_cost=2.5)
        assert stage.gateway.calls == [("raise_budget", JobId("job-8f3a"), more)]
        assert "50 steps, $2.50 more" in stage.text_of("#notice")


async def test_a_job_at_its_limit_is_given_more_and_goes_on() -> None:
    only = run("backfill", "limit", doing="stopped: max steps", kinds="ss", ended=1_000)
    view = WorkspaceView((job("job-8f3a", (only,), alive=False),), caught_up=True)
    stage = Stage(view)
    async with stage.play(here=()):
        await stage.press("b")
        assert "with more it goes on" in stage.text_of("#ask")
        await stage.write("20")
        await stage.press("enter")
        assert stage.gateway.calls == [
            ("raise_budget", JobId("job-8f3a"), BudgetRaise(max_steps=20))
        ]
        assert "the job goes on" in stage.text_of("#notice")


@pytest.mark.parametrize("key", ["x", "z", "full_stop", "M", "T", "b"])
async def test_a_cockpit_that_observes_steers_nothing_and_says_why(key: str) -> None:
    stage = Stage(running_view(), observing=True)
    async with stage.play():
        await stage.press(key)
        assert "only observes" in stage.text_of("#notice")
        assert not stage.gateway.calls
