"""Deciding in the cockpit: what must be read, typed and held before anything is decided."""

from __future__ import annotations

from dataclasses import replace

import pytest
from textual import events
from textual.widgets import Input

from perstack.domain.consensus import ConsensusCheckpoint, Decision, Review, Verdict, call_digest
from perstack.domain.ids import CheckpointId, ConsensusId, ExpertKey, JobId, RunId, SubtaskId
from perstack.errors import ConflictError
from perstack.projection.views import InboxView, WorkspaceView
from perstack_tui.ports.travel import Moment
from perstack_tui.screens.bulk import BulkSheet
from perstack_tui.screens.main import MainScreen
from perstack_tui.screens.review import ReviewSheet
from perstack_tui.state.inbox import ItemKey
from perstack_tui.widgets.pane import Pane
from tests.fakes.gateway import NOW, busy_view, decided, gate, running_job, subtask, tool_subtask
from tests.fakes.stage import Stage

pytestmark = pytest.mark.anyio

GATE = ConsensusId("gate-1")


def decisions(stage: Stage) -> list[tuple[str, Decision]]:
    return [
        (str(call[1]), call[2])
        for call in stage.gateway.calls
        if call[0] == "decide" and isinstance(call[2], Decision)
    ]


def low(name: str = "gate-1", text: str = "link-check 412 pages") -> ConsensusCheckpoint:
    made = gate(name, subtasks=(subtask("s1", text, "low", "fetcher"),))
    return made.model_copy(update={"risk_level": "low"})


def medium(name: str, text: str = "upload to staging") -> ConsensusCheckpoint:
    made = gate(name, subtasks=(subtask("s1", text, "medium"),))
    return made.model_copy(update={"risk_level": "medium"})


def view(
    *pending: ConsensusCheckpoint, decided: tuple[ConsensusCheckpoint, ...] = ()
) -> WorkspaceView:
    inbox = InboxView(pending=pending, decided=decided)
    return WorkspaceView((running_job(),), inbox, caught_up=True)


# ------------------------------------------------------------------ reading and the word


async def test_word_for_high_risk_is_typed_key_by_key_and_opens_a_but_decides_nothing() -> None:
    stage = Stage(busy_view())
    async with stage.play():
        await stage.press("4", "enter", "a")
        assert stage.app.focused is stage.app.screen.query_one("#review-word")
        word = stage.text_of("#review-word-label").split("type ")[1].split(" ")[0]
        stage.app.post_message(events.Paste(word))
        await stage.settle()
        assert decisions(stage) == []
        await stage.burst(*word)
        assert "key by key" in stage.text_of("#consequence")
        await stage.press("a")
        assert decisions(stage) == []
        await stage.write(word)
        assert decisions(stage) == []
        assert "a approves: both subtasks run" in stage.text_of("#consequence")
        await stage.press("a")
        assert len(decisions(stage)) == 1


async def test_wrong_word_is_told_and_its_field_stays_and_is_there_only_while_asked() -> None:
    stage = Stage(view(gate(subtasks=(subtask("s1", "deploy"),))))
    async with stage.play():
        await stage.press("4", "enter")
        row = stage.app.screen.query_one("#review-word-row")
        assert not row.display
        assert "press a, and it asks for a word" in stage.text_of("#consequence")
        await stage.press("a")
        assert row.display
        await stage.write("wrong")
        await stage.press("enter")
        assert "not the word: it is" in stage.text_of("#consequence")
        field = stage.app.screen.query_one("#review-word", Input)
        assert (field.value, stage.app.focused) == ("", field)
        await stage.press("escape")
        assert not row.display
        assert decisions(stage) == []


async def test_what_is_told_of_a_part_is_what_was_kept() -> None:
    tasks = (subtask("s1", "deploy to prod", "medium"), subtask("s2", "tidy", "medium"))
    stage = Stage(view(gate("gate-1", risk="medium", subtasks=tasks)))
    async with stage.play():
        await stage.press("4", "enter", "space", "j", "a")
        assert decisions(stage)
        assert "1 of 2 kept: tidy" in stage.text_of("#notice")


