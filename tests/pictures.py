"""Pictures for the docs, of the real program: the demonstration, played and driven by keys.

`python -m tests.pictures [FOLDER]` writes them, to docs/pictures by default. Ids, times and ages
differ from one making to the next; what is on them does not.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Final

import anyio
from textual.pilot import Pilot

from perstack.config.process_env import process_environment
from perstack.config.typed import Overrides
from perstack.domain.ids import ExpertKey
from perstack.ports.frontend import CockpitRequest, Setup
from perstack.projection.workspace import WorkspaceFold
from perstack_tui.app import Cockpit
from perstack_tui.local.gateway import open_local_gateway
from perstack_tui.opening import Opening
from perstack_tui.picture import without_secrets
from perstack_tui.ports.gateway import Gateway

ROOT: Final = Path(__file__).parents[1]
FOLDER: Final = ROOT / "docs" / "pictures"
DESK: Final = (120, 40)
WALL: Final = (200, 60)
PACE: Final = 0.2
WITHIN_S: Final = 90.0
# Keys that count only once the keyboard was quiet, as after a sheet.
QUIET_S: Final = 1.6


def furnished(workspace: Path) -> Path:
    """Fill a folder with the example team and what it works on."""
    demo = ROOT / "core" / "perstack" / "demo"
    shutil.copytree(demo / "workspace", workspace)
    shutil.copy(demo / "demo.scenario.toml", workspace)
    shutil.copy(ROOT / "perstack.toml", workspace)
    return workspace


def cockpit(workspace: Path) -> Cockpit:
    """Return the cockpit that `perstack demo` opens."""
    over = Overrides(provider="scripted", scenario="demo.scenario.toml", pace=PACE)
    request = CockpitRequest(
        workspace=workspace,
        runtime=Setup(workspace / "perstack.toml", over, None, named=True, trust=True),
    )

    async def open_gateway() -> Gateway:
        return await open_local_gateway(request)

    return Cockpit(
        Opening(
            workspace,
            open_gateway,
            WorkspaceFold,
            expert_key=ExpertKey("release-captain"),
            query="Take the next release from commits to production.",
            reviewer="ana@pi",
        )
    )


class Camera:
    """Drives one cockpit and takes pictures of it."""

    def __init__(self, app: Cockpit, pilot: Pilot[int], folder: Path) -> None:
        self._app = app
        self._pilot = pilot
        self._folder = folder

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait until the program is where it is to be seen."""
        with anyio.fail_after(WITHIN_S):
            while not condition():
                await self._pilot.pause(0.05)
        await self._pilot.pause(0.3)

    async def press(self, *keys: str) -> None:
        """Press keys as a person does who looks at what they do."""
        await self._pilot.pause(QUIET_S)
        for key in keys:
            await self._pilot.press(key)
            await self._pilot.pause(0.3)

    async def resize(self, size: tuple[int, int]) -> None:
        """Make the terminal another size."""
        await self._pilot.resize_terminal(*size)
        await self._pilot.pause(0.5)

    def take(self, name: str) -> None:
        """Write what is on the screen."""
        svg = self._app.export_screenshot(title="perstack")
        path = self._folder / f"{name}.svg"
        path.write_text(without_secrets(svg, process_environment()), "utf-8")
        print(path)  # noqa: T201


def waits(app: Cockpit, kind: str) -> bool:
    """Say whether something of the kind waits for a person."""
    return any(item.key.kind == kind for item in app.state.pending)


async def take_all(folder: Path) -> None:
    """Play the demonstration, answer it, and look at its first gate from all sides."""
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="perstack-pictures-") as scratch:
        app = cockpit(furnished(Path(scratch) / "release"))
        async with app.run_test(size=DESK) as pilot:
            camera = Camera(app, pilot, folder)
            await camera.until(lambda: waits(app, "ask"))
            await camera.press("4", "enter")
            camera.take("question")
            await camera.press("1", "enter")
            await camera.until(lambda: waits(app, "gate"))
            camera.take("overview")
            await camera.resize(WALL)
            camera.take("wall")
            await camera.resize(DESK)
            await camera.press("4", "enter")
            camera.take("review")
            await camera.press("escape")
            await camera.press("ctrl+p", *"fork")
            camera.take("palette")
            await camera.press("escape")
            await camera.press("2", "h", "enter")
            camera.take("travel")
            await camera.press("escape")
            app.leave(0)
            await camera.until(lambda: not app.is_running)


if __name__ == "__main__":
    anyio.run(take_all, Path(sys.argv[1]) if len(sys.argv) > 1 else FOLDER)
