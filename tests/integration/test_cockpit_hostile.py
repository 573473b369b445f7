"""Text that attacks the terminal or the toolkit, in every field that is painted."""

from __future__ import annotations

import unicodedata
from dataclasses import replace
from pathlib import Path

import pytest
from textual import events
from textual.widgets import Input

from perstack.domain.ids import ExpertKey, JobId
from perstack.errors import ConflictError
from perstack.projection.views import CallView, EntryView, InboxView, WorkspaceView
from perstack_tui.ports.gateway import DefinitionsUpdate, ExpertSummary, Trouble
from tests.fakes.gateway import NOW, decided, gate, job, points, question, run, subtask
from tests.fakes.hostile import WORST
from tests.fakes.stage import Stage

pytestmark = pytest.mark.anyio

HOSTILE = (
    "[red]markup[/] [/] [bold [@click=app.quit]x[/] [TODO] "
    "\x1b[31m\x1b]52;c;ZXZpbA==\x07\x1b]0;title\x1b\\\x9b2J\x9d0;t\x9c\x00\x07\x08\r\x7f "
    "\u202eevil\u202c\u2066\u200b\ufeff\ud800\u2028tab\there " + "long" * 3000
)
FORBIDDEN = {"Cc", "Cf", "Cs", "Zl", "Zp"}


def hostile_view() -> WorkspaceView:
    kinds = (
        "query",
        "reasoning",
        "text",
        "tool",
        "delegate",
        "question",
        "gate",
        "retry",
        "result",
        "error",
        "note",
    )
    called = CallView(HOSTILE, HOSTILE, HOSTILE, HOSTILE, HOSTILE + WORST)
    entries = tuple(
        EntryView(kind, HOSTILE, HOSTILE + "\n" + HOSTILE, timestamp=NOW, call=called)
        for kind in kinds
    )
    bad = replace(
        run("bad", "run", kinds="sd", entries=entries, doing=HOSTILE, query=HOSTILE, job="bad"),
        expert_key=ExpertKey(HOSTILE),
        job_id=JobId("bad"),
        model=HOSTILE,
        points=tuple(
            replace(point, label=HOSTILE, files=(HOSTILE,))
            for point in points("bad", "sd", start=NOW)
        ),
    )
    only = replace(job("bad", (bad,)), expert_key=ExpertKey(HOSTILE), host=HOSTILE)
    made = gate(run_name="bad", job_name="bad", subtasks=(subtask("s1", HOSTILE, agent=HOSTILE),))
    made = made.model_copy(update={"reason": HOSTILE, "expert_key": ExpertKey(HOSTILE)})
    asked = replace(
        question("q1", HOSTILE, choices=(HOSTILE, "b"), run_name="bad", job_name="bad"),
        expert_key=ExpertKey(HOSTILE),
        tool_name=HOSTILE,
        args=HOSTILE,
    )
    done = decided("gate-0", "rejected", HOSTILE, who=HOSTILE)
    return WorkspaceView((only,), InboxView((made,), (asked,), (done,)), caught_up=True)


HOSTILE_DEFINITIONS = DefinitionsUpdate(
    path=Path("/w/x/perstack\x1b.toml"),
    experts=(
        ExpertSummary(ExpertKey(HOSTILE), HOSTILE, HOSTILE, (ExpertKey(HOSTILE),), (HOSTILE,)),
    ),
    model=HOSTILE,
    changes=(HOSTILE,),
    warnings=(HOSTILE,),
    loaded_at=NOW,
)


def assert_inert(text: str) -> None:
    found = {
        character
        for character in text.replace("\n", "")
        if unicodedata.category(character) in FORBIDDEN
    }
    assert not found, ascii(found)


@pytest.mark.parametrize("size", [(80, 24), (120, 40)])
async def test_every_pane_draws_hostile_text_inert(size: tuple[int, int]) -> None:
    stage = Stage(hostile_view())
    async with stage.play(size=size, defined=HOSTILE_DEFINITIONS, here=("bad",)):
        for key in ("1", "2", "3", "4", "5"):
            await stage.press(key)
            shown = stage.screen_text()
            assert_inert(shown)
        assert "[red]markup[/]" in shown
        assert "‹U+202E›" in stage.screen_text() or "‹U+001B›" in stage.screen_text()


async def test_every_sheet_draws_hostile_text_inert() -> None:
    stage = Stage(hostile_view())
    async with stage.play(defined=HOSTILE_DEFINITIONS, here=("bad",)):
        for keys in (("4", "enter"), ("4", "j", "enter"), ("n",), ("x",), ("q",)):
            await stage.press(*keys)
            assert_inert(stage.screen_text())
            await stage.press("escape", "escape")


async def test_review_exposes_hidden_characters() -> None:
    stage = Stage(hostile_view())
    async with stage.play(defined=HOSTILE_DEFINITIONS, here=("bad",)):
        await stage.press("4", "enter")
        shown = stage.screen_text()
        assert "‹U+202E›" in shown
        assert "‹U+001B›" in shown


async def test_hostile_errors_and_troubles_are_drawn_inert() -> None:
    stage = Stage(hostile_view())
    broken = replace(HOSTILE_DEFINITIONS, error=HOSTILE, error_hint=HOSTILE)
    async with stage.play(defined=broken, here=("bad",)):
        stage.gateway.say(Trouble(HOSTILE, HOSTILE))
        await stage.until(lambda: stage.app.state.notice is not None)
        await stage.settle()
        assert_inert(stage.screen_text())
        await stage.press("4", "enter")
        stage.gateway.refuse = ConflictError(HOSTILE, hint=HOSTILE)
        await stage.press("r")
        assert_inert(stage.screen_text())


async def test_what_is_drawn_never_reaches_the_screen_as_a_control_sequence() -> None:
    stage = Stage(hostile_view())
    async with stage.play(defined=HOSTILE_DEFINITIONS, here=("bad",)):
        svg = stage.app.export_screenshot()
        assert_inert(svg)


async def test_pasting_a_megabyte_with_controls_leaves_clean_text_in_the_field() -> None:
    stage = Stage(hostile_view())
    async with stage.play(here=("bad",)):
        await stage.press("n")
        stage.app.post_message(events.Paste("\x1b]52;c;x\x07 two\nlines " + "x" * 1_000_000))
        await stage.settle()
        field = stage.app.screen.query_one("#query", Input)
        assert_inert(field.value)
        assert "two lines" in field.value
        assert len(field.value) <= 20_000
