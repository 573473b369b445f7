"""A process with a coordinator is killed; nobody takes its agents for workers that wait."""

from __future__ import annotations

import multiprocessing
from itertools import count
from pathlib import Path

import anyio
import pytest
from anyio import to_thread

from perstack.domain.agents import LOST_AFTER_MS
from perstack.domain.ids import TaskId
from perstack.services.coordinator import HierarchicalCoordinator
from tests.fakes.agents import make_process
from tests.fakes.coordinator_workers import coordinate_until_killed, open_place
from tests.fakes.runner import make_answer

pytestmark = pytest.mark.anyio


def kill_at_work(path: Path) -> None:
    """Start the process, wait until one worker is at work and one idle, and kill it."""
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    process = context.Process(target=coordinate_until_killed, args=(path, there))
    process.start()
    try:
        assert here.poll(30), "no worker ever was at work"
    finally:
        process.kill()
        process.join(10)
        process.close()


async def test_a_killed_coordinator_and_its_workers_are_gone_and_its_task_is_done(
    tmp_path: Path,
) -> None:
    path = tmp_path / "perstack.db"
    await to_thread.run_sync(kill_at_work, path)
    async with open_place(path, lambda _: make_answer("coded")) as place:
        lost = await place.roll.mark_lost()
        assert sorted((one.type, one.status, one.lost) for one in lost) == [
            ("coder", "stopped", True),
            ("coordinator", "stopped", True),
            ("tester", "stopped", True),
        ]
        assert await place.roll.list() == []
        again = await place.agents.spawn("tester", name=lost[0].name)
        assert again.name == lost[0].name
        async with HierarchicalCoordinator.open(place.parts):
            await place.until_done()
        for name in ("t1", "t2"):
            task_id = TaskId(name)
            task = await place.stores.ask(lambda stores, task_id=task_id: stores.tasks.get(task_id))
            assert task.status == "completed"


async def test_a_coordinator_that_was_taken_for_dead_is_there_again_under_a_new_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("perstack.services.coordinator._BEAT_S", 0.02)
    async with (
        open_place(tmp_path / "perstack.db", lambda _: make_answer("done")) as place,
        HierarchicalCoordinator.open(place.parts) as coordinator,
    ):
        first = (await coordinator.status()).coordinator
        assert [one.status for one in await place.roll.list()] == ["running"]
        (alive,) = await place.stores.ask(lambda stores: stores.agents.processes())
        # As another process would, had this one slept.
        silent = make_process(alive.id, beat_at=alive.beat_at + LOST_AFTER_MS)
        now_ms = silent.beat_at + LOST_AFTER_MS
        lost = await place.stores.ask(lambda s: s.agents.mark_lost([silent], now_ms=now_ms))
        assert [one.id for one in lost] == [first.id]
        second = first
        with anyio.fail_after(15):
            for _ in count():
                second = (await coordinator.status()).coordinator
                if second.id != first.id:
                    break
                await anyio.sleep(0.01)
        assert [one.id for one in await place.roll.list()] == [second.id]
    async with open_place(tmp_path / "perstack.db", lambda _: make_answer()) as place:
        assert await place.roll.list() == []
