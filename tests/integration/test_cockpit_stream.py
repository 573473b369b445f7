"""The stream at work: going through it, opening in place, following, searching, reading back."""

from __future__ import annotations

from dataclasses import replace

import pytest

from perstack.domain.ids import RunId, ToolCallId
from perstack.projection.views import CallView, EntryView, RunView, WorkspaceView
from perstack_tui.state.branches import STAY_MS
from perstack_tui.widgets.pane import Pane
from tests.fakes.gateway import NOW, Said, job, run
from tests.fakes.stage import Stage

pytestmark = pytest.mark.anyio


def call(number: int, text: str = "done") -> EntryView:
    made = CallView("exec", "@perstack/base", f'{{"command": "make {number}"}}')
    entry = EntryView("tool", f"exec make {number}", text, ToolCallId(f"t{number}"), "ok")
    return replace(entry, size=len(text), call=made)


def alone(*entries: EntryView, earlier: int = 0) -> RunView:
    return replace(run("writer", entries=entries), earlier=earlier)


def view_of(*runs: RunView) -> WorkspaceView:
    return WorkspaceView((job("job-8f3a", runs),), caught_up=True)


def stream_of(stage: Stage) -> str:
    return stage.text_of("#stream")


async def test_enter_opens_the_chosen_call_in_place_and_else_all_of_the_run() -> None:
    stage = Stage(view_of(alone(call(1, "first result"), call(2, "second result"))))
    async with stage.play():
        assert "first result" not in stream_of(stage)
        await stage.press("5", "k", "enter")
        assert "second result" in stream_of(stage)
        assert "first result" not in stream_of(stage)
        await stage.press("k", "enter")
        assert "first result" in stream_of(stage)
        await stage.press("enter", "escape")
        assert "first result" not in stream_of(stage)
        await stage.press("enter")
        assert "first result" in stream_of(stage)
        await stage.press("enter")
        assert "first result" not in stream_of(stage)
        assert "second result" in stream_of(stage)


async def test_enter_on_a_delegation_goes_to_the_run_that_does_it() -> None:
    handed = CallView("writer", child=RunId("run-child"))
    entry = EntryView("delegate", "writer: do it", "", ToolCallId("t"), "running", call=handed)
    lead = replace(alone(entry), children=(RunId("run-child"),))
    child = run("child", parent="writer", entries=(EntryView("text", "", "I write"),))
    stage = Stage(view_of(lead, child))
    async with stage.play():
        assert "⏎ go there" in stream_of(stage)
        await stage.press("5", "k", "enter")
        assert stage.app.state.run_id == "run-child"
        assert "I write" in stream_of(stage)


async def test_scrolling_up_releases_what_is_followed_and_keeps_the_place() -> None:
    entries = tuple(EntryView("text", "", f"line {n}") for n in range(400))
    stage = Stage(view_of(alone(*entries)))
    async with stage.play():
        await stage.press("5", "pageup", "pageup")
        first = stream_of(stage).splitlines()[1]
        more = tuple(EntryView("text", "", f"fresh {n}") for n in range(12))
        await stage.show(view_of(alone(*entries, *more)))
        assert stream_of(stage).splitlines()[1] == first
        assert "↓ 12 new" in stream_of(stage)
        await stage.press("G")
        assert "fresh 11" in stream_of(stage)
        assert "follow" in stream_of(stage).splitlines()[-1]
        await stage.press("g")
        assert "line 0" in stream_of(stage)


async def test_following_a_parent_follows_whichever_branch_speaks() -> None:
    lead = run("lead", "waits", children=("a", "b"), entries=(EntryView("text", "", "I lead"),))
    a = run("a", parent="lead", entries=(EntryView("text", "", "I am a"),))
    b = run("b", parent="lead", entries=(EntryView("text", "", "I am b"),))
    a = replace(a, last_event_at=NOW)
    stage = Stage(view_of(lead, a, b))
    async with stage.play():
        await stage.press("f")
        assert "I am a" in stream_of(stage)
        assert "lead › a" in stream_of(stage)
        await stage.show(view_of(lead, a, replace(b, last_event_at=NOW + STAY_MS)))
        assert "I am b" in stream_of(stage)
        assert stage.app.state.run_id == "run-lead"
        await stage.press("f")
        assert "I lead" in stream_of(stage)


async def test_what_is_no_more_in_memory_is_read_back_when_somebody_goes_there() -> None:
    entries = tuple(EntryView("text", "", f"entry {n}") for n in range(9_000, 9_100))
    stage = Stage(view_of(alone(*entries, earlier=9_000)))
    stage.gateway.past = [EntryView("text", "", f"entry {n}") for n in range(9_000)]
    async with stage.play():
        assert not [one for one in stage.gateway.calls if one[0] == "read_entries"]
        await stage.press("5", "g")
        await stage.until(lambda: "entry 0 " in stream_of(stage))
        await stage.press("G")
        assert "entry 9099" in stream_of(stage)


async def test_resizing_keeps_what_was_read_in_view() -> None:
    entries = tuple(EntryView("text", "", f"<{n}> " + "word " * 60) for n in range(300))
    stage = Stage(view_of(alone(*entries)))
    async with stage.play(size=(120, 40)):
        await stage.press("5", *["pageup"] * 6)
        first = stream_of(stage)
        number = first[first.index("<") : first.index(">")]
        for size in ((200, 60), (80, 24), (120, 40)):
            await stage.pilot.resize_terminal(*size)
            await stage.settle()
            assert number in stream_of(stage) or f"<{int(number[1:]) - 1}>" in stream_of(stage)


async def test_search_scrolls_to_what_it_finds_and_marks_it() -> None:
    entries = tuple(EntryView("text", "", f"line {n}") for n in range(400))
    stage = Stage(view_of(alone(*entries)))
    async with stage.play():
        await stage.press("5", "g", "slash")
        await stage.write("line 250")
        await stage.press("enter")
        assert "line 250" in stream_of(stage)
        await stage.press("g")
        assert "line 250" not in stream_of(stage)


async def test_text_that_streams_repaints_only_the_lines_it_changes() -> None:
    stage = Stage(view_of(alone(EntryView("text", "", "before"))))
    async with stage.play():
        pane = stage.app.screen.query_one("#stream", Pane)
        stage.fold.said[RunId("run-writer")] = Said(text="one")
        stage.app.request_paint(now=True)
        await stage.settle()
        before = [pane.render_line(y) for y in range(pane.size.height)]
        stage.fold.said[RunId("run-writer")] = Said(text="one two")
        stage.app.request_paint(now=True)
        await stage.settle()
        after = [pane.render_line(y) for y in range(pane.size.height)]
        changed = [
            y for y, (one, other) in enumerate(zip(before, after, strict=True)) if one != other
        ]
        assert len(changed) == 1
