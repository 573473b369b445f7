"""Many store at once: nothing fails, nothing is lost, the index fits the entries (G11)."""

from __future__ import annotations

import sqlite3
from collections import Counter
from contextlib import closing
from pathlib import Path

import pytest

from perstack.domain.memory import Scope
from perstack.ports.memory import MemoryStore
from perstack.ports.system import SystemClock, Uuids
from perstack.storage.database.opener import open_memory_store
from tests.fakes import consensus_workers, memory_workers

pytestmark = pytest.mark.anyio

SAMPLED = pytest.mark.parametrize(
    ("parties", "writes"),
    [
        (4, 50),
        pytest.param(10, 1_000, marks=[pytest.mark.long, pytest.mark.timeout(600)]),
    ],
)


def check_integrity(path: Path) -> None:
    with closing(sqlite3.connect(path)) as raw:
        assert raw.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert raw.execute("PRAGMA foreign_key_check").fetchall() == []
        # Raises when the words of the index are not those of the entries.
        raw.execute("INSERT INTO memory_text (memory_text, rank) VALUES ('integrity-check', 1)")


def write_at_once(target: Path | str, parties: int, writes: int) -> list[memory_workers.Written]:
    context = consensus_workers.processes()
    start, results = context.Barrier(parties), context.Queue()
    started = [
        context.Process(target=memory_workers.write, args=(target, party, writes, start, results))
        for party in range(parties)
    ]
    for process in started:
        process.start()
    written = [results.get(timeout=500) for _ in started]
    consensus_workers.join(started)
    return written


async def check_nothing_lost(store: MemoryStore, parties: int, writes: int) -> None:
    everything = Scope()
    total, page = await store.list(everything, limit=100_000, offset=0)
    keys = Counter(one.key.split("-")[0] for one in page)
    used = len({n % memory_workers.SHARED for n in range(1, writes, 2)})
    assert keys == {"own": parties * writes // 2, "shared": used}
    assert total == len(page)
    again = 0
    for one in page:
        if one.key.startswith("shared-"):
            versions = await store.versions(everything, one.id)
            assert [old.version for old in versions] == list(range(len(versions), 0, -1))
            again += len(versions)
    assert again == parties * writes // 2 - used


@SAMPLED
async def test_of_many_processes_that_store_at_once_none_fails_and_nothing_is_lost(
    database_target: Path | str, parties: int, writes: int
) -> None:
    store = await open_memory_store(database_target, clock=SystemClock(), ids=Uuids())
    await store.version()
    written = write_at_once(database_target, parties, writes)
    assert [one.error for one in written] == [None] * parties
    took = sorted(ms for one in written for ms in one.took_ms)
    assert len(took) == parties * writes
    await check_nothing_lost(store, parties, writes)
    await store.aclose()
    if isinstance(database_target, Path):
        check_integrity(database_target)
