"""The cockpit driven by keys over the fake gateway."""

from __future__ import annotations

from dataclasses import replace

import pytest
from textual import events

from perstack.domain.consensus import Decision
from perstack.domain.ids import ConsensusId, ExpertKey, JobId, RunId, SubtaskId, ToolCallId
from perstack.errors import ConfigError, ConflictError, StorageError
from perstack.ports.history import FeedBatch
from perstack.projection.views import InboxView, WorkspaceView
from perstack_tui.driver import SturdyParser
from perstack_tui.ports.gateway import LocalJobsUpdate, Trouble
from perstack_tui.screens.answer import AnswerSheet
from perstack_tui.screens.confirm import ConfirmSheet
from perstack_tui.screens.main import MainScreen
from perstack_tui.screens.new_run import NewRunSheet
from perstack_tui.screens.palette import PaletteSheet
from perstack_tui.screens.review import ReviewSheet
from tests.fakes.gateway import (
    busy_view,
    decided,
    definitions,
    failed_view,
    gate,
    job,
    question,
    run,
    running_view,
    subtask,
    tool_subtask,
)
from tests.fakes.stage import Stage

pytestmark = pytest.mark.anyio

GATE = ConsensusId("gate-1")


def decisions(stage: Stage) -> list[Decision]:
    return [
        call[2]
        for call in stage.gateway.calls
        if call[0] == "decide" and isinstance(call[2], Decision)
    ]


async def test_a_in_the_review_approves_everything_kept() -> None:
    stage = Stage(busy_view())
    async with stage.play():
        await stage.press("4", "enter")
        await stage.confirm()
        await stage.press("a")
        assert stage.gateway.calls == [
            ("decide", GATE, Decision(approved=True, reviewed_by="ana@pi"))
        ]
        assert isinstance(stage.app.screen, MainScreen)


@pytest.mark.parametrize("size", [(120, 40), (80, 24)])
async def test_gated_tool_is_named_wherever_it_is_shown(size: tuple[int, int]) -> None:
    args = '{"path": "x.txt", "mode": "0644"}'
    asked = gate(subtasks=(tool_subtask("s1", "deleteFile", args),))
    done = decided("gate-0", "approved", args)
    (task,) = done.proposed_subtasks
    named = task.model_copy(update={"tool_name": "moveFile", "agent_type": "@perstack/base"})
    done = done.model_copy(update={"proposed_subtasks": (named,)})
    inbox = InboxView(pending=(asked,), decided=(done,))
    stage = Stage(replace(busy_view(), inbox=inbox))
    async with stage.play(size=size):
        await stage.press("4")
        shown = stage.text_of("#inbox")
        assert "deleteFile x.txt" in shown
        assert "skill @perstack/base" in shown
        assert "moveFile x.txt" in shown
        await stage.press("a")
        review = stage.text_of("#review")
        assert "Review · deleteFile x.txt" in review
        detail = stage.text_of("#detail")
        assert "deleteFile (skill @perstack/base)" in detail
        assert f"deleteFile {args}" in detail
        await stage.confirm()
        await stage.press("a")
        assert "approved: deleteFile x.txt" in stage.text_of("#notice")


async def test_name_of_a_tool_is_read_to_its_end_before_it_can_be_approved() -> None:
    long = "tool-" + "x" * 4_000 + "-and-delete-all"
    asked = gate(subtasks=(tool_subtask("s1", long, "{}"),))
    stage = Stage(replace(busy_view(), inbox=InboxView(pending=(asked,))))
    async with stage.play():
        await stage.press("a", "a")
        assert decisions(stage) == []
        await stage.press(*["J"] * 10)
        assert "-and-delete-all" in stage.text_of("#detail")


async def test_dropped_subtask_makes_the_approval_partial() -> None:
    stage = Stage(busy_view())
    async with stage.play():
        await stage.press("4", "enter", "j", "space")
        await stage.confirm()
        assert "1 kept, s2 dropped" in stage.text_of("#consequence")
        await stage.press("a")
        assert decisions(stage)[0].rejected_subtask_ids == (SubtaskId("s2"),)
        assert decisions(stage)[0].approved


