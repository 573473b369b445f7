"""Comparing from the cockpit: the sheet with keys, and its records over a real comparison."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import anyio
import pytest

from perstack.config.typed import Overrides
from perstack.domain.comparisons import ComparisonId
from perstack.errors import ConflictError, NotFoundError, PerstackError, UsageError
from perstack.project import Project, open_project
from perstack.runtime import open_history
from perstack.wiring import open_tables
from perstack_tui.local.comparing import compare_headless
from perstack_tui.local.records import LocalRecords
from perstack_tui.screens.compare import CompareSheet
from perstack_tui.screens.records import RecordsScreen
from perstack_tui.widgets.field import Field
from tests.fakes.comparing import Comparisons
from tests.fakes.consensus import until
from tests.fakes.cursor import KEY
from tests.fakes.gateway import running_view
from tests.fakes.hostile import WORST, assert_inert
from tests.fakes.stage import Stage

pytestmark = pytest.mark.anyio


# --- the sheet ------------------------------------------------------------------------------


async def opened(stage: Stage) -> CompareSheet:
    await stage.press("colon")
    await stage.write("compare_runtimes")
    await stage.press("enter")
    await stage.until(lambda: isinstance(stage.app.screen, CompareSheet))
    screen = stage.app.screen
    assert isinstance(screen, CompareSheet)
    return screen


async def test_the_sheet_starts_what_was_typed_and_shows_the_comparisons() -> None:
    stage = Stage(running_view())
    async with stage.play():
        await opened(stage)
        await stage.press("down")
        await stage.write(", perstack:gpt-5")
        await stage.press("enter")
        await stage.write("draft the notes")
        await stage.press("enter")
        await stage.until(lambda: isinstance(stage.app.screen, RecordsScreen))
        named = ("perstack", "claude-code", "perstack:gpt-5")
        assert stage.gateway.calls == [("compare", "researcher", "draft the notes", named)]


async def test_what_cannot_be_compared_is_said_and_nothing_is_started() -> None:
    stage = Stage(running_view())
    async with stage.play(size=(80, 24)):
        sheet = await opened(stage)
        await stage.write(", emacs")
        await stage.press("tab", "enter")
        assert "there is no runtime 'emacs'" in stage.text_of("#compare-keys")
        await stage.press(*["backspace"] * 7, "enter", "enter")
        assert "say what each of them should do" in stage.text_of("#compare-keys")
        await stage.press("escape")
        assert not sheet.is_active
        assert stage.gateway.calls == []


async def test_what_was_typed_is_kept_when_the_sheet_is_closed() -> None:
    stage = Stage(running_view())
    async with stage.play():
        await opened(stage)
        await stage.press("tab")
        await stage.write("half a task")
        await stage.press("escape")
        sheet = await opened(stage)
        assert sheet.query_one("#compare-task", Field).value == "half a task"


async def test_text_of_anybody_is_shown_inert() -> None:
    stage = Stage(running_view())
    stage.gateway.refuse = UsageError(f"no {WORST}")
    async with stage.play():
        await opened(stage)
        await stage.press("enter")
        await stage.write("go")
        await stage.press("enter")
        await stage.settle()
        for painted in stage.screen_text().splitlines():
            assert_inert(painted)


# --- the records ----------------------------------------------------------------------------


def records_of(folder: Path) -> LocalRecords:
    async def project() -> Project:
        return await anyio.to_thread.run_sync(open_project, folder, None, Overrides())

    return LocalRecords(folder, open_tables(folder), open_history(folder), project)


async def test_every_contestant_is_a_record_with_its_result_figures_and_diff(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CURSOR_API_KEY", KEY)
    made = Comparisons(tmp_path)
    records = records_of(tmp_path)
    assert await records.version() == ""
    contest = await made.run("perstack", "cursor")
    assert contest.id in await records.version()
    page = await records.page("comparisons")
    assert page.rows[0].cells[1].text == "perstack:scripted"
    assert [row.cells[0].text for row in page.rows] == ["✓ completed", "✓ completed"]
    fields = {one.name: one.text for one in await records.details("comparisons", page.rows[0].id)}
    assert fields["result"] == "Written."
    assert "+of the script" in fields["files changed"]
    assert len(fields["side by side"].splitlines()) == 3
    assert (await records.page("comparisons", needle="cursor")).total == 1
    with pytest.raises(ConflictError):
        await records.act("comparisons", page.rows[0].id, "stop")
    assert "is removed" in await records.act("comparisons", page.rows[0].id, "remove")
    assert (await records.page("comparisons")).rows == ()
    with pytest.raises(NotFoundError):
        await records.details("comparisons", page.rows[0].id)
    # Looking at comparisons makes no database.
    assert not (tmp_path / "perstack" / "perstack.db").exists()


async def test_a_comparison_that_the_cockpit_starts_is_a_process_of_its_own(
    tmp_path: Path,
) -> None:
    made = Comparisons(tmp_path)
    project = made.project(Overrides())
    start = partial(compare_headless, project, Overrides(max_steps=1), "writer")
    id_ = await start("Write it.", ["perstack", "perstack:other"])
    store = made.store

    def over() -> bool:
        return not store.get(ComparisonId(id_)).alive

    await until(over)
    assert {row.state for row in store.get(id_).shown.rows} == {"limit"}
    with pytest.raises(UsageError, match="between 2 and 8"):
        await start("Write it.", ["perstack"])


async def test_why_a_comparison_did_not_begin_is_said(tmp_path: Path) -> None:
    made = Comparisons(tmp_path)
    project = made.project(Overrides())
    (tmp_path / "perstack.toml").write_text("[snapshots]\nmaxFiles = 2\n" + made_toml(made))
    with pytest.raises(PerstackError, match="files"):
        await compare_headless(project, Overrides(), "writer", "Go.", ["perstack", "cursor"])


async def test_one_that_takes_long_to_begin_is_not_said_to_have_failed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("perstack_tui.local.comparing._BEGINS_WITHIN_S", 0.0)
    made = Comparisons(tmp_path)
    project = made.project(Overrides())
    began = await compare_headless(project, Overrides(), "writer", "Go.", ["perstack", "cursor"])

    def is_over() -> bool:
        found = made.store.list()
        return bool(found) and found[0].contest.finished_at is not None

    await until(is_over)
    assert [one.contest.id for one in made.store.list()] == [began]


def made_toml(made: Comparisons) -> str:
    text = (made.folder / "perstack.toml").read_text()
    return text.replace("\nmaxSteps = 20\n", "\n")
