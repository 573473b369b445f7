"""Travelling in time: flow (c), over the fake past."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from perstack.domain.ids import CheckpointId, JobId, RunId
from perstack.domain.usage import Cost
from perstack.errors import ConflictError, StorageError
from perstack.projection.views import RunView, WorkspaceView
from perstack_tui.ports.travel import FileView, ForkWish, MessageView, Moment, RestorePlan
from perstack_tui.screens.latest import Kept
from perstack_tui.screens.main import MainScreen
from perstack_tui.screens.travel import TravelScreen
from perstack_tui.screens.travel_plan import PlanSheet
from perstack_tui.state.index import index_of
from perstack_tui.state.travel_lines import diff_detail, hunk_from
from perstack_tui.state.travel_strip import strip_lines
from tests.fakes.gateway import busy_view, job, run
from tests.fakes.stage import Stage
from tests.fakes.travel import moment_view

pytestmark = pytest.mark.anyio

WRITER = RunId("run-writer")


def moment(name: str = "writer-6", run_id: str = "run-writer", job_id: str = "job-8f3a") -> Moment:
    return Moment(JobId(job_id), RunId(run_id), CheckpointId(name))


def asked(stage: Stage, what: str) -> list[str]:
    return [
        part.checkpoint_id
        for call in stage.gateway.travel.asked
        if call[0] == what
        for part in call[1:2]
        if isinstance(part, Moment)
    ]


def consequence(stage: Stage) -> str:
    return " ".join(stage.text_of("#plan-consequence").split())


async def travel(stage: Stage, name: str = "writer-6") -> TravelScreen:
    stage.app.state.select(WRITER)
    stage.app.travel_to(moment(name))
    await stage.settle()
    await stage.until(lambda: bool(stage.app.screen.query("#travel-keys")))
    await stage.settle()
    screen = stage.app.screen
    assert isinstance(screen, TravelScreen)
    return screen


@pytest.mark.parametrize("size", [(120, 40), (80, 24)])
async def test_enter_in_the_timeline_shows_the_past_and_escape_leads_back(
    size: tuple[int, int],
) -> None:
    stage = Stage(busy_view())
    async with stage.play(size=size):
        stage.app.state.select(WRITER)
        await stage.press("2", "h", "h", "enter")
        assert isinstance(stage.app.screen, TravelScreen)
        assert "time travel" in stage.text_of("#travel-banner")
        assert "writer@1.0.0" in stage.text_of("#travel-banner")
        assert "4 of 6" in stage.text_of("#travel-strip")
        assert "‹4›" in stage.text_of("#travel-strip")
        assert "Step 4: I grouped" in stage.text_of("#travel-list")
        assert "64 lines written" in stage.text_of("#travel-detail")
        await stage.press("escape")
        assert isinstance(stage.app.screen, MainScreen)
        assert not [call for call in stage.gateway.calls if call[0] != "go_on"]


async def test_steps_and_lanes_are_walked_and_every_lane_keeps_its_time() -> None:
    stage = Stage(busy_view())
    async with stage.play():
        screen = await travel(stage)
        await stage.press("h", "g")
        assert screen.at.moment == moment("writer-1")
        await stage.press("h")
        assert screen.at.moment == moment("writer-1")
        await stage.press("G", "L")
        assert screen.at.moment.run_id == RunId("run-devops")
        await stage.press("H", "H")
        assert screen.at.moment.run_id == RunId("run-summarizer")
        assert "lane 4 of 7" in stage.text_of("#travel-strip")


async def test_of_steps_in_a_row_only_the_last_is_loaded() -> None:
    stage = Stage(busy_view())
    async with stage.play():
        screen = await travel(stage)
        stage.gateway.travel.asked.clear()
        stage.gateway.travel.slow = True
        before = stage.gateway.travel.given
        await stage.rush("h", "h", "h", "h")
        assert "loading writer step 2" in stage.text_of("#travel-notice")
        stage.gateway.travel.let_go()
        await stage.until(lambda: not screen.at.busy)
        await stage.settle()
        assert stage.gateway.travel.given == before + 1
        assert asked(stage, "look")[-1] == "writer-2"
        assert screen.at.view is not None
        assert screen.at.view.moment == moment("writer-2")


async def test_what_was_loaded_is_not_loaded_again_and_no_more_is_kept_than_a_few() -> None:
    stage = Stage(busy_view())
    async with stage.play():
        await travel(stage)
        await stage.press("h", "l")
        assert asked(stage, "look") == ["writer-6", "writer-5"]
    kept: Kept[int] = Kept(2)
    for number in range(5):
        kept.put(number, number)
    assert len(kept) == 2
    assert kept.get(4) == 4
    assert kept.get(0) is None


async def test_tabs_show_files_with_their_text_and_the_cost() -> None:
    stage = Stage(busy_view())
    async with stage.play():
        await travel(stage)
        assert not asked(stage, "file_text")
        await stage.press("tab")
        assert "CHANGELOG.md" in stage.text_of("#travel-list")
        assert "not stored: larger than 10 MB" in stage.text_of("#travel-list")
        await stage.until(lambda: "entry 3 of the release" in stage.text_of("#travel-detail"))
        await stage.press("]", "]", "]")
        assert "Only listed, not stored" in stage.text_of("#travel-detail")
        await stage.press("tab")
        assert "tokens so far" in stage.text_of("#travel-detail")
        assert "7,200" in stage.text_of("#travel-detail")
        await stage.press("k")
        assert "5 of 6" in stage.text_of("#travel-strip")
        assert "6,000" in stage.text_of("#travel-detail")


async def test_d_shows_what_the_step_changed_file_by_file_and_hunk_by_hunk() -> None:
    stage = Stage(busy_view())
    async with stage.play(size=(100, 24)):
        await travel(stage, "writer-3")
        await stage.press("d")
        assert "writer step 2" in stage.text_of("#travel-tabs")
        assert "~ docs/index.md" in stage.text_of("#travel-list")  # the step wrote files
        await stage.press("tab", "tab")
        assert "+2 messages" in stage.text_of("#travel-list")
        assert "Step 3" in stage.text_of("#travel-list")
        assert "Step 2" not in stage.text_of("#travel-list")
        await stage.press("tab")
        assert "~ docs/index.md" in stage.text_of("#travel-list")
        assert "! notes.txt  changed on" in stage.text_of("#travel-list")
        await stage.until(lambda: "+- entry 9 of the release" in stage.text_of("#travel-detail"))
        await stage.press("]")
        await stage.until(lambda: "+Read the changelog." in stage.text_of("#travel-detail"))
        await stage.press("escape")
        assert "→ here" not in stage.text_of("#travel-tabs")
        assert isinstance(stage.app.screen, TravelScreen)


def test_hunks_are_gone_through_both_ways() -> None:
    lines = diff_detail(("@@ -1 +1 @@", "-a", "+b", "@@ -9 +9 @@", "-c"), 40)
    assert hunk_from(lines, 0, 1) == 3
    assert hunk_from(lines, 3, 1) is None
    assert hunk_from(lines, 3, -1) == 0


def test_cost_so_far_says_what_is_not_known() -> None:
    first, *others = run("writer", kinds="sss").points
    unknown = replace(first, cost=Cost(partial=True))
    shown = replace(run("writer"), points=(unknown, *others))
    index = index_of(WorkspaceView((job("job-8f3a", (shown,)),)))
    costs = strip_lines(index, moment("writer-2"), None, 60)[2]
    assert "".join(text for text, _ in costs.left).split()[3:] == ["?", "≥.00", "≥.01"]


async def test_a_is_compared_across_lanes_and_jobs_and_outlives_the_screen() -> None:
    stage = Stage(busy_view())
    async with stage.play():
        screen = await travel(stage)
        await stage.press("c")
        assert "no checkpoint is marked as A yet" in stage.text_of("#travel-notice")
        await stage.press("m", "escape")
        assert stage.app.state.mark_a == moment()
        stage.app.travel_to(moment("auditor-3", "run-auditor", "job-5c1e"))
        await stage.until(lambda: bool(stage.app.screen.query("#travel-keys")))
        await stage.press("c")
        assert "A at 6 of writer, job job-8f3a" in stage.text_of("#travel-strip")
        assert "A: writer step 6" in stage.text_of("#travel-tabs")
        assert ("compare", moment(), moment("auditor-3", "run-auditor", "job-5c1e")) in (
            stage.gateway.travel.asked
        )
        assert "− 14 messages only the earlier one has" in stage.text_of("#travel-list")
        assert screen is not stage.app.screen


async def test_d_m_and_c_work_from_the_timeline_and_say_why_when_they_cannot() -> None:
    stage = Stage(busy_view())
    async with stage.play():
        stage.app.state.select(WRITER)
        await stage.press("2", "c")
        assert "no checkpoint is marked as A yet" in stage.text_of("#notice")
        await stage.press("m")
        assert "A is writer step 6" in stage.text_of("#notice")
        await stage.press("h", "h", "c")
        assert isinstance(stage.app.screen, TravelScreen)
        assert ("compare", moment(), moment("writer-4")) in stage.gateway.travel.asked
        await stage.press("escape", "escape", "d")
        assert ("compare", moment("writer-3"), moment("writer-4")) in stage.gateway.travel.asked
        await stage.press("escape", "escape")
        stage.app.state.point = CheckpointId("writer-1")
        await stage.press("d")
        assert "nothing is before it" in stage.text_of("#notice")


async def test_now_moves_on_while_one_looks_at_the_past() -> None:
    view = busy_view()
    stage = Stage(view)
    async with stage.play():
        await travel(stage)
        assert "6 of 6" in stage.text_of("#travel-strip")
        await stage.show(with_more_steps(view))
        assert "6 of 8" in stage.text_of("#travel-strip")
        assert "‹6›" in stage.text_of("#travel-strip")
        assert "● now" in stage.text_of("#travel-strip")


def with_more_steps(view: WorkspaceView) -> WorkspaceView:
    first, *others = view.jobs

    def grown(one: RunView) -> RunView:
        if one.run_id != WRITER:
            return one
        return run("writer", parent="coordinator", started=500_000, kinds="ssssssss")

    return replace(view, jobs=(replace(first, runs=tuple(map(grown, first.runs))), *others))


async def test_a_moment_that_cannot_be_read_says_so_and_can_be_tried_again() -> None:
    stage = Stage(busy_view())
    async with stage.play():
        stage.gateway.travel.refuse = StorageError("the record is damaged", hint="see the log")
        await travel(stage)
        assert "✗ the record is damaged - see the log" in stage.text_of("#travel-notice")
        await stage.press(".")
        assert "Step 6" in stage.text_of("#travel-list")


async def test_step_without_a_snapshot_says_that_there_is_none() -> None:
    stage = Stage(busy_view())
    stage.gateway.travel.bare = True
    async with stage.play():
        await travel(stage)
        await stage.press("tab")
        assert "No snapshot of the files was taken here" in stage.text_of("#travel-list")
        await stage.press("W")
        assert "No snapshot of the files was taken at this step" in stage.text_of("#travel-plan")
        await stage.press("W")
        assert not stage.gateway.calls


# --- resume, fork, restore ------------------------------------------------------------------------


async def test_restore_lists_files_first_and_overwrites_only_what_is_marked() -> None:
    stage = Stage(busy_view())
    async with stage.play():
        await travel(stage, "writer-4")
        await stage.press("W")
        assert isinstance(stage.app.screen, PlanSheet)
        shown = stage.text_of("#travel-plan")
        for path in ("CHANGELOG.md", "docs/index.md", "draft.md", "notes.txt"):
            assert path in shown
        said = consequence(stage)
        assert "2 files written, 1 removed, 1 left as changed since" in said
        assert "snapshot first" in said
        await stage.press("enter")
        assert not stage.gateway.calls
        await stage.press("space")
        assert "3 files written, 1 removed;" in consequence(stage)
        await stage.press("W")
        assert stage.gateway.calls == [("restore", "writer-4", ("notes.txt",))]
        assert isinstance(stage.app.screen, MainScreen)


async def test_key_typed_ahead_does_nothing_in_the_sheet_nor_does_pasting() -> None:
    stage = Stage(busy_view())
    async with stage.play():
        await travel(stage)
        await stage.burst("W", "W", "W")
        assert isinstance(stage.app.screen, PlanSheet)
        assert not stage.gateway.calls


async def test_resume_says_what_stays_and_takes_the_files_along() -> None:
    stage = Stage(busy_view())
    async with stage.play():
        await travel(stage, "writer-4")
        await stage.press("R")
        assert "2 later checkpoints stay, a branch" in consequence(stage)
        await stage.press("R")
        assert stage.gateway.calls == [
            ("restore", "writer-4", ()),
            ("resume", "writer-4", None),
        ]
        assert isinstance(stage.app.screen, MainScreen)
        assert stage.app.state.awaited_job == JobId("job-8f3a")


async def test_resume_can_leave_the_files_and_say_something(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    stage = Stage(busy_view())

    async def edited(text: str, *, suffix: str = ".md") -> str | None:
        return text + "Group by theme.\nBe brief."

    monkeypatch.setattr(stage.app, "edit_text", edited)
    async with stage.play():
        await travel(stage, "writer-4")
        await stage.press("R", "f", "e")
        await stage.until(lambda: "Group by theme." in stage.text_of("#travel-plan"))
        assert "the files stay as they are now" in consequence(stage)
        await stage.press("R")
        assert stage.gateway.calls == [("resume", "writer-4", "Group by theme.\nBe brief.")]


async def test_a_delegates_moment_cannot_be_resumed_and_says_why() -> None:
    stage = Stage(busy_view())
    stage.gateway.travel.why_not = "only a coordinator's run can be resumed; F forks from here"
    async with stage.play():
        await travel(stage, "writer-4")
        await stage.press("R")
        assert "only a coordinator's run can be resumed" in stage.text_of("#travel-plan")
        await stage.press("R")
        assert not stage.gateway.calls


async def test_fork_takes_workspace_and_version_as_chosen_and_is_selected() -> None:
    stage = Stage(busy_view())
    async with stage.play():
        await travel(stage, "writer-4")
        await stage.press("F")
        assert "in a folder of its own" in consequence(stage)
        assert "it goes on at once; job-8f3a stays" in consequence(stage)
        await stage.press("v", "w")
        assert "in this folder" in consequence(stage)
        await stage.press("w", "F")
        assert stage.gateway.calls == [("fork", "writer-4", ForkWish(newest_definition=True))]
        forked = run("writer", job="job-forked")
        view = busy_view()
        await stage.show(
            replace(
                view, jobs=(job("job-forked", (replace(forked, run_id=RunId("f")),)), *view.jobs)
            )
        )
        assert stage.app.state.run_id == RunId("f")


async def test_refusal_stays_in_the_sheet_and_leaving_files_gets_round_it() -> None:
    stage = Stage(busy_view())
    async with stage.play():
        await travel(stage, "writer-4")
        stage.gateway.refuse = ConflictError("a process drives job-5c1e", hint="stop it first")
        await stage.press("R", "R")
        assert "a process drives job-5c1e - stop it first" in consequence(stage)
        assert isinstance(stage.app.screen, PlanSheet)
        await stage.press("f", "R")
        assert stage.gateway.calls == [("resume", "writer-4", None)]


async def test_who_only_observes_may_look_and_change_nothing() -> None:
    stage = Stage(busy_view(), observing=True)
    async with stage.play():
        stage.app.state.select(WRITER)
        await stage.press("2", "F")
        assert "only observes" in stage.text_of("#notice")
        await travel(stage)
        await stage.press("W")
        assert "only observes" in consequence(stage)
        await stage.press("W")
        assert not stage.gateway.calls


async def test_nothing_to_restore_is_said() -> None:
    stage = Stage(busy_view())
    stage.gateway.travel.plan = RestorePlan((), (), ())
    async with stage.play():
        await travel(stage)
        await stage.press("W", "W")
        assert "every file is as it was" in consequence(stage)
        assert not stage.gateway.calls


async def test_y_copies_ids_and_what_does_the_same_in_a_shell(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    stage = Stage(busy_view())
    copied: list[str] = []

    def copy(text: str, what: str) -> None:
        copied.append(text)

    monkeypatch.setattr(stage.app, "copy", copy)
    async with stage.play():
        await travel(stage)
        await stage.press(
            "d", "tab", "tab", "y", "d", "y", "i", "y", "f", "y", "r", "y", "x", "y", "m"
        )
        assert copied[:4] == [
            "perstack diff writer-5 writer-6",
            "writer-6",
            "perstack fork writer-6",
            "perstack restore writer-6",
        ]
        assert copied[4].endswith("64 lines written")


# --- hostile --------------------------------------------------------------------------------------

HOSTILE = "\x1b[31m\x1b]52;c;aGk=\x07\u202eevil\u200b[/][@click=app.quit]日本\u0301\n\ttab\r"


@pytest.mark.parametrize("size", [(120, 40), (80, 24), (20, 5), (1, 1)])
async def test_names_and_texts_of_others_are_inert(size: tuple[int, int]) -> None:
    stage = Stage(busy_view())
    past = moment_view(moment(), "writer", 6)
    shown = MessageView("x", "tool", HOSTILE, HOSTILE * 3)
    stage.gateway.travel.moments[CheckpointId("writer-6")] = replace(
        past,
        messages=(*past.messages, shown),
        files=(FileView(HOSTILE, 3, "d"), FileView("b" + HOSTILE, 3, None, HOSTILE)),
    )
    stage.gateway.travel.files[HOSTILE] = HOSTILE
    stage.gateway.travel.plan = RestorePlan((HOSTILE,), (HOSTILE,), (HOSTILE,), (HOSTILE,))
    seen = ""
    async with stage.play(size=size):
        await travel(stage)
        for keys in ((), ("tab",), ("]",), ("tab",), ("W", "space"), ("escape", "F"), ("escape",)):
            await stage.press(*keys)
            text = stage.screen_text()
            seen += text
            for bad in ("\x1b", "\x07", "\u202e", "\u200b", "\t", "\r"):
                assert bad not in text
    assert "‹U+202E›" in seen or size[0] < 80


async def test_a_message_of_a_megabyte_does_not_hold_up_the_keys(tmp_path: Path) -> None:
    stage = Stage(busy_view())
    past = moment_view(moment(), "writer", 6)
    long = MessageView("x", "tool", "long", "word " * 200_000)
    stage.gateway.travel.moments[CheckpointId("writer-6")] = replace(past, messages=(long,))
    async with stage.play():
        await travel(stage)
        await stage.until(lambda: "word word" in stage.text_of("#travel-detail"))
        await stage.press("G", "h")
        assert "5 of 6" in stage.text_of("#travel-strip")


async def test_escape_while_something_loads_leaves_and_nothing_is_left_running() -> None:
    stage = Stage(busy_view())
    async with stage.play():
        stage.gateway.travel.slow = True
        await travel(stage)
        await stage.press("escape")
        assert isinstance(stage.app.screen, MainScreen)
        await stage.until(lambda: not [w for w in stage.app.workers if w.group == "commands"])
        assert stage.gateway.travel.given == 0
