"""An Expert of a registry in a real tmux: the real program, a real registry, keys typed."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import anyio
import pytest
from pydantic import JsonValue

from perstack.config.registry_place import RegistryPlace
from perstack.domain.registry import Definition, PublishRequest
from perstack.integrations.registry_client import HttpRegistry
from tests.fakes.registry_server import RegistryServer, registry_running
from tests.fakes.tmux import Tmux, in_tmux

pytestmark = pytest.mark.skipif(shutil.which("tmux") is None, reason="there is no tmux here")

BASE: Final[dict[str, dict[str, JsonValue]]] = {
    "@perstack/base": {
        "type": "mcpStdioSkill",
        "command": "npx",
        "packageName": "@perstack/base",
    }
}
GAME: Final = Definition(
    name="tic-tac-toe",
    version="1.0.0",
    description="Plays with you",
    instruction="Play.\nTo win.",
    skills=BASE,
)
TEAM: Final = """# the team
provider = { providerName = "scripted" }

[experts.lead] # leads
instruction = "Lead."
"""


async def _publish(server: RegistryServer) -> None:
    registry = HttpRegistry(RegistryPlace(server.url, server.key(None)))
    try:
        await registry.publish(PublishRequest.model_validate(GAME.model_dump()))
    finally:
        await registry.aclose()


@contextmanager
def played(
    folder: Path, *words: str, toml: str | None = None, size: tuple[int, int] = (80, 24)
) -> Generator[Tmux]:
    """Run `perstack` in a folder, over a registry that has a game."""
    work = folder / "work"
    work.mkdir()
    (work / "play.toml").write_text('[[turns]]\ntext = "Your move."\n')
    if toml is not None:
        (work / "perstack.toml").write_text(toml)
    with registry_running(folder / "registry") as server:
        anyio.run(_publish, server)
        env = {
            "HOME": str(folder),
            "XDG_CONFIG_HOME": str(folder / "config"),
            "XDG_CACHE_HOME": str(folder / "cache"),
            "XDG_STATE_HOME": str(folder / "state"),
            "PERSTACK_API_BASE_URL": server.url,
            "TERM": "tmux-256color",
        }
        command = [sys.executable, "-m", "perstack", *words]
        with in_tmux(command, cwd=work, env=env, size=size) as pane:
            yield pane


@pytest.mark.long
def test_one_runs_by_name_in_an_empty_folder_once_it_was_read_and_accepted(
    tmp_path: Path,
) -> None:
    typed = ("--provider", "scripted", "--scenario", "play.toml")
    with played(tmp_path, "start", "tic-tac-toe", "Let's play!", *typed) as pane:
        pane.until("Run Experts of the registry?", "tic-tac-toe@1.0.0", "To win.")
        pane.press_when_quiet("PageDown")
        pane.press_when_quiet("y")
        pane.until("Your move.", "done")
    assert not (tmp_path / "work" / "perstack.toml").exists()


@pytest.mark.long
def test_one_is_searched_read_and_added_with_its_change_shown(tmp_path: Path) -> None:
    with played(tmp_path, toml=TEAM, size=(120, 40)) as pane:
        pane.until("1 Expert")
        pane.press_when_quiet("E")
        pane.until("tic-tac-toe", "✓ available")
        pane.press("/")
        pane.type("zzz")
        pane.until("Nothing in the registry has 'zzz'")
        pane.press("Escape")
        pane.until("tic-tac-toe")
        pane.press_until("Enter", "Registry · tic-tac-toe@1.0.0")
        pane.until("To win.")
        pane.press("a")
        pane.until('+ delegates = ["tic-tac-toe"]')
        pane.press_when_quiet("y")
        pane.until("lead delegates to tic-tac-toe now")
        file = tmp_path / "work" / "perstack.toml"
        assert file.read_text() == TEAM + 'delegates = ["tic-tac-toe"]\n'
        pane.press_when_quiet("u")
        pane.until("undone: perstack.toml is as it was before")
        assert file.read_bytes() == TEAM.encode()


@pytest.mark.long
def test_one_that_is_started_from_its_card_is_shown(tmp_path: Path) -> None:
    with played(tmp_path, "start", "--scenario", "play.toml", toml=TEAM) as pane:
        pane.until("1 Expert")
        pane.press_when_quiet("E")
        pane.until("tic-tac-toe")
        pane.press_until("Enter", "Registry · tic-tac-toe@1.0.0")
        pane.until("20 of 25")
        pane.press("n")
        pane.until("from the registry")
        pane.type("play")
        pane.press_when_quiet("Enter")
        pane.until("Run Experts of the registry?", "once read to the end")
        pane.press_when_quiet("G")
        pane.press_when_quiet("y")
        pane.until("Your move.", "done")
