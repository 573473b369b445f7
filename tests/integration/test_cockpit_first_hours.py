"""What somebody new to the cockpit meets: what is selected, which keys are told, what stays."""

from __future__ import annotations

from dataclasses import replace

import pytest

from perstack.domain.ids import ExpertKey, RunId, ToolCallId
from perstack.projection.views import EntryView, InboxView, WorkspaceView
from perstack_tui.screens import main as main_screen
from perstack_tui.screens.main import MainScreen
from perstack_tui.screens.review import ReviewSheet
from perstack_tui.settings import Settings
from tests.fakes.gateway import busy_view, definitions, gate, job, question, run, running_view
from tests.fakes.stage import Stage

pytestmark = pytest.mark.anyio


async def test_going_to_the_inbox_shows_the_run_that_waits_in_every_pane() -> None:
    stage = Stage(busy_view())
    async with stage.play():
        state = stage.app.state
        state.select(RunId("run-summarizer"))
        await stage.press("4")
        assert state.item is not None
        assert state.run_id == state.item.run_id
        assert str(state.run_id).removeprefix("run-") in stage.text_of("#crumbs")


async def test_review_in_a_cockpit_that_observes_offers_no_decision() -> None:
    stage = Stage(busy_view(), observing=True)
    async with stage.play():
        await stage.press("4", "enter")
        assert isinstance(stage.app.screen, ReviewSheet)
        keys = stage.text_of("#review-keys")
        assert "approve" not in keys
        assert "reject" not in keys
        assert "only observes" in stage.text_of("#consequence")
        await stage.press("a", "r")
        assert not stage.gateway.calls


async def test_bottom_line_names_the_keys_of_what_has_the_keyboard() -> None:
    stage = Stage(busy_view())
    async with stage.play():
        assert "1-6 pane" in stage.text_of("#footer")
        await stage.press("i")
        assert "send" in stage.text_of("#footer")
        assert "1-6 pane" not in stage.text_of("#footer")
        await stage.press("escape", "semicolon")
        assert "a label" in stage.text_of("#footer")
        await stage.press("escape", "s")
        assert "a letter" in stage.text_of("#footer")
        await stage.press("escape", "question_mark")
        below = stage.app.main.picture.bars["footer"].render_line(0).text
        assert "closes what is open" in below
        await stage.press("escape")
        assert "1-6 pane" in stage.text_of("#footer")


async def test_definition_that_was_not_saved_since_cannot_be_taken() -> None:
    stage = Stage(running_view())
    async with stage.play():
        await stage.press("T")
        assert isinstance(stage.app.screen, MainScreen)
        assert "has not changed in perstack.toml" in stage.text_of("#notice")


async def test_message_goes_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    def soon(tone: str, *, roomy: bool) -> float:
        return 0.01

    monkeypatch.setattr(main_screen, "notice_seconds", soon)
    stage = Stage(busy_view())
    async with stage.play():
        stage.app.tell("saved", "good")
        await stage.until(lambda: stage.app.state.notice is None)
        await stage.settle()
        assert "saved" not in stage.text_of("#notice")


async def test_message_above_a_sheet_is_not_told_below_it_as_well() -> None:
    stage = Stage(busy_view())
    async with stage.play(size=(80, 24)):
        await stage.press("question_mark")
        stage.app.tell("copied: the id", "good")
        await stage.settle()
        assert "copied" not in stage.app.main.picture.bars["notice"].render_line(0).text
        await stage.press("escape")
        assert "copied: the id" in stage.text_of("#notice")


async def test_while_the_history_is_read_nothing_is_said_to_be_there_or_not() -> None:
    stage = Stage(WorkspaceView())
    async with stage.play(here=()):
        shown = stage.screen_text()
        for said in ("Nothing needs you", "No checkpoints yet", "Select a run"):
            assert said not in shown
        assert shown.count("Reading the history") >= 4
        await stage.press("x")
        assert "still reading" in stage.text_of("#notice")


async def test_key_that_was_taken_off_the_keyboard_says_so() -> None:
    stage = Stage(running_view())
    async with stage.play():
        stage.app.settings = Settings(keys={"wrap": ()})
        await stage.press("w")
        assert "w does nothing: wrap" in stage.text_of("#notice")
        assert stage.app.state.wrap


async def test_built_in_experts_can_be_started_below_those_of_the_file() -> None:
    (first, *_) = definitions().experts
    coder = replace(first, key=ExpertKey("coder"), description="Writes code", delegates=())
    stage = Stage(running_view())
    async with stage.play(defined=replace(definitions(), builtins=(coder,))):
        await stage.press("n")
        shown = stage.text_of("#experts")
        assert shown.index("writer") < shown.index("built in") < shown.index("coder")
        await stage.press("down", "down", "down")
        await stage.write("go")
        await stage.press("enter")
        assert stage.gateway.calls == [("start", ExpertKey("coder"), "go")]


async def test_filters_and_matches_are_counted_where_one_looks() -> None:
    stage = Stage(busy_view())
    async with stage.play():
        stage.app.main.going.go_to("inbox high")
        await stage.settle()
        assert "/high · " in stage.text_of("#inbox")
        stage.app.state.select(RunId("run-writer"))
        await stage.press("5", "slash")
        await stage.write("themes")
        assert "match 1 of " in stage.text_of("#notice")
        await stage.write("zzz")
        assert "no match" in stage.text_of("#notice")


async def test_order_of_the_agents_is_whole_again_once_the_filter_is_gone() -> None:
    stage = Stage(busy_view())
    async with stage.play():
        await stage.press("3")
        before = stage.app.state.agents(held=True)
        await stage.press("slash")
        await stage.write("summarizer")
        await stage.press("enter", "escape")
        assert stage.app.state.agents(held=True) == before


async def test_question_reads_as_text_and_digits_are_named_only_where_they_choose() -> None:
    asked = question("q1", "Which colour?\n\n- it is for the **door**")
    stage = Stage(replace(busy_view(), inbox=InboxView(questions=(asked,))))
    async with stage.play():
        await stage.press("4")
        shown = stage.text_of("#inbox")
        assert "⏎" not in shown.partition("ASK")[2].partition("\n")[0]
        assert "**" not in shown
        await stage.press("enter")
        assert "**" not in stage.text_of("#question")
        assert "1-3 choose" in stage.text_of("#answer-keys")
        await stage.press("1")
        assert "1-3 choose" not in stage.text_of("#answer-keys")


async def test_call_of_a_process_that_is_gone_is_in_doubt_and_does_not_run() -> None:
    call = EntryView("tool", "exec seq 1 30", "", ToolCallId("t1"), "running", 1)
    error = EntryView("error", "ProviderError", "it broke", timestamp=2)
    child = run("child", "lost", parent="lead", entries=(call, error))
    lead = run("lead", "lost", children=("child",), entries=(call, error))
    stage = Stage(WorkspaceView((job("job-8f3a", (lead, child), alive=False),), caught_up=True))
    async with stage.play(here=()):
        stage.app.state.select(lead.run_id)
        await stage.press("5")
        assert "in doubt" in stage.text_of("#stream")
        assert "i goes on from its last checkpoint" in stage.text_of("#stream")
        stage.app.state.select(child.run_id)
        await stage.press("5", "5")
        assert "i speaks to its job" in stage.text_of("#stream")


async def test_smallest_list_says_that_something_waits() -> None:
    stage = Stage(replace(busy_view(), inbox=InboxView(pending=(gate(),))))
    async with stage.play(size=(60, 10)):
        assert "▲ 1" in stage.text_of("#footer")
