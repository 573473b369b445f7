"""A process among many that use one database for everything at once."""

from __future__ import annotations

import os
from contextlib import AsyncExitStack
from dataclasses import dataclass
from multiprocessing.queues import Queue
from multiprocessing.synchronize import Barrier
from pathlib import Path

import anyio

from perstack.domain.coordination import CoordinationSettings
from perstack.domain.ids import ConsensusId
from perstack.domain.memory import Caller
from perstack.domain.settings import ConsensusSettings
from perstack.errors import ConflictError
from perstack.services.tasks import NewTask
from perstack.wiring import (
    DATABASE_URL,
    ProjectFacts,
    Tables,
    consensus_over,
    memory_over,
    open_run_services,
    open_tables,
)
from tests.fakes.consensus import make_checkpoint

TIMEOUT_S = 50
ROUND = 4  # store, search, task, decide
SHARED_KEYS = 10
FACTS = ProjectFacts(CoordinationSettings(), ConsensusSettings(), {}, ())


@dataclass(frozen=True)
class Done:
    """What a party did: the decisions that it won, and what went wrong, if anything did."""

    party: int
    won: tuple[str, ...] = ()
    error: str | None = None


def take_part(
    workspace: Path, url: str | None, party: int, rounds: int, start: Barrier, done: Queue[Done]
) -> None:
    """Store, search, create and end a task, and decide what all decide, `rounds` times."""
    if url is not None:
        os.environ[DATABASE_URL] = url
    try:
        done.put(Done(party, anyio.run(_take_part, workspace, party, rounds, start)))
    except Exception as error:  # noqa: BLE001 - whatever it is, the test shows it
        done.put(Done(party, error=repr(error)))


async def _take_part(workspace: Path, party: int, rounds: int, start: Barrier) -> tuple[str, ...]:
    async with AsyncExitStack() as stack:
        tables = open_tables(workspace)
        stack.push_async_callback(tables.aclose)
        services = await stack.enter_async_context(open_run_services(tables, FACTS))
        memory, consensus = memory_over(tables, FACTS), consensus_over(tables)
        me = Caller(name=f"party-{party}")
        won: list[str] = []
        start.wait(TIMEOUT_S)  # nothing else runs in this process
        for n in range(rounds):
            key = f"shared-{n % SHARED_KEYS}" if n % 2 else f"own-{party}-{n}"
            await memory.store(me, key, f"party {party} wrote number {n}")
            assert (await memory.search(me, f"party {party}")).results
            task = (await services.tasks.create(NewTask("coder", f"task {party}.{n}"))).task
            assert task is not None
            await services.tasks.complete(task.id, f"done {n}")
            try:
                await consensus.decide(
                    ConsensusId(f"gate-{n}"),
                    approved=party % 2 == 0,
                    reviewed_by=f"party-{party}",
                    allow_self=True,
                )
                won.append(f"gate-{n}")
            except ConflictError:
                pass
        return tuple(won)


async def propose(tables: Tables, rounds: int) -> None:
    """Write the checkpoints that all decide."""
    for n in range(rounds):
        await tables.stores.ask(lambda s, n=n: s.consensus.create(make_checkpoint(f"gate-{n}")))
