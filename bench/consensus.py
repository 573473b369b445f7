"""Judging a task among 10,000, and a thousand decisions on one checkpoint at once."""

from __future__ import annotations

import sqlite3
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable
from contextlib import closing
from pathlib import Path
from typing import Final

import anyio

from bench.measure import heading, row
from perstack.domain.consensus import ConsensusCheckpoint, ProposedSubtask
from perstack.domain.ids import ConsensusId, ExpertKey, SubtaskId, TaskId
from perstack.domain.settings import ConsensusSettings
from perstack.domain.tasks import Task
from perstack.errors import ConflictError
from perstack.ports.stores import Stores
from perstack.ports.system import SystemClock, Uuids
from perstack.services.checkpoints import CheckpointService
from perstack.services.consensus import ConsensusService
from perstack.services.handle import Handle
from perstack.storage.database.opener import database_path, open_stores

TASKS: Final = 10_000
CHECKS: Final = 500
DECISIONS: Final = 1_000
_DEEP: Final = 10
_CLOCK: Final = SystemClock()
_WHY: Final = "measured"
_DEPTH: Final = "SELECT depth FROM tasks WHERE id = ?"
_DECIDE: Final = "UPDATE consensus_checkpoints SET status = status WHERE id = ? AND status = ?"


def consensus(rounds: int) -> None:
    """Checks against one bare SELECT each; decisions against as many bare transactions."""
    heading(f"Consensus, {TASKS} tasks in chains of {_DEEP} (one process)", floor="bare SQL")
    with tempfile.TemporaryDirectory(prefix="perstack-bench-") as name:
        anyio.run(_measure, Path(name), rounds)


async def _measure(folder: Path, rounds: int) -> None:
    stores: Handle[Stores] = Handle(
        lambda: open_stores(database_path(folder), clock=_CLOCK, ids=Uuids(), busy_s=60)
    )
    service = _service(folder, stores)
    await _fill(stores)
    ours = await _median_ms(
        lambda: service.check("researcher", "read what it says", TaskId(f"t{TASKS - 1}"))
    )
    with closing(sqlite3.connect(database_path(folder))) as raw:
        floor = _bare_ms(lambda: raw.execute(_DEPTH, (f"t{TASKS - 1}",)).fetchone())
    row(f"consensus_check, depth {_DEEP}", ours, floor, "ms", "0.23 (peer)")
    found = [await _decide_at_once(service, stores, f"k{number}") for number in range(rounds)]
    with closing(sqlite3.connect(database_path(folder), isolation_level=None)) as raw:
        began = time.perf_counter()
        for _ in range(DECISIONS):
            raw.execute("BEGIN IMMEDIATE")
            raw.execute(_DECIDE, ("k0", "pending"))
            raw.execute("COMMIT")
        least = time.perf_counter() - began
    row(f"{DECISIONS} decisions on one checkpoint", statistics.median(found), least, "s", "-")
    await stores.aclose()


def _service(folder: Path, stores: Handle[Stores]) -> CheckpointService:
    verbs = ConsensusService(stores, clock=_CLOCK, workspace=folder)
    rules = ConsensusSettings(enabled=True)
    return CheckpointService(verbs, stores, rules=rules, clock=_CLOCK, ids=Uuids())


async def _fill(stores: Handle[Stores]) -> None:
    """Add the tasks; each that is not the first of its chain is below the one before it."""
    for number in range(TASKS):
        above = TaskId(f"t{number - 1}") if number % _DEEP else None
        task = Task(
            id=TaskId(f"t{number}"),
            agent_type="coder",
            input=f"task number {number}",
            parent_task_id=above,
            created_at=_CLOCK.now_ms(),
        )
        await stores.ask(lambda opened, task=task: opened.tasks.add(task))


async def _decide_at_once(service: CheckpointService, stores: Handle[Stores], name: str) -> float:
    """Return how many seconds it takes until all have heard; one has won by then.

    Raises:
        RuntimeError: none has, or several.
    """
    asked = _checkpoint(name)
    await stores.ask(lambda opened: opened.consensus.create(asked))
    won: list[int] = []

    async def decide(party: int) -> None:
        try:
            await service.approve(asked.id, reviewed_by=f"p{party}")
            won.append(party)
        except ConflictError:
            return

    began = time.perf_counter()
    async with anyio.create_task_group() as group:
        for party in range(DECISIONS):
            group.start_soon(decide, party)
    if len(won) != 1:
        raise RuntimeError(f"{len(won)} decisions were taken")
    return time.perf_counter() - began


def _checkpoint(name: str) -> ConsensusCheckpoint:
    subtask = ProposedSubtask(
        id=SubtaskId(f"{name}-1"), agent_type="coder", input=_WHY, estimated_risk_level="high"
    )
    return ConsensusCheckpoint(
        id=ConsensusId(name),
        expert_key=ExpertKey("lead"),
        task_id=subtask.id,
        reason=_WHY,
        proposed_subtasks=(subtask,),
        risk_level="high",
        created_at=_CLOCK.now_ms(),
    )


async def _median_ms(call: Callable[[], Awaitable[object]]) -> float:
    took: list[float] = []
    for _ in range(CHECKS):
        began = time.perf_counter()
        await call()
        took.append((time.perf_counter() - began) * 1_000)
    return statistics.median(took)


def _bare_ms(call: Callable[[], object]) -> float:
    took: list[float] = []
    for _ in range(CHECKS):
        began = time.perf_counter()
        call()
        took.append((time.perf_counter() - began) * 1_000)
    return statistics.median(took)
