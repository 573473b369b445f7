"""Eight processes that store, search, create tasks and decide in one database: nothing is lost."""

from __future__ import annotations

from pathlib import Path

import anyio.to_thread
import pytest

from perstack.domain.ids import ConsensusId
from perstack.domain.memory import Caller
from perstack.ports.tasks import TaskFilter
from perstack.wiring import DATABASE_URL, memory_over, open_tables
from tests.fakes import crowd
from tests.fakes.consensus_workers import join, processes

pytestmark = pytest.mark.anyio

PARTIES = 8


@pytest.mark.parametrize(
    "rounds", [8, pytest.param(250, marks=(pytest.mark.long, pytest.mark.timeout(600)))]
)
async def test_a_crowd_of_processes_loses_nothing_and_sees_no_lock(
    database_target: Path | str, tmp_path: Path, rounds: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = database_target if isinstance(database_target, str) else None
    if url is not None:
        monkeypatch.setenv(DATABASE_URL, url)
    tables = open_tables(tmp_path)
    await crowd.propose(tables, rounds)
    done = await anyio.to_thread.run_sync(_crowd, tmp_path, url, rounds)

    assert [one.error for one in done if one.error] == []
    memory = memory_over(tables, crowd.FACTS)
    entries = (await memory.list(Caller(name="me"), limit=1)).total
    own = PARTIES * ((rounds + 1) // 2)
    assert entries == own + min(crowd.SHARED_KEYS, rounds) // 2
    tasks = await tables.stores.ask(lambda s: s.tasks.count(TaskFilter()))
    assert (tasks.total, tasks.completed) == (PARTIES * rounds, PARTIES * rounds)
    await _check_decisions(tables, done, rounds)
    await tables.aclose()


async def _check_decisions(tables: crowd.Tables, done: list[crowd.Done], rounds: int) -> None:
    won = {gate: one.party for one in done for gate in one.won}
    assert sum(len(one.won) for one in done) == len(won) == rounds
    for gate, party in won.items():
        checkpoint = await tables.stores.ask(
            lambda s, gate=gate: s.consensus.get(ConsensusId(gate))
        )
        assert checkpoint.decision is not None
        assert checkpoint.decision.reviewed_by == f"party-{party}"
        entries = await tables.stores.ask(lambda s, gate=gate: s.consensus.audit(ConsensusId(gate)))
        assert len([one for one in entries if one.event in ("approved", "rejected")]) == 1


def _crowd(workspace: Path, url: str | None, rounds: int) -> list[crowd.Done]:
    context = processes()
    start, done = context.Barrier(PARTIES), context.Queue()
    started = [
        context.Process(
            target=crowd.take_part, args=(workspace, url, party, rounds, start, done), daemon=True
        )
        for party in range(PARTIES)
    ]
    for process in started:
        process.start()
    found = [done.get(timeout=500) for _ in started]
    join(started)
    return found