async def test_nothing_kept_cannot_be_approved() -> None:
    stage = Stage(busy_view())
    async with stage.play():
        await stage.press("4", "enter", "space", "j", "space", "a")
        assert not decisions(stage)
        assert "nothing is kept" in stage.text_of("#consequence")


async def test_rejection_takes_the_note_along_and_enter_decides_nothing() -> None:
    stage = Stage(busy_view())
    async with stage.play():
        await stage.press("4", "enter", "e")
        await stage.write("only docs")
        await stage.press("enter", "enter")
        assert not decisions(stage)
        await stage.press("r")
        assert decisions(stage) == [
            Decision(approved=False, feedback="only docs", reviewed_by="ana@pi")
        ]


async def test_keys_typed_before_the_sheet_opens_decide_nothing() -> None:
    stage = Stage(busy_view())
    async with stage.play():
        await stage.press("4", "enter", "a", "a", "r", "a", after=0.05)
        assert isinstance(stage.app.screen, ReviewSheet)
        assert not decisions(stage)
        await stage.press("r", after=0.5)
        assert len(decisions(stage)) == 1


async def test_pasting_decides_nothing() -> None:
    stage = Stage(busy_view())
    async with stage.play():
        await stage.press("4", "enter")
        stage.seconds.now += 5
        stage.app.post_message(events.Paste("a"))
        stage.app.screen.post_message(events.Paste("a\nr\n"))
        await stage.settle()
        assert not decisions(stage)


async def test_pasting_outside_a_field_does_nothing() -> None:
    stage = Stage(running_view())
    async with stage.play():
        for pane in ("1", "2", "3", "4", "5"):
            await stage.press(pane)
            stage.app.post_message(events.Paste("q"))
            stage.app.screen.post_message(events.Paste("nq\nx\n"))
            await stage.settle()
        assert isinstance(stage.app.screen, MainScreen)
        assert not stage.gateway.closed


async def test_key_right_behind_a_paste_decides_nothing() -> None:
    stage = Stage(busy_view())
    async with stage.play():
        await stage.press("4", "enter", "j")
        stage.app.post_message(events.Paste("text"))
        await stage.settle()
        await stage.press("a", "r", after=0.1)
        assert not decisions(stage)
        await stage.press("r")
        assert len(decisions(stage)) == 1


async def test_keys_that_come_at_once_act_on_what_the_ones_before_selected() -> None:
    stage = Stage(busy_view())
    async with stage.play():
        await stage.press("4", "G")
        await stage.rush("g", "enter")
        assert isinstance(stage.app.screen, ReviewSheet)
        assert "deploy docs to prod" in stage.text_of("#review")
        await stage.press("escape", "4", "enter")
        await stage.rush("j", "space")
        await stage.confirm()
        await stage.press("a")
        assert decisions(stage)[0].rejected_subtask_ids == (SubtaskId("s2"),)


async def test_expert_picked_a_moment_before_enter_is_the_one_that_starts() -> None:
    stage = Stage(running_view())
    async with stage.play():
        await stage.press("n")
        await stage.write("go")
        await stage.rush("down", "enter")
        assert stage.gateway.calls == [("start", "researcher", "go")]


async def test_escape_and_a_quick_key_type_nothing_into_a_field() -> None:
    stage = Stage(running_view())
    async with stage.play():
        await stage.press("n")
        for event in SturdyParser().take("\x1b3\x1b-\x1b="):
            stage.app.post_message(event)
        await stage.write("go")
        await stage.press("enter")
        assert stage.gateway.calls == [("start", "coordinator", "go")]


def left_behind() -> WorkspaceView:
    """A run at a gate, whose process is gone."""
    stopped = run("devops", "stop", doing="waiting for a decision", job="job-5c1e")
    here = job("job-5c1e", (stopped,), alive=False)
    return WorkspaceView(
        (here,),
        InboxView((gate(run_name="devops", job_name="job-5c1e"),)),
        caught_up=True,
    )


