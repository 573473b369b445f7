"""Experts of a registry: what it takes to run one by name, and what many of them cost the server.

The registry is the real one, on this machine; the model is scripted, so that nothing is asked.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Awaitable, Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import anyio
from pydantic import JsonValue

from bench.measure import Took, alternately, heading, median, process, program, row
from perstack.config.registry_place import RegistryPlace
from perstack.domain.registry import PublishRequest, RegistryKey, parse_key
from perstack.integrations.registry_client import HttpRegistry
from tests.fakes.registry_server import RegistryServer, registry_running

_TOML: Final = """\
model = "scripted"
[provider]
providerName = "scripted"
[provider.setting]
scenario = "scenario.toml"
[experts."solo"]
instruction = "You answer."
"""
_SCENARIO: Final = """\
[[turns]]
text = "done"
"""
_DELEGATES: Final = 32
_VERSIONS: Final = 400
_ASKED: Final = 50
_SKILLS: Final[dict[str, dict[str, JsonValue]]] = {"@perstack/base": {"type": "baseSkill"}}


@dataclass(frozen=True, slots=True)
class _Bench:
    """A registry that runs, a key for it, and a workspace with a home of its own."""

    server: RegistryServer
    key: str
    workspace: Path

    def run(self, expert: str) -> Took:
        """Run an Expert once."""
        around = {"HOME": str(self.workspace.parent), "PERSTACK_API_BASE_URL": self.server.url}
        command = program("run", expert, "go", "--yes", "--config", "perstack.toml")
        return process(command, cwd=self.workspace, env=around)


def registry(rounds: int) -> None:
    """What an Expert of the registry costs a run, and versions the server."""
    with _bench() as bench:
        anyio.run(_publish_team, bench)
        heading("Running an Expert of the registry (whole process)", floor="of the file")
        _beside_own(bench, "kept on this disk", "@acme/solo", rounds, aim="1.3")
        _beside_own(bench, f"with {_DELEGATES} delegates of it", "@acme/lead", rounds, aim="-")
        anyio.run(_versions, bench)
        bench.server.stop()
        heading("The registry is gone (whole process)", floor="of the file")
        _beside_own(bench, "kept on this disk", "@acme/solo", rounds, aim="1.3")


def _beside_own(bench: _Bench, name: str, expert: str, rounds: int, *, aim: str) -> None:
    ours, floor = alternately(rounds, lambda: bench.run(expert), lambda: bench.run("solo"))
    row(name, ours.wall_s, floor.wall_s, "s", aim)
    row("  processor time", ours.cpu_s, floor.cpu_s, "s", "-")


@contextmanager
def _bench() -> Generator[_Bench]:
    with tempfile.TemporaryDirectory(prefix="perstack-bench-") as name:
        folder = Path(name)
        workspace = folder / "work"
        for made in (workspace, folder / "registry"):
            made.mkdir()
        (workspace / "perstack.toml").write_text(_TOML)
        (workspace / "scenario.toml").write_text(_SCENARIO)
        with registry_running(folder / "registry") as server:
            yield _Bench(server, server.key("acme"), workspace)


def _client(bench: _Bench) -> HttpRegistry:
    return HttpRegistry(RegistryPlace(bench.server.url, bench.key))


def _request(name: str, version: str = "1.0.0", delegates: tuple[str, ...] = ()) -> PublishRequest:
    return PublishRequest(
        name=name,
        version=version,
        instruction="You answer.",
        skills=_SKILLS,
        delegates=delegates,
    )


async def _publish_team(bench: _Bench) -> None:
    registry = _client(bench)
    delegates = tuple(f"@acme/helper-{number}" for number in range(_DELEGATES))
    for name in ("@acme/solo", *delegates):
        await registry.publish(_request(name))
    await registry.publish(_request("@acme/lead", delegates=delegates))
    await registry.aclose()


async def _versions(bench: _Bench) -> None:
    heading(f"The server, a name of {_VERSIONS} versions", floor="of one")
    registry = _client(bench)
    few, many = parse_key("@acme/solo"), parse_key("@acme/long")
    published: list[float] = []
    for number in range(_VERSIONS):
        began = time.perf_counter()
        await registry.publish(_request(many.name, f"1.{number}.0"))
        published.append((time.perf_counter() - began) * 1000)
    first, last = median(published[:_ASKED]), median(published[-_ASKED:])
    row("publish, the last and the first versions", last, first, "ms", "flat")

    row("find", *await _took(registry.find, many, few), "ms", "flat")
    row("list of versions", *await _took(registry.versions, many, few), "ms", "-")
    await registry.aclose()


async def _took(
    ask: Callable[[RegistryKey], Awaitable[object]], many: RegistryKey, few: RegistryKey
) -> tuple[float, float]:
    """Return the milliseconds that an answer takes of each, asked for in turn."""
    took: dict[RegistryKey, list[float]] = {many: [], few: []}
    for _ in range(_ASKED):
        for key, times in took.items():
            began = time.perf_counter()
            await ask(key)
            times.append((time.perf_counter() - began) * 1000)
    return median(took[many]), median(took[few])