async def test_decided_item_shows_which_subtasks_were_left_out() -> None:
    tasks = (subtask("s1", "deploy to prod", "medium"), subtask("s2", "tidy", "medium"))
    said = Decision(approved=True, rejected_subtask_ids=(SubtaskId("s1"),), reviewed_by="bo@pi")
    done = decided("gate-0", "approved", "release", "bo@pi")
    done = done.model_copy(update={"decision": said, "proposed_subtasks": tasks})
    stage = Stage(view(decided=(done,)))
    async with stage.play():
        await stage.press("4", "enter")
        rows = stage.text_of("#review").splitlines()
    assert [row[4:7] for row in rows if "  med  " in row] == ["[ ]", "[x]"], rows


async def test_word_is_asked_anew_when_more_of_high_risk_is_kept() -> None:
    tasks = (subtask("s1", "deploy"), subtask("s2", "purge"))
    stage = Stage(view(gate(subtasks=tasks)))
    async with stage.play():
        await stage.press("4", "enter", "j", "space")
        await stage.confirm()
        assert "1 kept, s2 dropped" in stage.text_of("#consequence")
        await stage.press("space", "a")
        assert decisions(stage) == []
        assert "2 kept subtasks are HIGH" in stage.text_of("#consequence")


async def test_what_the_reviewer_rejects_of_high_risk_starts_dropped() -> None:
    tasks = (subtask("s1", "deploy"), subtask("s2", "purge"), subtask("s3", "tidy", "low"))
    against = (SubtaskId("s2"), SubtaskId("s3"))
    verdict = Verdict(approved=True, rejected_subtask_ids=against, feedback="too broad")
    review = Review(
        reviewer=ExpertKey("adversarial"), verdict=verdict, started_at=NOW, finished_at=NOW
    )
    stage = Stage(view(gate(subtasks=tasks).model_copy(update={"review": review})))
    async with stage.play():
        await stage.press("4", "enter")
        rows = [row for row in stage.text_of("#review").splitlines() if "[" in row]
        assert ["[x]" in row for row in rows[-3:]] == [True, False, True]
        assert "too broad" in stage.text_of("#detail")


LINES = 60


async def test_text_counts_as_read_line_by_line_and_neither_jump_nor_resize_fakes_it() -> None:
    text = "\n".join(f"line {number}" for number in range(LINES))
    stage = Stage(view(medium("gate-1", text)))
    async with stage.play(size=(80, 24)):
        await stage.press("4", "enter")
        # Scrolled past without a paint between: nobody saw what was in the middle.
        await stage.rush(*["J"] * 30)
        assert f"line {LINES - 1}" in stage.text_of("#detail")
        await stage.press("a")
        assert "read s1 to its end" in stage.text_of("#consequence")
        await stage.pilot.resize_terminal(120, 24)
        await stage.settle()
        await stage.press("a")
        assert decisions(stage) == []
        await stage.press(*["K"] * 30)
        await stage.press(*["J"] * 30)
        await stage.press("a")
        assert len(decisions(stage)) == 1


async def test_what_was_scrolled_through_with_the_mouse_was_read() -> None:
    text = "\n".join(f"line {number}" for number in range(LINES))
    stage = Stage(view(medium("gate-1", text)))
    async with stage.play(size=(80, 24)):
        await stage.press("4", "enter")
        detail = stage.app.screen.query_one("#detail", Pane)
        while f"line {LINES - 1}" not in stage.text_of("#detail"):
            await stage.wheel(detail)
        await stage.press("a")
        assert len(decisions(stage)) == 1


async def test_every_kept_subtask_has_to_be_opened_unless_its_row_says_it_all() -> None:
    tasks = (subtask("s1", "a" * 200, "low"), subtask("s2", "b" * 200, "low"))
    stage = Stage(view(gate(subtasks=tasks).model_copy(update={"risk_level": "medium"})))
    async with stage.play(size=(80, 24)):
        await stage.press("4", "enter", "a")
        assert "read s2 to its end first (j selects it)" in stage.text_of("#consequence")
        await stage.press("j", "a")
        assert len(decisions(stage)) == 1