async def test_job_that_nothing_runs_goes_on_with_nothing_said() -> None:
    stage = Stage(left_behind())
    async with stage.play(here=()):
        await stage.press("x")
        assert "nothing runs it; i goes on with it" in stage.text_of("#notice")
        await stage.press("i")
        assert "text optional" in stage.text_of("#prompt-label")
        await stage.press("enter")
        assert stage.gateway.calls == [("follow_up", JobId("job-5c1e"), "")]


async def test_deciding_for_a_job_that_nothing_runs_says_so() -> None:
    stage = Stage(left_behind())
    async with stage.play(here=()):
        await stage.press("4", "enter")
        await stage.confirm()
        await stage.press("a")
        assert len(decisions(stage)) == 1
        assert "approved; nothing runs this job: i goes on with it" in stage.text_of("#notice")


async def test_completed_job_needs_something_said_to_go_on() -> None:
    view = WorkspaceView((job("j", (run("a", "done", job="j"),), alive=False),), caught_up=True)
    stage = Stage(view)
    async with stage.play(here=()):
        await stage.press("i", "enter")
        assert not stage.gateway.calls
        await stage.write("and now?")
        await stage.press("enter")
        assert stage.gateway.calls == [("follow_up", JobId("j"), "and now?")]


async def test_run_that_a_follow_up_begins_is_followed_in_the_stream() -> None:
    stage = Stage(failed_view())
    async with stage.play(here=()):
        await stage.press("i", "enter")
        old = failed_view().jobs[0]
        again = replace(run("writer", "run"), run_id=RunId("run-again"), expert_key=ExpertKey("w2"))
        now = replace(
            old, alive=True, runs=(*old.runs, again), coordinator_run_id=RunId("run-again")
        )
        await stage.show(WorkspaceView((now,), caught_up=True))
        assert "Stream · w2" in stage.text_of("#stream")


async def test_gate_that_arrives_takes_neither_screen_nor_focus() -> None:
    stage = Stage(running_view())
    async with stage.play():
        await stage.press("5")
        focused = stage.app.focused
        await stage.show(busy_view())
        assert isinstance(stage.app.screen, MainScreen)
        assert stage.app.focused is focused
        assert "2 need you" in stage.text_of("#header")


async def test_losing_a_race_names_the_winner_and_keeps_the_note() -> None:
    stage = Stage(busy_view())
    async with stage.play():
        await stage.press("4", "enter", "e")
        await stage.write("late")
        stage.gateway.refuse = ConflictError("already approved by bob@box")
        await stage.press("escape", "r")
        assert isinstance(stage.app.screen, ReviewSheet)
        assert "already approved by bob@box" in stage.text_of("#consequence")
        assert stage.app.state.drafts[("feedback", GATE)] == "late"


async def test_gate_decided_elsewhere_can_no_longer_be_decided() -> None:
    stage = Stage(busy_view())
    async with stage.play():
        await stage.press("4", "enter")
        await stage.show(
            replace(
                busy_view(), inbox=InboxView(decided=(decided("gate-1", "approved", "x", "bob"),))
            )
        )
        await stage.press("a", "r")
        assert not decisions(stage)
        assert "already approved by bob" in stage.text_of("#consequence")


async def test_long_command_must_be_read_to_its_end_before_approving() -> None:
    long = subtask("s1", "curl " + "x" * 5000 + " END")
    view = replace(busy_view(), inbox=InboxView(pending=(gate(subtasks=(long,)),)))
    stage = Stage(view)
    async with stage.play(size=(80, 24)):
        await stage.press("4", "enter", "a")
        assert not decisions(stage)
        assert "read s1 to its end" in stage.text_of("#consequence")
        for _ in range(20):
            await stage.press("J")
        assert "END" in stage.text_of("#detail")
        await stage.confirm()
        await stage.press("a")
        assert len(decisions(stage)) == 1


