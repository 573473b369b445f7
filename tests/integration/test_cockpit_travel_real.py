"""Time travel and hot reload by keys, over the real gateway: real files, real history."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from textual.pilot import Pilot

from perstack.config.typed import Overrides
from perstack.domain.ids import ExpertKey
from perstack.ports.frontend import CockpitRequest, Setup
from perstack.projection.workspace import WorkspaceFold
from perstack_tui.app import Cockpit
from perstack_tui.local.gateway import open_local_gateway
from perstack_tui.opening import Opening
from perstack_tui.ports.gateway import Gateway
from perstack_tui.screens.main import MainScreen
from perstack_tui.widgets.pane import Pane
from tests.fakes.stage import HandClock

pytestmark = [pytest.mark.anyio, pytest.mark.long]

TOML = """
[provider]
providerName = "scripted"
[provider.setting]
scenario = "play.toml"
[experts.writer]
version = "1.0.0"
instruction = "Write."
"""
PLAY = """
[[turns]]
turn = 1
calls = [{ tool = "writeTextFile", args = { path = "a.txt", text = "one\\n" } }]
[[turns]]
turn = 2
calls = [{ tool = "writeTextFile", args = { path = "a.txt", text = "two\\n" } }]
[[turns]]
text = "done {{turn}}"
"""


class Driven:
    """The real cockpit, by keys."""

    def __init__(self, app: Cockpit, pilot: Pilot[int], seconds: HandClock) -> None:
        self.app = app
        self._pilot = pilot
        self._seconds = seconds

    async def press(self, *keys: str) -> None:
        for key in keys:
            self._seconds.now += 1
            await self._pilot.press(key)
            await self._pilot.pause(0.02)

    def shows(self, selector: str, text: str) -> bool:
        found = self.app.screen.query(selector).results(Pane)
        return any(
            text in pane.render_line(y).text for pane in found for y in range(pane.size.height)
        )

    async def until_shown(self, selector: str, text: str) -> None:
        for _ in range(1000):
            if self.shows(selector, text):
                return
            await self._pilot.pause(0.02)
        raise AssertionError(f"{text!r} was never shown in {selector}")

    async def until_main(self) -> None:
        for _ in range(1000):
            if isinstance(self.app.screen, MainScreen):
                return
            await self._pilot.pause(0.02)
        raise AssertionError("the sheet did not close")


@asynccontextmanager
async def driven(workspace: Path) -> AsyncGenerator[Driven]:
    setup = Setup(workspace / "perstack.toml", Overrides(pace=0), None, named=True)
    seconds = HandClock()

    async def opened() -> Gateway:
        return await open_local_gateway(CockpitRequest(workspace=workspace, runtime=setup))

    opening = Opening(
        workspace,
        opened,
        WorkspaceFold,
        expert_key=ExpertKey("writer"),
        query="write",
        monotonic=seconds,
    )
    app = Cockpit(opening)
    async with app.run_test(size=(120, 40)) as pilot:
        yield Driven(app, pilot, seconds)
        app.leave(0)


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    folder = tmp_path / "notes"
    folder.mkdir()
    (folder / "perstack.toml").write_text(TOML)
    (folder / "play.toml").write_text(PLAY)
    return folder


async def test_the_past_is_looked_at_restored_resumed_and_forked(workspace: Path) -> None:
    async with driven(workspace) as cockpit:
        await cockpit.until_shown("#tree", "done")
        await cockpit.press("2", "enter")
        await cockpit.until_shown("#travel-strip", "3 of 3")
        await cockpit.press("g")
        await cockpit.until_shown("#travel-list", "writeTextFile a.txt")
        await cockpit.press("m", "l", "c", "tab")
        await cockpit.until_shown("#travel-list", "a.txt")
        await cockpit.until_shown("#travel-detail", "-one")
        assert cockpit.shows("#travel-detail", "+two")
        assert (workspace / "a.txt").read_text() == "two\n"
        await cockpit.press("h", "W")
        await cockpit.until_shown("#plan-consequence", "1 file written")
        await cockpit.press("W")
        await cockpit.until_main()
        assert (workspace / "a.txt").read_text() == "one\n"
        job = cockpit.app.state.job
        assert job is not None
        await cockpit.press("enter", "g", "R")
        await cockpit.until_shown("#plan-consequence", "2 later checkpoints stay, a branch")
        await cockpit.press("R")
        await cockpit.until_main()
        await cockpit.until_shown("#timeline", "5 checkpoints")
        await cockpit.press("enter", "g", "F")
        await cockpit.until_shown("#plan-consequence", "in a folder of its own")
        await cockpit.press("F")
        await cockpit.until_main()
        folders = [path for path in workspace.parent.iterdir() if path != workspace]
        assert len(folders) == 1
        assert (folders[0] / "a.txt").exists()


async def test_a_save_is_shown_with_what_it_changed_and_where(workspace: Path) -> None:
    async with driven(workspace) as cockpit:
        await cockpit.until_shown("#tree", "done")
        file = workspace / "perstack.toml"
        file.write_text(
            TOML.replace("1.0.0", "1.1.0").replace('"Write."', '"""\nWrite.\nBe brief."""')
            + '[experts.reviewer]\ninstruction = "Review."\n'
        )
        for _ in range(200):
            if cockpit.app.state.definitions.saves:
                break
            await cockpit.press("6")
        (save,) = cockpit.app.state.definitions.saves
        assert [one.key for one in save.diff.experts] == ["writer", "reviewer"]
        assert [one.line for one in cockpit.app.state.definitions.experts] == [6, 11]
        await cockpit.press("ctrl+r")
        await cockpit.until_shown("#definitions", "writer 1.0.0 → 1.1.0")
        assert cockpit.shows("#definitions", "+Be brief.")
        await cockpit.press("escape")
        file.write_text(TOML.replace("instruction", "instrution"))
        for _ in range(200):
            if cockpit.app.state.definitions.error:
                break
            await cockpit.press("6")
        await cockpit.press("ctrl+r")
        await cockpit.until_shown("#definitions", "perstack.toml:")
        assert cockpit.shows("#definitions", "stays in force")
