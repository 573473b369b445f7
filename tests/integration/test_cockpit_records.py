"""The records screen with keys: lists, details, filters and verbs, over made-up records."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import pytest

from perstack.errors import ConflictError, StorageError
from perstack.projection.views import WorkspaceView
from perstack_tui.ports.records import Cell, Column, Field, RecordKind, Row
from perstack_tui.screens.records import RecordsScreen
from tests.fakes.gateway import busy_view
from tests.fakes.hostile import WORST, assert_aligned, assert_inert
from tests.fakes.records import COMPLETE, many, tasks
from tests.fakes.stage import Stage

pytestmark = pytest.mark.anyio
IDLE = WorkspaceView(caught_up=True)


@asynccontextmanager
async def opened(
    stage: Stage,
    kind: RecordKind = "tasks",
    *,
    size: tuple[int, int] = (120, 40),
    needle: str = "",
) -> AsyncGenerator[RecordsScreen]:
    async with stage.play(size=size, here=()):
        stage.app.open_records(kind, needle)
        await stage.until(lambda: isinstance(stage.app.screen, RecordsScreen))
        screen = stage.app.screen
        assert isinstance(screen, RecordsScreen)
        await loaded(stage, screen)
        yield screen


async def loaded(stage: Stage, screen: RecordsScreen) -> None:
    at = screen.at
    await stage.until(lambda: at.page is not None and not screen.loader.busy)
    await stage.settle()


async def test_typed_kinds_are_listed_read_filtered_and_left() -> None:
    stage = Stage(busy_view())
    async with stage.play(size=(120, 40)):
        await stage.press("colon")
        await stage.write("tasks")
        await stage.press("enter")
        await stage.until(lambda: isinstance(stage.app.screen, RecordsScreen))
        screen = stage.app.screen
        assert isinstance(screen, RecordsScreen)
        await loaded(stage, screen)
        listed = stage.text_of("#records-list")
        assert "● running" in listed
        assert "Translate the notes 漢字" in listed
        assert "task-0" in stage.text_of("#records-detail")
        await stage.press("G")
        assert screen.at.row_id == "task-3"
        await loaded(stage, screen)
        assert "task-3" in stage.text_of("#records-detail")
        await stage.rush("slash", *"link")
        await stage.until(lambda: screen.at.page is not None and screen.at.page.total == 1)
        await stage.press("enter")
        await loaded(stage, screen)
        assert "1 with /link" in stage.text_of("#records-list")
        assert screen.at.row_id == "task-1"
        await stage.press("escape")
        await stage.until(lambda: screen.at.page is not None and screen.at.page.total == 4)
        assert screen.at.row_id == "task-1"
        await stage.press("tab")
        await stage.until(lambda: "There are no memory yet." in stage.text_of("#records-list"))
        await stage.press("shift+tab")
        await loaded(stage, screen)
        assert screen.at.row_id == "task-1"
        await stage.press("colon")
        await stage.write("limits")
        await stage.press("enter")
        assert screen.at.kind == "limits"
        await stage.press("q")
        assert not isinstance(stage.app.screen, RecordsScreen)


async def test_verbs_ask_warn_act_and_say_what_came_of_it() -> None:
    stage = Stage(IDLE)
    async with opened(stage) as screen:
        await stage.press("c")
        await stage.write("all there")
        await stage.press("enter")
        await stage.until(lambda: screen.at.said == "complete: done")
        assert stage.gateway.calls[-1] == ("act", "tasks", "task-0", "complete", "all there")
        await loaded(stage, screen)
        await stage.until(lambda: COMPLETE not in screen.at.verbs)
        await stage.press("D")
        assert "It is gone for good." in stage.text_of("#confirm")
        assert "Write the release notes" in stage.text_of("#confirm")
        await stage.press("enter", "escape")
        assert len(stage.gateway.calls) == 1
        await stage.press("D", "y")
        await stage.until(lambda: screen.at.row_id == "task-1")
        assert stage.gateway.calls[-1] == ("act", "tasks", "task-0", "delete", None)
        await stage.press("r")
        await stage.press("enter")
        assert "say why" in stage.text_of("#ask-keys")
        await stage.write("no")
        await stage.press("enter")
        assert "“no”" in stage.text_of("#confirm")
        await stage.press("y")
        await stage.until(lambda: screen.at.said == "reject: done")
        stage.gateway.records.refuse_act = ConflictError("somebody was first", hint="look again")
        await stage.press("n")
        await stage.write("x")
        await stage.press("enter")
        await stage.until(lambda: screen.at.problem != "")
        assert "somebody was first - look again" in stage.text_of("#records-notice")
        assert stage.gateway.calls[-1] == ("act", "tasks", None, "new", "x")


async def test_keys_typed_or_pasted_in_a_rush_do_nothing_to_a_record() -> None:
    stage = Stage(IDLE)
    async with opened(stage) as screen:
        stage.seconds.now += 2
        await stage.burst("c")
        assert not isinstance(stage.app.screen, RecordsScreen)
        await stage.press("escape")
        await stage.rush("j")
        screen.on_paste(_paste())
        await stage.press("D", after=0.1)
        assert stage.app.screen is screen
        await stage.press("D")
        assert stage.app.screen is not screen


def _paste():
    from textual import events

    return events.Paste("DyDy")


async def test_an_observing_cockpit_looks_and_refuses_verbs() -> None:
    stage = Stage(IDLE, observing=True)
    async with opened(stage) as screen:
        assert "only observes" in stage.text_of("#records-verbs")
        await stage.press("D", "c", "n")
        assert stage.app.screen is screen
        assert stage.gateway.calls == []


@pytest.mark.long
async def test_records_come_as_one_moves_and_stay_selected_as_they_change() -> None:
    stage = Stage(IDLE)
    records = stage.gateway.records
    records.put("memory", many(950))
    async with opened(stage, "memory") as screen:
        assert "200 of 950" in stage.text_of("#records-list")
        await stage.press(*["pagedown"] * 6)
        await stage.until(lambda: screen.at.page is not None and len(screen.at.page.rows) == 400)
        selected = screen.at.row_id
        assert selected is not None
        records.put("memory", [*many(950)[50:], *tasks()])
        await stage.until(lambda: screen.at.page is not None and screen.at.page.total == 904)
        assert screen.at.row_id == selected
        await stage.press("G")
        await stage.until(lambda: screen.at.row_id == "task-3")
        assert "904" in stage.text_of("#records-list")
        records.put("memory", many(3))
        await stage.until(lambda: screen.at.row_id == "row-2")


async def test_nothing_is_loaded_or_painted_while_nothing_changes() -> None:
    stage = Stage(IDLE)
    async with opened(stage) as screen:
        asked = len(stage.gateway.records.asked)
        looks = stage.gateway.records.looks
        await stage.until(lambda: stage.gateway.records.looks >= looks + 2)
        assert len(stage.gateway.records.asked) == asked
        await stage.press("q")
        await stage.until(lambda: not screen.is_attached)
        assert screen.loader.following


@pytest.mark.long
async def test_what_cannot_be_read_is_said_and_read_again_when_it_can() -> None:
    stage = Stage(IDLE)
    stage.gateway.records.refuse = StorageError("the database is damaged", hint="restore it")
    async with stage.play(here=()):
        stage.app.open_records("tasks")
        await stage.until(lambda: bool(stage.app.screen.query("#records-keys")))
        await stage.until(lambda: "damaged - restore it" in stage.text_of("#records-notice"))
        stage.gateway.records.refuse = None
        await stage.until(lambda: "● running" in stage.text_of("#records-list"))
        assert "damaged" not in stage.text_of("#records-notice")


async def test_a_narrow_screen_opens_the_details_over_the_list() -> None:
    stage = Stage(IDLE)
    async with opened(stage, size=(60, 14)) as screen:
        assert not screen.query_one("#records-detail").display
        await stage.press("enter")
        assert "task-0" in stage.text_of("#records-detail")
        assert not screen.query_one("#records-list").display
        await stage.press("escape")
        assert screen.query_one("#records-list").display


@pytest.mark.parametrize(
    "size",
    [
        pytest.param((40, 12), marks=pytest.mark.long),
        (80, 24),
        pytest.param((120, 40), marks=pytest.mark.long),
    ],
)
async def test_hostile_records_are_painted_inert_and_aligned(size: tuple[int, int]) -> None:
    stage = Stage(IDLE)
    records = stage.gateway.records
    records.columns = (Column(WORST, 9), Column("a", 0), Column("b", 6, right=True))
    cells = tuple(Cell(WORST[at:], "text") for at in (0, 40, 200))
    records.put("tasks", [Row(f"{WORST}{at}", cells, (COMPLETE,)) for at in range(3)])
    for at in range(3):
        records.details_of[f"{WORST}{at}"] = (Field(WORST, WORST), Field("x", "\x1b]0;t\x07"))
    async with opened(stage, size=size, needle="") as screen:
        for keys in (("j",), ("enter",), ("escape",), ("c",)):
            await stage.press(*keys)
            for line in stage.screen_text().split("\n"):
                assert_inert(line)
        await stage.press("escape")
        for pane in ("#records-list", "#records-detail"):
            for line in stage.text_of(pane).split("\n"):
                if line:
                    assert_aligned(line, screen.query_one(pane).size.width)