async def test_hidden_characters_are_shown_by_code_point_and_the_row_is_not_enough() -> None:
    stage = Stage(view(medium("gate-1", "run \u202egnp.exe\u200b")))
    async with stage.play():
        await stage.press("4", "enter")
        assert "‹U+202E›gnp.exe‹U+200B›" in stage.text_of("#detail")
        assert "hidden or direction-changing" in stage.text_of("#detail")


async def test_several_keys_at_once_decide_nothing() -> None:
    stage = Stage(view(medium("gate-1")))
    async with stage.play():
        await stage.press("4", "enter")
        await stage.burst(*"approve it all")
        assert decisions(stage) == []
        assert isinstance(stage.app.screen, ReviewSheet)
        await stage.press("escape", "escape", "4", "enter", "a")
        assert len(decisions(stage)) == 1


async def test_next_item_is_decided_after_a_quiet_moment_and_keeps_each_draft() -> None:
    stage = Stage(view(medium("gate-1", "first"), medium("gate-2", "second")))
    async with stage.play():
        await stage.press("4", "enter", "e")
        await stage.write("one")
        await stage.press("escape", "right_square_bracket")
        assert "second" in stage.text_of("#review")
        await stage.press("r", after=0.05)
        assert decisions(stage) == []
        await stage.press("r", after=0.41)
        assert decisions(stage) == [("gate-2", Decision(approved=False, reviewed_by="ana@pi"))]
        assert stage.app.state.drafts[("feedback", GATE)] == "one"


async def click(stage: Stage, y: int, x: int = 5) -> None:
    for kind in (events.MouseDown, events.MouseUp):
        stage.app.post_message(kind(None, x, y, 0, 0, 1, shift=False, meta=False, ctrl=False))
        await stage.settle()


@pytest.mark.parametrize("from_the_list", [False, True])
async def test_key_right_behind_a_click_decides_nothing(from_the_list: bool) -> None:
    stage = Stage(view(low() if from_the_list else medium("gate-1")))
    async with stage.play():
        await stage.press("4", *(() if from_the_list else ("enter",)))
        stage.seconds.now += 1
        inbox = stage.app.main.panes["inbox"].region
        await click(stage, inbox.y + 1, inbox.x + 5)
        await stage.press("a", after=0.2)
        assert decisions(stage) == []
        assert isinstance(stage.app.screen, ReviewSheet)
        await stage.press("a", after=0.5)
        assert len(decisions(stage)) == 1


async def test_first_click_after_the_terminal_got_the_focus_is_dropped() -> None:
    stage = Stage(view(medium("gate-1"), medium("gate-2")))

    async with stage.play(size=(80, 24)):
        await stage.press("4")
        before = stage.app.state.item_key
        row = next(
            y
            for y in range(24)
            for widget in [stage.app.main.panes["inbox"]]
            if y >= widget.region.y + 3 and y < widget.region.y + 4
        )
        stage.app.post_message(events.AppFocus())
        await click(stage, row)
        assert stage.app.state.item_key == before
        stage.seconds.now += 1
        await click(stage, row)
        assert stage.app.state.item_key != before


async def test_copied_command_decides_the_same() -> None:
    stage = Stage(busy_view())
    copied: list[str] = []
    async with stage.play():
        stage.app.copy = lambda text, what: copied.append(text)
        await stage.press("4", "enter", "j", "space", "e")
        await stage.write("only it's docs")
        await stage.press("escape", "y")
        command = "perstack consensus approve gate-1 --reject-subtask s2 --feedback"
        assert copied == [f"{command} 'only it'\"'\"'s docs'"]


# ------------------------------------------------------------------ holding


async def test_decision_is_held_and_undone_by_u() -> None:
    stage = Stage(view(medium("gate-1")), hold_s=3.0)
    async with stage.play():
        await stage.press("4", "enter", "a")
        assert isinstance(stage.app.screen, MainScreen)
        assert decisions(stage) == []
        assert "u undoes" in stage.text_of("#notice")
        await stage.press("enter")
        assert "about to be written" in stage.text_of("#consequence")
        await stage.press("a", "r")
        assert decisions(stage) == []
        await stage.press("escape", "u")
        assert stage.app.state.held == ()
        stage.seconds.now += 10
        stage.app.holding.look()
        await stage.settle()
        assert decisions(stage) == []
        await stage.press("u")
        assert "nothing is held" in stage.text_of("#notice")


