"""Many decide, write, migrate and die at once: one wins, nothing is lost (G1, G2, G4, G11-G14)."""

from __future__ import annotations

import os
import signal
import sqlite3
from collections import defaultdict
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import anyio
import pytest

from perstack.domain.ids import ConsensusId
from perstack.errors import ConflictError
from perstack.ports.consensus import ConsensusStore
from perstack.ports.system import SystemClock
from perstack.storage.database.migrations import MIGRATIONS
from perstack.storage.database.opener import open_consensus_store
from tests.fakes import consensus_workers as workers
from tests.fakes.consensus import SetClock, make_checkpoint, make_decision

pytestmark = pytest.mark.anyio

SAMPLED = pytest.mark.parametrize(
    "rounds", [100, pytest.param(1_000, marks=[pytest.mark.long, pytest.mark.timeout(600)])]
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "perstack" / "perstack.db"


def check_integrity(path: Path) -> None:
    with closing(sqlite3.connect(path)) as raw:
        assert raw.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert raw.execute("PRAGMA foreign_key_check").fetchall() == []


async def prepare(path: Path, names: Sequence[str], *, expires_at: int | None = None) -> None:
    store = await open_consensus_store(path, clock=SystemClock())
    for name in names:
        await store.create(make_checkpoint(name, expires_at=expires_at))
    await store.aclose()


async def check_verdicts(path: Path, verdicts: Sequence[workers.Verdict], parties: int) -> None:
    """One winner a round; the losers were told who; state and audit say what the winner said."""
    by_round: defaultdict[str, list[workers.Verdict]] = defaultdict(list)
    for verdict in verdicts:
        by_round[verdict.round].append(verdict)
    store = await open_consensus_store(path, clock=SystemClock())
    for name, heard in by_round.items():
        assert len(heard) == parties
        (winner,) = [verdict for verdict in heard if verdict.won]
        status = "approved" if winner.approved else "rejected"
        for loser in heard:
            assert loser.won or f"was already {status} by {winner.party}, " in loser.said
        found = await store.get(ConsensusId(name))
        audit = await store.audit(ConsensusId(name))
        assert found.status == status
        assert found.decision == make_decision(approved=winner.approved, by=winner.party)
        assert [(one.event, one.actor) for one in audit][1:] == [(status, winner.party)]
    await store.aclose()
    check_integrity(path)


@SAMPLED
async def test_of_eight_threads_that_decide_at_once_one_wins(path: Path, rounds: int) -> None:
    names = [f"k{n}" for n in range(rounds)]
    await prepare(path, names)
    clock = SystemClock()
    stores = [await open_consensus_store(path, clock=clock, busy_s=30) for _ in range(8)]
    verdicts: list[workers.Verdict] = []

    async def decide(store: ConsensusStore, name: str, party: int) -> None:
        approved = party % 2 == 0
        decision = make_decision(approved=approved, by=f"p{party}")
        try:
            await store.decide(ConsensusId(name), decision, now_ms=clock.now_ms())
            verdicts.append(workers.Verdict(name, f"p{party}", approved, won=True))
        except ConflictError as error:
            verdicts.append(workers.Verdict(name, f"p{party}", approved, False, error.message))

    for name in names:
        async with anyio.create_task_group() as group:
            for party, store in enumerate(stores):
                group.start_soon(decide, store, name, party)
    for store in stores:
        await store.aclose()
    await check_verdicts(path, verdicts, parties=8)


@SAMPLED
async def test_of_two_processes_approving_against_rejecting_one_wins(
    path: Path, rounds: int
) -> None:
    names = [f"k{n}" for n in range(rounds)]
    await prepare(path, names)
    context = workers.processes()
    start, verdicts = context.Barrier(2), context.Queue()
    started = [
        context.Process(
            target=workers.race, args=(path, names, party, party == "ana", start, verdicts)
        )
        for party in ("ana", "ben")
    ]
    for process in started:
        process.start()
    heard = [*verdicts.get(timeout=workers.TIMEOUT_S * 10)]
    heard += verdicts.get(timeout=workers.TIMEOUT_S)
    workers.join(started)
    await check_verdicts(path, heard, parties=2)


@SAMPLED
async def test_nothing_is_approved_after_its_expiry(path: Path, rounds: int) -> None:
    clock = SystemClock()
    reviewer = await open_consensus_store(path, clock=clock, busy_s=30)
    sweeper = await open_consensus_store(path, clock=clock, busy_s=30)
    seen: set[str] = set()

    async def approve(name: ConsensusId) -> None:
        try:
            await reviewer.decide(name, make_decision(), now_ms=clock.now_ms())
        except ConflictError as error:
            assert "expired" in error.message  # noqa: PT017

    async def sweep(name: ConsensusId, expires_at: int) -> None:
        while (await sweeper.get(name)).status == "pending":
            if clock.now_ms() >= expires_at:
                await sweeper.expire_due(now_ms=clock.now_ms(), auto_reject=False)

    for n in range(rounds):
        # Due already, due about when the decision comes, and due long after it.
        name, expires_at = ConsensusId(f"k{n}"), clock.now_ms() + (0, 1, 2, 3, 5, 60_000)[n % 6]
        await reviewer.create(make_checkpoint(name, expires_at=expires_at))
        async with anyio.create_task_group() as group:
            group.start_soon(approve, name)
            group.start_soon(sweep, name, expires_at)
        found = await sweeper.get(name)
        events = [one.event for one in await sweeper.audit(name)]
        assert events == ["created", found.status]
        assert found.decided_at is not None
        assert (found.decided_at < expires_at) == (found.status == "approved")
        seen.add(found.status)
    await reviewer.aclose()
    await sweeper.aclose()
    assert seen == {"approved", "expired"}


async def test_a_decision_that_waits_for_a_lock_past_the_expiry_is_refused(path: Path) -> None:
    clock = SetClock()
    store = await open_consensus_store(path, clock=clock)
    await store.create(make_checkpoint(expires_at=clock.now_ms() + 1_000))
    outcome: list[str] = []

    async def approve(now_ms: int) -> None:
        try:
            await store.decide(ConsensusId("k1"), make_decision(), now_ms=now_ms)
            outcome.append("approved")
        except ConflictError as error:
            outcome.append(error.message)

    with closing(sqlite3.connect(path, isolation_level=None)) as raw:
        raw.execute("BEGIN IMMEDIATE")
        async with anyio.create_task_group() as group:
            group.start_soon(approve, clock.now_ms())
            await anyio.wait_all_tasks_blocked()
            clock.move(2_000)
            raw.execute("ROLLBACK")
    assert outcome == ["consensus checkpoint k1 expired 1 s ago"]
    await store.aclose()


@pytest.mark.parametrize(
    ("writers", "count"),
    [(4, 40), pytest.param(10, 1_000, marks=[pytest.mark.long, pytest.mark.timeout(600)])],
)
async def test_processes_that_write_at_once_lose_nothing(
    path: Path, writers: int, count: int
) -> None:
    context = workers.processes()
    took = context.Queue()
    names = [f"w{n}" for n in range(writers)]
    started = [
        context.Process(target=workers.write_many, args=(path, name, count, took)) for name in names
    ]
    for process in started:
        process.start()
    times = sorted(ms for _ in started for ms in took.get(timeout=workers.TIMEOUT_S * 10))
    workers.join(started)
    assert len(times) == writers * count
    expected = {f"{name}-{n}" for name in (*names, "shared") for n in range(count)}
    store = await open_consensus_store(path, clock=SystemClock())
    found = await store.list(limit=1_000_000)
    await store.aclose()
    assert {one.id for one in found} == expected
    assert sum(one.status == "approved" for one in found) == writers * count
    check_integrity(path)


@pytest.mark.parametrize(
    "times", [10, pytest.param(200, marks=[pytest.mark.long, pytest.mark.timeout(600)])]
)
async def test_a_writer_killed_within_its_transaction_leaves_nothing(
    path: Path, times: int
) -> None:
    context = workers.processes()
    # No queue: its lock is shared, and would stay locked when a victim is killed that holds it.
    said, inside = context.Pipe(duplex=False)
    store = await open_consensus_store(path, clock=SystemClock(), busy_s=30)
    await store.create(make_checkpoint())
    for n in range(times):
        victim = context.Process(target=workers.hang_in_transaction, args=(path, inside))
        victim.start()
        assert said.poll(workers.TIMEOUT_S)
        pid = said.recv()
        async with anyio.create_task_group() as group:
            group.start_soon(store.create, make_checkpoint(f"other{n}"))
            await anyio.wait_all_tasks_blocked()
            os.kill(pid, signal.SIGKILL)
        victim.join(workers.TIMEOUT_S)
        assert (await store.get(ConsensusId("k1"))).status == "pending"
    assert len(await store.list(limit=1_000)) == times + 1
    await store.aclose()
    check_integrity(path)


async def test_processes_that_open_a_new_database_at_once_make_one(tmp_path: Path) -> None:
    paths = [tmp_path / str(n) / "perstack.db" for n in range(15)]
    context = workers.processes()
    start = context.Barrier(4)
    started = [context.Process(target=workers.open_new, args=(paths, start)) for _ in range(4)]
    for process in started:
        process.start()
    workers.join(started)
    # SQLite's own files may stay when those who close last close together.
    own = {"perstack.db", "perstack.db-wal", "perstack.db-shm"}
    for path in paths:
        assert "perstack.db" in {entry.name for entry in path.parent.iterdir()} <= own
    await prepare(paths[0], ["k1"])


async def test_processes_that_open_an_old_database_at_once_migrate_it_once(path: Path) -> None:
    await prepare(path, ["k1"])
    context = workers.processes()
    start = context.Barrier(8)
    started = [context.Process(target=workers.open_migrating, args=(path, start)) for _ in range(8)]
    for process in started:
        process.start()
    workers.join(started)
    # Of several that close at once, none may see that it is the last and clear its files away.
    kept = {entry.name for entry in path.parent.iterdir()} - {"perstack.db-shm", "perstack.db-wal"}
    assert kept == {"perstack.db", f"perstack.db.bak-{len(MIGRATIONS)}"}
    check_integrity(path)


async def test_a_migration_killed_halfway_is_made_by_the_next_process(path: Path) -> None:
    await prepare(path, ["k1"])
    context = workers.processes()
    inside = context.Queue()
    victim = context.Process(target=workers.hang_in_migration, args=(path, inside))
    victim.start()
    os.kill(inside.get(timeout=workers.TIMEOUT_S), signal.SIGKILL)
    victim.join(workers.TIMEOUT_S)
    connected = await anyio.to_thread.run_sync(workers.migrating, path)
    with connected.engine.begin() as connection:
        query = "SELECT colour FROM consensus_checkpoints"
        assert connection.exec_driver_sql(query).fetchall() == [(None,)]
    connected.engine.dispose()
    check_integrity(path)