async def test_questions_of_a_run_are_answered_one_after_the_other() -> None:
    first = question("q1", "Which audience?", of=2)
    second = question("q2", "How long?", choices=(), position=2, of=2)
    stage = Stage(replace(busy_view(), inbox=InboxView(questions=(first,))))
    async with stage.play():
        await stage.press("4", "enter")
        assert isinstance(stage.app.screen, AnswerSheet)
        await stage.press("2", "enter")
        assert stage.gateway.calls == [("answer", ToolCallId("q1"), "operators")]
        assert "waiting for what comes next" in stage.text_of("#answer-keys")
        await stage.show(replace(busy_view(), inbox=InboxView(questions=(second,))))
        assert "How long?" in stage.text_of("#question")
        await stage.write("a page")
        await stage.press("enter")
        assert stage.gateway.calls[1] == ("answer", ToolCallId("q2"), "a page")
        assert isinstance(stage.app.screen, MainScreen)


async def test_unsent_answer_survives_closing_the_sheet() -> None:
    stage = Stage(busy_view())
    async with stage.play():
        await stage.press("4", "j", "i", "tab")
        await stage.write("both")
        await stage.press("escape", "i")
        await stage.press("enter")
        assert stage.gateway.calls == [("answer", ToolCallId("q1"), "both")]


async def test_new_run_starts_the_picked_expert_and_is_selected_when_it_appears() -> None:
    stage = Stage(running_view())
    async with stage.play():
        await stage.press("n", "down")
        await stage.write("find it")
        await stage.press("enter")
        assert stage.gateway.calls == [("start", "researcher", "find it")]
        started = job("job-started", (run("researcher", job="job-started"),))
        await stage.show(replace(running_view(), jobs=(started, *running_view().jobs)))
        assert stage.app.state.run_id == RunId("run-researcher")


async def test_new_run_without_a_task_does_not_start() -> None:
    stage = Stage(running_view())
    async with stage.play():
        await stage.press("n", "enter")
        assert isinstance(stage.app.screen, NewRunSheet)
        assert not stage.gateway.calls


async def test_child_run_chosen_in_the_tree_is_selected_in_every_pane() -> None:
    stage = Stage(busy_view())
    async with stage.play():
        await stage.press("j", "j", "j", "j")
        assert stage.app.state.run_id == RunId("run-writer")
        panes = stage.app.main.panes
        assert panes["agents"].selected == "run-writer"
        assert panes["timeline"].selected == "run-writer"
        assert "Stream · writer" in stage.text_of("#stream")
        assert "three themes" in stage.text_of("#stream")
        assert "coordinator@1.0.0 › writer@1.0.0" in stage.text_of("#crumbs")


async def test_question_opens_on_i_from_the_run_that_asks() -> None:
    stage = Stage(busy_view())
    async with stage.play():
        await stage.press("3", "g", "j", "i")
        assert isinstance(stage.app.screen, AnswerSheet)


async def test_follow_up_goes_to_an_ended_job() -> None:
    stage = Stage(failed_view())
    async with stage.play(here=()):
        await stage.press("i")
        await stage.write("try again")
        await stage.press("enter")
        assert stage.gateway.calls == [("follow_up", JobId("job-8f3a"), "try again")]


async def test_stop_names_what_dies_and_stops_only_when_told() -> None:
    stage = Stage(busy_view())
    async with stage.play():
        await stage.press("x")
        assert "summarizer" in stage.text_of("#confirm")
        await stage.press("enter", "escape")
        assert not stage.gateway.calls
        await stage.press("x", "s")
        assert stage.gateway.calls == [("stop", JobId("job-8f3a"), False)]


async def test_job_of_another_process_is_stopped_from_here() -> None:
    stage = Stage(running_view())
    async with stage.play(here=()):
        await stage.press("x", "n")
        assert stage.gateway.calls == [("stop", JobId("job-8f3a"), True)]


async def test_quitting_with_work_in_flight_asks_and_enter_stays() -> None:
    stage = Stage(running_view())
    async with stage.play():
        await stage.press("q", "enter")
        assert isinstance(stage.app.screen, ConfirmSheet)
        assert "after ten seconds is stopped" in stage.text_of("#confirm")
        await stage.press("escape")
        assert isinstance(stage.app.screen, MainScreen)
        assert not stage.gateway.closed