async def test_held_decision_is_written_once_after_its_time() -> None:
    stage = Stage(view(medium("gate-1")), hold_s=3.0)
    async with stage.play():
        await stage.press("4", "enter", "e")
        await stage.write("fine")
        await stage.press("escape", "a", "j")
        stage.seconds.now += 3
        stage.app.request_paint(now=True)
        await stage.until(lambda: len(decisions(stage)) == 1)
        stage.app.holding.look()
        await stage.settle()
        assert decisions(stage)[0][1].feedback == "fine"
        assert len(decisions(stage)) == 1
        assert ("feedback", GATE) not in stage.app.state.drafts


async def test_what_would_expire_meanwhile_is_not_held() -> None:
    soon = medium("gate-1").model_copy(update={"expires_at": NOW + 2_000})
    stage = Stage(view(soon), hold_s=3.0)
    async with stage.play():
        await stage.press("4", "enter", "a")
        assert len(decisions(stage)) == 1


async def test_who_was_first_is_told_after_the_hold_and_the_note_is_kept() -> None:
    stage = Stage(view(medium("gate-1")), hold_s=3.0)
    async with stage.play():
        await stage.press("4", "enter", "e")
        await stage.write("mine")
        await stage.press("escape", "a")
        stage.gateway.refuse = ConflictError("already approved by bo@pi, 4 s ago")
        stage.seconds.now += 4
        stage.app.holding.look()
        await stage.settle()
        notice = stage.text_of("#notice")
        assert "already approved by bo@pi, 4 s ago" in notice
        assert "your note is kept" in notice
        assert stage.app.state.drafts[("feedback", GATE)] == "mine"


async def test_decision_made_elsewhere_drops_what_is_held() -> None:
    stage = Stage(view(medium("gate-1")), hold_s=3.0)
    async with stage.play():
        await stage.press("4", "enter", "a")
        await stage.show(view(decided=(decided("gate-1", "rejected", "x", "bo@pi"),)))
        assert "rejected by bo@pi meanwhile" in stage.text_of("#notice")
        assert stage.app.state.held == ()
        assert decisions(stage) == []


@pytest.mark.parametrize(("code", "written"), [(0, 1), (130, 0), (143, 0), (129, 0)])
async def test_leaving_on_purpose_writes_what_is_held_and_anything_else_drops_it(
    code: int, written: int
) -> None:
    stage = Stage(view(medium("gate-1")), hold_s=3.0)
    async with stage.play(here=()):
        await stage.press("4", "enter", "a")
        if code == 0:
            await stage.press("q", "w", after=0.7)
        else:
            stage.app.leave(code)
        await stage.until(lambda: stage.gateway.closed)
    assert len(decisions(stage)) == written


# ------------------------------------------------------------------ from the list, and many


async def test_low_risk_is_approved_from_the_list_once_it_was_looked_at() -> None:
    stage = Stage(view(low()))
    async with stage.play():
        await stage.press("4", "a")
        assert isinstance(stage.app.screen, MainScreen)
        assert [name for name, _ in decisions(stage)] == ["gate-1"]


async def test_low_risk_that_just_came_under_the_cursor_opens_its_review() -> None:
    stage = Stage(view())
    async with stage.play():
        await stage.press("4")
        await stage.show(view(low()))
        await stage.press("a", after=0.1)
        assert isinstance(stage.app.screen, ReviewSheet)
        assert decisions(stage) == []


@pytest.mark.parametrize("text", ["fetch \u202egnp", "first\nsecond line"])
async def test_low_risk_that_the_list_cannot_show_whole_opens_its_review(text: str) -> None:
    stage = Stage(view(low(text=text)))
    async with stage.play():
        await stage.press("4", "a")
        assert isinstance(stage.app.screen, ReviewSheet)


