"""A cockpit that a bug, a refusal or a leaving user does not take anything from."""

from __future__ import annotations

import io
import logging
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from perstack.domain.ids import RunId, ToolCallId
from perstack.errors import ConflictError
from perstack.projection.views import CallView, EntryView, InboxView, WorkspaceView
from perstack_tui.bugs import last_words
from perstack_tui.ports.gateway import Gateway
from perstack_tui.ports.steering import Target
from perstack_tui.screens.confirm import ConfirmSheet
from tests.fakes.gateway import busy_view, gate, job, run, running_view, subtask
from tests.fakes.stage import Stage

pytestmark = pytest.mark.anyio

SECRET = "hunter2-hunter2"
HELD = WorkspaceView(
    inbox=InboxView(pending=(gate(risk="medium", subtasks=(subtask("s1", "tidy", "medium"),)),)),
    caught_up=True,
)


def notice(stage: Stage) -> str:
    return stage.text_of("#notice")


async def test_a_bug_in_a_command_is_logged_and_told_and_the_screen_goes_on(
    caplog: pytest.LogCaptureFixture,
) -> None:
    stage = Stage(running_view(), bugs=True)
    async with stage.play():

        async def broken(gateway: Gateway) -> None:
            raise KeyError(SECRET)

        with caplog.at_level(logging.ERROR):
            stage.app.command(broken)
            await stage.settle()
        assert "internal error: KeyError" in notice(stage)
        assert SECRET not in notice(stage)
        assert any(record.exc_info for record in caplog.records)
        stage.app.save_picture(Path("~nosuchuser/x"))
        await stage.until(lambda: "cannot name a picture" in notice(stage))
        await stage.press("z")
        assert stage.gateway.calls == [("pause", RunId("run-writer"), None)]


@pytest.mark.parametrize("debug", [False, True])
def test_last_words_name_the_log_and_never_what_variables_held(debug: bool) -> None:
    def fails() -> None:
        key = SECRET
        raise RuntimeError(f"of {len(key)}")

    with pytest.raises(RuntimeError) as raised:
        fails()
    environ = {"PERSTACK_DEBUG": "1"} if debug else dict[str, str]()
    opening = replace(Stage(running_view()).app.opening, workspace=Path("/w"), environ=environ)
    words = last_words(raised.value, opening, "Not sent: approve: tidy")
    out = io.StringIO()
    Console(file=out, width=120).print(words)
    printed = out.getvalue()
    assert "internal error: RuntimeError" in printed
    assert "/w/perstack/logs/perstack.log" in printed
    assert "Not sent: approve: tidy" in printed
    assert SECRET not in printed
    assert ("Traceback" in printed) is debug


async def test_stopping_many_tries_each_and_counts_those_that_had_ended(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    stage = Stage(busy_view())
    async with stage.play():
        ended, tried = RunId("run-writer"), list[RunId]()

        async def stop(target: Target, *, now: bool = False) -> None:
            tried.append(target.run_id)
            if target.run_id == ended:
                raise ConflictError("nothing drives this run any more")

        monkeypatch.setattr(stage.gateway.steering, "stop", stop)
        others = {RunId("run-summarizer"), RunId("run-researcher")}
        stage.app.state.marks = {ended, *others}
        await stage.press("x", "s")
        assert set(tried) == {ended, *others}
        assert "2 runs: stops at its next step; 1 not: writer: nothing drives" in notice(stage)
        assert stage.app.state.marks == {ended}


async def test_quitting_asks_about_what_is_held_and_ctrl_c_says_what_it_drops() -> None:
    for key, written in (("w", 1), ("u", 0)):
        stage = Stage(HELD, hold_s=30.0)
        async with stage.play(here=()):
            await stage.press("4", "enter", "a")
            await stage.press("ctrl+c")
            assert "drops 1 held decision" in notice(stage)
            await stage.press("q", after=2.0)
            assert isinstance(stage.app.screen, ConfirmSheet)
            assert "approve: tidy" in stage.text_of("#confirm").replace("writer: ", "")
            await stage.press(key, after=2.0)
            await stage.until(lambda stage=stage: stage.gateway.closed)
        assert len([call for call in stage.gateway.calls if call[0] == "decide"]) == written
    stage = Stage(HELD, hold_s=30.0)
    async with stage.play(here=()):
        await stage.press("4", "enter", "a")
        assert stage.app.lost().startswith("Not sent, so it waits still: approve: ")
        stage.app.leave(130)
        await stage.until(lambda: stage.gateway.closed)
    assert stage.gateway.calls == []


async def test_entry_of_the_stream_is_opened_at_its_place_and_its_link_copied(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "notes.md").write_text("one\ntwo\n")
    read = CallView("readTextFile", "@perstack/base", '{"from": 1}', path="notes.md")
    got = EntryView("tool", "fetch", "at https://a.example/x.", ToolCallId("t2"), "ok")
    first = EntryView("tool", "readTextFile notes.md", "two", ToolCallId("t1"), "ok", call=read)
    two = replace(got, tool_call_id=ToolCallId("t3"), text="https://a.example https://b.example/y")
    lead = run("writer", entries=(first, got, two))
    stage = Stage(WorkspaceView((job("job-8f3a", (lead,)),), caught_up=True))
    stage.gateway = type(stage.gateway)(tmp_path)
    opened, copied = list[tuple[Path, int]](), list[str]()
    async with stage.play():

        def edit(path: Path, line: int = 1) -> None:
            opened.append((path, line))

        def copy(text: str, what: str) -> None:
            copied.append(text)

        monkeypatch.setattr(stage.app, "edit_file", edit)
        monkeypatch.setattr(stage.app, "copy", copy)
        await stage.press("5", "o")
        assert "select an entry of the stream first" in notice(stage)
        await stage.press("k", "o", "2")
        assert copied == ["https://b.example/y"]
        await stage.press("k", "e")
        assert "it names no file" in notice(stage)
        await stage.press("o")
        assert copied[1:] == ["https://a.example/x"]
        for key in ("k", "e"):
            await stage.press(key)
        await stage.until(lambda: opened == [(tmp_path / "notes.md", 2)])