async def test_quitting_can_detach_what_runs() -> None:
    stage = Stage(running_view())
    async with stage.play():
        await stage.press("q")
        await stage.press("d")
        await stage.until(lambda: stage.gateway.closed)
    assert stage.gateway.calls == [("detach", (JobId("job-8f3a"),))]
    assert stage.app.return_code == 0


async def test_quitting_with_nothing_running_leaves_at_once() -> None:
    stage = Stage(failed_view())
    async with stage.play(here=()):
        await stage.press("q")
        await stage.until(lambda: stage.gateway.closed)
    assert stage.app.return_code == 0


async def test_interrupt_warns_first_and_a_late_second_one_warns_again() -> None:
    stage = Stage(running_view())
    async with stage.play():
        await stage.press("ctrl+c")
        await stage.press("ctrl+c", after=2.0)
        assert "again" in stage.text_of("#notice")
        await stage.press("ctrl+c")
        await stage.until(lambda: stage.gateway.closed)
    assert stage.app.return_code == 130


async def test_resizing_keeps_what_is_selected() -> None:
    stage = Stage(busy_view())
    async with stage.play():
        await stage.press("3", "j", "j")
        chosen = stage.app.state.run_id
        for size in ((80, 24), (20, 5), (1, 1), (200, 60), (120, 40)):
            await stage.pilot.resize_terminal(*size)
            await stage.settle()
        assert stage.app.state.run_id == chosen
        assert stage.app.main.panes["agents"].selected == chosen
        assert stage.app.main.active == "agents"


async def test_rows_do_not_move_under_the_cursor() -> None:
    view = busy_view()
    stage = Stage(view)
    async with stage.play():
        await stage.press("3", "G")
        before = stage.app.main.panes["agents"].keys
        urgent = replace(view.jobs[0].runs[2], state="stall")
        changed = replace(
            view.jobs[0], runs=(*view.jobs[0].runs[:2], urgent, *view.jobs[0].runs[3:])
        )
        await stage.show(replace(view, jobs=(changed, *view.jobs[1:])))
        assert stage.app.main.panes["agents"].keys == before


async def test_filter_narrows_the_agents_and_escape_clears_it() -> None:
    stage = Stage(busy_view())
    async with stage.play():
        await stage.press("3", "slash")
        await stage.write("limit")
        await stage.press("enter")
        assert stage.app.main.panes["agents"].keys == ["run-backfill"]
        await stage.press("escape")
        assert len(stage.app.main.panes["agents"].keys) == 9


async def test_filter_that_hides_the_selected_run_selects_the_first_left() -> None:
    stage = Stage(busy_view())
    async with stage.play():
        stage.app.state.select(RunId("run-writer"))
        await stage.press("3", "slash")
        await stage.write("auditor")
        assert stage.app.state.run_id == RunId("run-auditor")
        assert "auditor" in stage.text_of("#stream")
        await stage.press("escape")
        assert stage.app.state.run_id == RunId("run-writer")


async def test_filter_that_a_run_leaves_says_that_the_selected_one_is_hidden() -> None:
    first = (job("job-1", (run("one", job="job-1"),)), job("job-2", (run("two", job="job-2"),)))
    stage = Stage(WorkspaceView(first, caught_up=True))
    async with stage.play(here=()):
        stage.app.state.select(RunId("run-one"))
        await stage.press("3", "slash")
        await stage.write("!done")
        assert "hidden" not in stage.text_of("#agents")
        after = (job("job-1", (run("one", "done", job="job-1", ended=1),)), first[1])
        await stage.show(WorkspaceView(after, caught_up=True))
        assert "selected one hidden" in stage.text_of("#agents")


