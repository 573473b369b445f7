"""Eight processes over one queue: nothing is lost, nothing is done twice, nobody is locked out."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from perstack.domain.tasks import TaskCounts
from perstack.ports.system import SystemClock, Uuids
from perstack.ports.tasks import TaskFilter
from perstack.storage.database.opener import open_stores
from tests.fakes import task_workers as workers
from tests.fakes.consensus_workers import join, processes

pytestmark = pytest.mark.anyio

PROCESSES = 8


@pytest.mark.parametrize(
    "each", [6, pytest.param(250, marks=[pytest.mark.long, pytest.mark.timeout(900)])]
)
async def test_eight_processes_never_get_the_same_task(
    database_target: Path | str, each: int
) -> None:
    stores = await open_stores(database_target, clock=SystemClock(), ids=Uuids())
    context = processes()
    start = context.Barrier(PROCESSES)
    took = context.Queue()
    started = [
        context.Process(target=workers.work_off, args=(database_target, f"w{n}", each, start, took))
        for n in range(PROCESSES)
    ]
    for one in started:
        one.start()
    done = [name for _ in started for name in took.get(timeout=800)]
    join(started)
    expected = sorted(f"w{w}-{n}" for w in range(PROCESSES) for n in range(each))
    assert sorted(done) == expected
    counts = await stores.tasks.count(TaskFilter())
    assert counts == TaskCounts(total=PROCESSES * each, completed=PROCESSES * each)
    assert (await stores.task_queue.status()).total == 0
    await stores.aclose()
    if isinstance(database_target, Path):
        with closing(sqlite3.connect(database_target)) as raw:
            assert raw.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
            assert raw.execute("PRAGMA foreign_key_check").fetchall() == []