async def test_marked_items_are_decided_together_without_those_of_high_risk() -> None:
    gates = (medium("gate-1", "one"), medium("gate-2", "two"), low("gate-3"), gate("gate-4"))
    stage = Stage(view(*gates), hold_s=3.0)
    async with stage.play():
        stage.app.state.marks |= {ItemKey("gate", one.id) for one in gates}
        await stage.press("4", "a")
        assert isinstance(stage.app.screen, BulkSheet)
        shown = stage.text_of("#bulk")
        assert "not among them" in shown
        assert "HIGH, decided one by one" in shown
        await stage.press("a")
        assert isinstance(stage.app.screen, MainScreen)
        stage.seconds.now += 4
        stage.app.holding.look()
        await stage.settle()
        assert sorted(name for name, _ in decisions(stage)) == ["gate-1", "gate-2", "gate-3"]
        assert stage.app.state.marks == set()


async def test_many_are_read_to_the_end_before_they_are_approved() -> None:
    gates = [medium(f"gate-{at}", f"task {at}\n" * 5) for at in range(20)]
    stage = Stage(view(*gates))
    async with stage.play(size=(80, 24)):
        stage.app.state.marks |= {ItemKey("gate", one.id) for one in gates}
        await stage.press("4", "a", "a")
        assert "read all of it" in stage.text_of("#bulk-consequence")
        assert decisions(stage) == []
        await stage.press(*["J"] * 12, "a")
        assert len(decisions(stage)) == 20


# ------------------------------------------------------------------ for the rest of the job, after


async def test_exact_tool_call_is_approved_for_the_rest_of_the_job() -> None:
    args = '{"path": "x.txt"}'
    task = tool_subtask("s1", "deleteFile", args).model_copy(
        update={"digest": call_digest("@perstack/base", "deleteFile", {"path": "x.txt"})}
    )
    stage = Stage(view(gate(subtasks=(task,)).model_copy(update={"risk_level": "medium"})))
    async with stage.play():
        await stage.press("4", "enter")
        assert "for the rest of the job" in stage.text_of("#review-keys")
        await stage.press("A")
        assert stage.gateway.calls[0][-1] == "standing"
        assert "for the rest of the job" in stage.text_of("#notice")


async def test_delegations_and_high_risk_are_never_approved_for_the_rest_of_the_job() -> None:
    stage = Stage(view(medium("gate-1")))
    async with stage.play():
        await stage.press("4", "enter")
        assert "rest of the job" not in stage.text_of("#review-keys")
        await stage.press("A")
        assert "only a tool's exact call" in stage.text_of("#consequence")
        assert decisions(stage) == []


async def test_decided_item_says_who_when_and_what_and_forks_from_before_it() -> None:
    done = decided("gate-0", "rejected", "drop table users", "bo@pi")
    said = Decision(approved=False, feedback="never", reviewed_by="bo@pi")
    done = done.model_copy(
        update={"decision": said, "run_id": RunId("run-coordinator"), "created_at": NOW}
    )
    stage = Stage(view(decided=(done,)))
    went: list[Moment] = []
    async with stage.play():
        stage.app.travel_to = lambda moment: went.append(moment)
        await stage.press("4", "enter")
        assert "✗ rejected by bo@pi at" in stage.text_of("#review")
        assert "never" in stage.text_of("#review")
        await stage.press("a", "r")
        assert decisions(stage) == []
        await stage.press("F")
        moment = Moment(JobId("job-8f3a"), RunId("run-coordinator"), CheckpointId("coordinator-3"))
        assert went == [moment]


async def test_expired_item_closes_deciding_and_keeps_the_note() -> None:
    stage = Stage(view(medium("gate-1")))
    async with stage.play():
        await stage.press("4", "enter", "e")
        await stage.write("late")
        gone = medium("gate-1").model_copy(update={"status": "expired", "decided_at": NOW})
        await stage.show(replace(view(), inbox=InboxView(decided=(gone,))))
        await stage.press("escape", "a", "r")
        assert decisions(stage) == []
        assert "expired: nobody decided in time" in stage.text_of("#consequence")
        assert stage.app.state.drafts[("feedback", GATE)] == "late"