@pytest.mark.parametrize("pane", ["3", "1"])
async def test_heading_of_a_table_stays_while_its_rows_scroll(pane: str) -> None:
    runs = tuple(run(f"agent-{at}", job="job-1") for at in range(40))
    stage = Stage(WorkspaceView((job("job-1", runs),), caught_up=True))
    table = "#agents" if pane == "3" else "#tree"
    async with stage.play(here=()):
        await stage.press(pane, "G")
        last = stage.text_of(table).splitlines()
        assert "STATE" in last[1]
        assert "agent-" in last[2]
        assert stage.app.state.run_id == stage.app.main.panes[stage.app.main.active].keys[-1]
        await stage.press(*["k"] * 39)
        first = stage.text_of(table).splitlines()
        assert "STATE" in first[1]
        assert "run" in first[2]
        assert stage.app.state.run_id == stage.app.main.panes[stage.app.main.active].keys[0]
        for row in range(2, 10):
            await stage.pilot.click(table, offset=(5, row))
            await stage.settle()
            name = str(stage.app.state.run_id).removeprefix("run-")
            assert name in stage.text_of(table).splitlines()[row]


async def test_what_is_decided_while_the_cursor_is_in_the_inbox_comes_first() -> None:
    old = decided("gate-0", "approved", "the old one")
    stage = Stage(replace(busy_view(), inbox=InboxView(decided=(old,))))
    async with stage.play():
        await stage.press("4")
        new = decided("gate-2", "rejected", "the new one")
        await stage.show(replace(busy_view(), inbox=InboxView(decided=(new, old))))
        shown = stage.text_of("#inbox")
        assert shown.index("the new one") < shown.index("the old one")


async def test_observing_cockpit_offers_no_key_that_does_something() -> None:
    stage = Stage(busy_view(), observing=True)
    async with stage.play(here=()):
        footer = stage.text_of("#footer")
        assert not [word for word in ("new", "reply", "approve", "reject") if word in footer]
        assert "filter" in footer


async def test_enter_without_a_task_says_what_is_missing() -> None:
    stage = Stage(busy_view())
    async with stage.play():
        await stage.press("n", "enter")
        assert "say what it should do" in stage.text_of("#new-run-keys")
        await stage.write("go")
        assert "say what it should do" not in stage.text_of("#new-run-keys")
        assert stage.gateway.calls == []


async def test_observing_cockpit_starts_and_decides_nothing() -> None:
    stage = Stage(busy_view(), observing=True)
    async with stage.play():
        await stage.press("n", "i", "4", "a", "r")
        assert isinstance(stage.app.screen, MainScreen)
        assert "only observes" in stage.text_of("#notice")


async def test_broken_definitions_are_told_until_they_load_again() -> None:
    stage = Stage(running_view())
    async with stage.play():
        stage.gateway.say(replace(definitions(), error="line 41: instruction: missing"))
        await stage.until(lambda: stage.app.state.definitions.error is not None)
        await stage.settle()
        assert "perstack.toml:41: instruction: missing" in stage.text_of("#crumbs")
        stage.gateway.say(definitions(changes=("writer changed",)))
        await stage.until(lambda: stage.app.state.definitions.error is None)
        await stage.settle()
        assert "writer changed" in stage.text_of("#crumbs")


async def test_broken_definitions_refuse_a_start_with_file_and_line_first() -> None:
    stage = Stage(running_view())
    async with stage.play(size=(80, 24)):
        await stage.press("n")
        await stage.write("go")
        path = definitions().path
        stage.gateway.refuse = ConfigError(f"{path}: Validation failed:\n  - model (line 26): no")
        await stage.press("enter")
        assert "✗ perstack.toml:26: model: no" in stage.text_of("#notice")


async def test_trouble_is_told_above_the_footer() -> None:
    stage = Stage(running_view())
    async with stage.play():
        stage.gateway.say(Trouble("the database is locked", "another process is writing"))
        await stage.until(lambda: stage.app.state.notice is not None)
        await stage.settle()
        assert "the database is locked" in stage.text_of("#notice")


