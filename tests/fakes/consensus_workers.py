"""What the processes of the fault tests do; each function runs in a process of its own."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from multiprocessing import get_context
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerContext, ForkServerProcess
from multiprocessing.queues import Queue
from multiprocessing.synchronize import Barrier
from pathlib import Path

import anyio
import sqlalchemy as sa

from perstack.domain.ids import ConsensusId
from perstack.errors import ConflictError
from perstack.ports.system import SystemClock
from perstack.storage.database.engine import Connected, connect
from perstack.storage.database.migrations import MIGRATIONS
from perstack.storage.database.opener import open_consensus_store
from tests.fakes.consensus import make_checkpoint, make_decision

TIMEOUT_S = 50


def processes() -> ForkServerContext:
    """Return a way to start processes in milliseconds: forked from one that imported all this."""
    context = get_context("forkserver")
    context.set_forkserver_preload([__name__])
    return context


def join(started: Sequence[ForkServerProcess]) -> None:
    """Wait for the processes to end well."""
    for process in started:
        process.join(TIMEOUT_S)
        assert process.exitcode == 0


@dataclass(frozen=True)
class Verdict:
    """What a party of a race got to hear."""

    round: str
    party: str
    approved: bool
    won: bool
    said: str = ""


def race(
    path: Path,
    rounds: Sequence[str],
    party: str,
    approved: bool,
    start: Barrier,
    verdicts: Queue[list[Verdict]],
) -> None:
    """Decide every round's checkpoint at the same moment as the other parties."""
    verdicts.put(anyio.run(_race, path, rounds, party, approved, start))


async def _race(
    path: Path, rounds: Sequence[str], party: str, approved: bool, start: Barrier
) -> list[Verdict]:
    clock = SystemClock()
    store = await open_consensus_store(path, clock=clock)
    decision = make_decision(approved=approved, by=party)
    found: list[Verdict] = []
    for name in rounds:
        start.wait(TIMEOUT_S)
        try:
            await store.decide(ConsensusId(name), decision, now_ms=clock.now_ms())
            found.append(Verdict(name, party, approved, won=True))
        except ConflictError as error:
            found.append(Verdict(name, party, approved, won=False, said=error.message))
    await store.aclose()
    return found


def write_many(path: Path, writer: str, count: int, took_ms: Queue[list[float]]) -> None:
    """Create and decide `count` checkpoints of its own and try to create one that all share."""
    took_ms.put(anyio.run(_write_many, path, writer, count))


async def _write_many(path: Path, writer: str, count: int) -> list[float]:
    clock = SystemClock()
    store = await open_consensus_store(path, clock=clock)
    took: list[float] = []
    for n in range(count):
        began = time.perf_counter()
        await store.create(make_checkpoint(f"{writer}-{n}"))
        await store.create(make_checkpoint(f"shared-{n}"))
        await store.decide(
            ConsensusId(f"{writer}-{n}"), make_decision(by=writer), now_ms=clock.now_ms()
        )
        took.append((time.perf_counter() - began) * 1000 / 3)
    await store.aclose()
    return took


def hang_in_transaction(path: Path, inside: Connection) -> None:
    """Write, say so, and never commit."""
    connected = connect(path, busy_s=30)
    with connected.engine.execution_options(write=True).begin() as connection:
        connection.exec_driver_sql("UPDATE consensus_checkpoints SET status = 'approved'")
        inside.send(os.getpid())
        time.sleep(600)


def open_migrating(path: Path, start: Barrier) -> None:
    """Open a database of the version before."""
    start.wait(TIMEOUT_S)
    migrating(path).engine.dispose()


def open_new(paths: Sequence[Path], start: Barrier) -> None:
    """Open databases that do not exist, each at the same moment as the others."""
    for path in paths:
        start.wait(TIMEOUT_S)
        connect(path, busy_s=30).engine.dispose()


def hang_in_migration(path: Path, inside: Queue[int]) -> None:
    """Migrate, and never commit."""

    def hang(connection: sa.Connection) -> None:
        add_colour(connection)
        inside.put(os.getpid())
        time.sleep(600)

    connect(path, busy_s=30, migrations=[*MIGRATIONS, hang])


def migrating(path: Path) -> Connected:
    """Open with a second version of the schema."""
    return connect(path, busy_s=30, migrations=[*MIGRATIONS, add_colour])


def add_colour(connection: sa.Connection) -> None:
    """Fails when made twice."""
    connection.exec_driver_sql("ALTER TABLE consensus_checkpoints ADD COLUMN colour TEXT")
