"""Definitions that are saved while a server is at work: each reading opens the services anew."""

from __future__ import annotations

import os
from pathlib import Path

import anyio
import anyio.from_thread
import anyio.to_thread
import pytest

from perstack.domain.ids import ExpertKey
from perstack.errors import ConfigError, StorageError
from perstack.project import Project
from perstack.serving import backend as backends
from perstack.serving.backend import Backend, Place, Served, open_backend
from tests.fakes.cli import SCRIPTED, accept_all

pytestmark = pytest.mark.anyio

WITHIN_S = 20.0
SKILL = """
[experts."a".skills."marks"]
type = "mcpStdioSkill"
command = "true"
args = ["x"]
"""


@pytest.fixture(autouse=True)
def looks_at_each_call(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backends, "LOOK_S", 0.0)


def team(*keys: str) -> str:
    return SCRIPTED + "".join(f'\n[experts."{key}"]\ninstruction = "x"\n' for key in keys)


def save(folder: Path, text: str | bytes) -> None:
    """Save as editors do: a new file in the place of the old one."""
    new = folder / "new.toml"
    new.write_bytes(text if isinstance(text, bytes) else text.encode())
    new.replace(folder / "perstack.toml")


def keys(served: Served) -> set[ExpertKey]:
    return set(served.runtime.project.config.experts)


async def used(backend: Backend) -> set[ExpertKey]:
    async with backend.use() as served:
        return keys(served)


async def accept(folder: Path) -> None:
    await anyio.to_thread.run_sync(accept_all, folder / "perstack.toml", os.environ)


def open_generations() -> int:
    return sum(task.name == "serve:services" for task in anyio.get_running_tasks())


async def left_open(count: int) -> None:
    with anyio.fail_after(WITHIN_S):
        while open_generations() != count:
            await anyio.lowlevel.checkpoint()


async def test_a_call_under_way_keeps_what_it_began_with_and_the_old_is_closed_behind_it(
    tmp_path: Path,
) -> None:
    save(tmp_path, team("a"))
    async with open_backend(Place(tmp_path, trust=True)) as backend:
        async with backend.use() as first:
            for newer in ("b", "c", "d"):
                save(tmp_path, team(newer))
                assert await used(backend) == {newer}
            await left_open(2)
            assert keys(first) == {"a"}
            assert await first.coordination.agents.roll.here(None) == []
        await left_open(1)
        save(tmp_path, team("e"))
        assert await used(backend) == {"e"}
        await left_open(1)


@pytest.mark.parametrize("broken", ["[experts", b"\xff\xfe", "maxSteps = -1\n" + SCRIPTED])
async def test_a_broken_file_changes_nothing_and_is_told_once(
    tmp_path: Path, broken: str | bytes, caplog: pytest.LogCaptureFixture
) -> None:
    save(tmp_path, team("a"))
    async with open_backend(Place(tmp_path, trust=True)) as backend:
        assert await used(backend) == {"a"}
        save(tmp_path, broken)
        assert await used(backend) == {"a"}
        assert await used(backend) == {"a"}
        assert backend.warning is not None
        assert [record.getMessage() for record in caplog.records] == [backend.warning]
        save(tmp_path, team("b"))
        assert await used(backend) == {"b"}
        assert backend.warning is None


async def test_what_is_saved_while_the_file_is_read_is_read_again(tmp_path: Path) -> None:
    class Edited(Place):
        def read(self) -> Project:
            project = Place.read(self)
            if "b" not in project.config.experts:
                save(tmp_path, team("b"))
            return project

    save(tmp_path, team("a"))
    async with open_backend(Edited(tmp_path, trust=True)) as backend:
        assert backend.project.config.experts.keys() == {"a"}
        assert await used(backend) == {"b"}


async def test_a_call_that_is_cancelled_while_it_looks_loses_no_change(tmp_path: Path) -> None:
    cancelled = anyio.CancelScope()

    class Slow(Place):
        def seen(self) -> object:
            found = Place.seen(self)
            if b'"b"' in (tmp_path / "perstack.toml").read_bytes():
                anyio.from_thread.run_sync(cancelled.cancel)
            return found

    save(tmp_path, team("a"))
    async with open_backend(Slow(tmp_path, trust=True)) as backend:
        assert await used(backend) == {"a"}
        save(tmp_path, team("b"))
        with cancelled:
            await used(backend)
        assert cancelled.cancelled_caught
        assert await used(backend) == {"b"}


async def test_what_was_refused_is_served_once_it_was_accepted(tmp_path: Path) -> None:
    save(tmp_path, team("a"))
    await accept(tmp_path)
    async with open_backend(Place(tmp_path)) as backend:
        save(tmp_path, team("a", "b") + SKILL)
        assert await used(backend) == {"a"}
        assert backend.warning is not None
        await accept(tmp_path)
        assert await used(backend) == {"a", "b"}
        assert backend.warning is None


async def test_services_that_could_not_be_opened_are_said_so_and_tried_again(
    tmp_path: Path,
) -> None:
    refusals = [StorageError("the first time")]

    def refuse_once(_: Served) -> None:
        if refusals:
            raise refusals.pop()

    save(tmp_path, team("a"))
    async with open_backend(Place(tmp_path, trust=True)) as backend:
        backend.on_served(refuse_once)
        with pytest.raises(StorageError, match="the first time"):
            await used(backend)
        assert await used(backend) == {"a"}


async def test_a_file_that_is_gone_leaves_the_built_in_experts(tmp_path: Path) -> None:
    save(tmp_path, team("a"))
    async with open_backend(Place(tmp_path, trust=True)) as backend:
        assert await used(backend) == {"a"}
        (tmp_path / "perstack.toml").unlink()
        assert await used(backend) == set()


async def test_a_file_that_was_named_and_is_gone_changes_nothing(tmp_path: Path) -> None:
    save(tmp_path, team("a"))
    path = tmp_path / "perstack.toml"
    async with open_backend(Place(tmp_path, str(path), trust=True)) as backend:
        assert await used(backend) == {"a"}
        path.unlink()
        assert await used(backend) == {"a"}
        assert backend.warning is not None
    with pytest.raises(ConfigError):
        async with open_backend(Place(tmp_path, str(path), trust=True)):
            pass