async def test_stream_releases_when_scrolled_and_tells_what_came() -> None:
    view = running_view()
    many = tuple(replace(view.jobs[0].runs[0].entries[3], text=f"line {n}") for n in range(60))
    filled = replace(view.jobs[0].runs[0], entries=many)
    stage = Stage(replace(view, jobs=(replace(view.jobs[0], runs=(filled,)),)))
    async with stage.play():
        await stage.press("5", "k", "k")
        seen = stage.text_of("#stream").splitlines()[1]
        more = replace(filled, entries=(*many, replace(many[0], text="fresh")))
        await stage.show(replace(view, jobs=(replace(view.jobs[0], runs=(more,)),)))
        assert stage.text_of("#stream").splitlines()[1] == seen
        assert "1 new" in stage.text_of("#stream")
        await stage.press("G")
        assert "fresh" in stage.text_of("#stream")


async def test_flood_of_updates_makes_few_paints() -> None:
    stage = Stage(running_view())
    async with stage.play():
        painted = stage.app.pacer.paints
        for _ in range(2000):
            stage.gateway.say(FeedBatch())
        stage.gateway.say(LocalJobsUpdate(frozenset()))
        await stage.until(lambda: not stage.app.state.local_jobs)
        assert stage.app.pacer.paints - painted <= 20


async def test_nothing_is_scheduled_while_nothing_is_live() -> None:
    stage = Stage(failed_view())
    async with stage.play(here=()):
        assert not stage.app.state.ticking
        assert not stage.app.clock_running


async def test_widgets_are_few_whatever_the_history() -> None:
    many = tuple(job(f"job-{n}", (run(f"x{n}", job=f"job-{n}"),)) for n in range(300))
    stage = Stage(WorkspaceView(many, caught_up=True))
    async with stage.play():
        assert len(stage.app.screen.query("*")) <= 40


async def test_every_action_is_offered_by_the_palette_and_runs() -> None:
    stage = Stage(busy_view())
    async with stage.play():
        await stage.press("ctrl+p")
        await stage.write("inbox")
        assert isinstance(stage.app.screen, PaletteSheet)
        await stage.press("enter")
        assert isinstance(stage.app.screen, MainScreen)
        assert stage.app.main.active == "inbox"


async def test_expert_and_query_given_at_the_start_run_at_once() -> None:
    stage = Stage(running_view(), expert="writer", query="go")
    async with stage.play():
        assert stage.gateway.calls == [("start", "writer", "go")]


async def test_expert_given_alone_opens_the_prompt_with_it() -> None:
    stage = Stage(running_view(), expert="writer")
    async with stage.play():
        assert isinstance(stage.app.screen, NewRunSheet)
        await stage.write("go")
        await stage.press("enter")
        assert stage.gateway.calls == [("start", "writer", "go")]


async def test_job_to_go_on_with_goes_on_at_once_and_asks_for_nothing_new() -> None:
    stage = Stage(running_view(), expert="writer", goes_on=True)
    async with stage.play():
        assert stage.gateway.calls == [("go_on",)]
        assert not isinstance(stage.app.screen, NewRunSheet)


async def test_job_given_at_the_start_is_selected() -> None:
    stage = Stage(busy_view(), job_id="job-77aa")
    async with stage.play():
        assert stage.app.state.run_id == RunId("run-backfill")


async def test_gateway_that_cannot_be_opened_is_told_with_what_to_do() -> None:
    stage = Stage(busy_view(), failing=StorageError("schema 9 is too new", hint="update perstack"))
    async with stage.app.run_test() as pilot:
        for _ in range(100):
            if stage.app.state.notice is not None:
                break
            await pilot.pause(0.02)
        notice = stage.app.state.notice
        assert notice is not None
        assert notice.text == "schema 9 is too new - update perstack"
        await pilot.press("q")


async def test_no_color_gives_the_mono_theme(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    stage = Stage(busy_view())
    async with stage.play():
        assert stage.app.ink.palette.name == "mono"


async def test_interrupt_over_a_sheet_is_told_and_keeps_the_draft() -> None:
    stage = Stage(busy_view())
    async with stage.play():
        await stage.press("n")
        await stage.write("half a thought")
        await stage.press("ctrl+c")
        assert isinstance(stage.app.screen, NewRunSheet)
        assert "half a thought" in stage.app.state.drafts.values()
