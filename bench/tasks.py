"""What creating, listing and handing out a task takes beside a thousand to 100,000 others."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from functools import partial
from itertools import count
from pathlib import Path
from typing import Final

import anyio
import numpy as np
from numpy.typing import NDArray

from bench.measure import heading, median, row
from perstack.domain.coordination import DispatcherSettings, DriftSettings
from perstack.domain.ids import AgentId, TaskId
from perstack.domain.tasks import Task
from perstack.ports.stores import Stores
from perstack.ports.system import SystemClock, Uuids
from perstack.services.dispatch import SmartDispatcher
from perstack.services.drift import DriftDetector
from perstack.services.handle import Handle
from perstack.services.task_creation import Known, NewTask
from perstack.services.task_queue import TaskQueue
from perstack.services.tasks import TaskService
from perstack.storage.database.engine import connect
from perstack.storage.database.opener import open_stores
from perstack.storage.database.task_rows import task_row
from perstack.storage.database.task_tables import RELATIONSHIPS, TASKS

SIZES: Final = (1_000, 10_000, 100_000)
DIMENSIONS: Final = 256
# AgentStack 1.6.1 over its own protocol with 1,000 rows, its floor of 0.19 ms included.
THEIRS_MS: Final = {("create", 1_000): 0.38}
_PARENT: Final = TaskId("task-0")


class Vectors:
    """An embedder that takes no time, so that what is measured is the rest."""

    name = "bench:random"
    dimensions: int | None = DIMENSIONS

    async def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Return a vector for each text."""
        seeds = [abs(hash(text)) % 2**32 for text in texts]
        made = [np.random.default_rng(seed).standard_normal(DIMENSIONS) for seed in seeds]
        return np.asarray(made, dtype=np.float32)

    async def aclose(self) -> None:
        """Hold nothing."""


def tasks(rounds: int, sizes: Sequence[int] = SIZES) -> None:
    """Each size in a file of its own; medians of many calls, each durable when it returns."""
    heading("Tasks (ms)", floor="AgentStack")
    for size in sizes:
        with tempfile.TemporaryDirectory() as folder:
            found = anyio.run(measure, Path(folder) / "perstack.db", size, rounds)
        for name, took in found.items():
            row(f"{size:>9,} {name}", took, THEIRS_MS.get((name, size), 0), "ms", "-")


async def measure(path: Path, size: int, rounds: int) -> dict[str, float]:
    """Fill a database and measure; times in ms."""
    await anyio.to_thread.run_sync(_fill, path, size)
    async with AsyncExitStack() as stack:
        handle = Handle[Stores](lambda: open_stores(path, clock=SystemClock(), ids=Uuids()))
        stack.push_async_callback(handle.aclose)
        plain, queue = await _services(stack, handle, DriftSettings())
        judged, _ = await _services(stack, handle, DriftSettings(enabled=True))
        numbers = count()
        return {
            "create": await _median(rounds, partial(_create, plain, numbers)),
            "create below another": await _median(rounds, partial(_below, plain, numbers)),
            "create below another, judged": await _median(rounds, partial(_below, judged, numbers)),
            "create, take, assign, complete": await _median(
                rounds, partial(_cycle, plain, queue, numbers)
            ),
            "list 50": await _median(rounds, partial(plain.list, limit=50)),
            "get": await _median(rounds, partial(plain.get, _PARENT)),
        }


async def _services(
    stack: AsyncExitStack, handle: Handle[Stores], drift: DriftSettings
) -> tuple[TaskService, TaskQueue]:
    clock, ids = SystemClock(), Uuids()
    opened = DriftDetector.open(handle, drift, Vectors(), clock=clock, ids=ids)
    queue = TaskQueue(handle, clock=clock)
    service = TaskService(
        handle,
        clock=clock,
        ids=ids,
        queue=queue,
        drift=await stack.enter_async_context(opened),
        dispatcher=SmartDispatcher(None, DispatcherSettings(), clock=clock),
        known=Known(session=_yes, agent=_yes),
    )
    return service, queue


async def _yes(_asked: str) -> bool:
    return True


async def _create(service: TaskService, numbers: count[int]) -> None:
    made = await service.create(NewTask("coder", f"write part {next(numbers)} of the parser"))
    assert made.success


async def _below(service: TaskService, numbers: count[int]) -> None:
    text = f"write part {next(numbers)} of the lexer"
    made = await service.create(NewTask("coder", text, parent_task_id=_PARENT))
    assert made.success


async def _cycle(service: TaskService, queue: TaskQueue, numbers: count[int]) -> None:
    made = await service.create(NewTask("coder", f"do {next(numbers)}", priority=5))
    taken = await queue.dequeue("coder")
    assert made.task is not None
    assert taken is not None
    await queue.assign(taken.task.id, AgentId("bench"))
    await queue.complete(taken.task.id, "done")


async def _median(rounds: int, call: Callable[[], Awaitable[object]]) -> float:
    await call()
    took: list[float] = []
    for _ in range(20 * rounds):
        began = time.perf_counter()
        await call()
        took.append((time.perf_counter() - began) * 1_000)
    return median(took)


def _fill(path: Path, size: int) -> None:
    connected = connect(path, busy_s=30)
    made = [
        Task(
            id=TaskId(f"task-{n}"),
            agent_type="coder",
            input=f"write part {n} of the program",
            parent_task_id=None if n < 10 else TaskId(f"task-{n // 10}"),
            created_at=n,
        )
        for n in range(size)
    ]
    related = [
        {
            "id": f"relationship-{one.id}",
            "from_task_id": one.parent_task_id,
            "to_task_id": one.id,
            "relationship_type": "parent_of",
            "created_at": one.created_at,
        }
        for one in made
        if one.parent_task_id is not None
    ]
    with connected.engine.execution_options(write=True).begin() as connection:
        connection.execute(TASKS.insert(), [task_row(one) for one in made])
        connection.execute(RELATIONSHIPS.insert(), related)
    connected.engine.dispose()
