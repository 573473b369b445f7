"""What the processes of the tests of tasks do; each function runs in a process of its own."""

from __future__ import annotations

from multiprocessing.queues import Queue
from multiprocessing.synchronize import Barrier
from pathlib import Path

import anyio

from perstack.domain.ids import AgentId, TaskId
from perstack.domain.tasks import Task
from perstack.ports.system import SystemClock, Uuids
from perstack.ports.tasks import TaskFilter
from perstack.services.handle import Handle
from perstack.services.task_queue import TaskQueue
from perstack.storage.database.opener import open_stores
from tests.fakes.consensus import NOW_MS
from tests.fakes.consensus_workers import TIMEOUT_S


def work_off(
    target: Path | str, writer: str, count: int, start: Barrier, took: Queue[list[str]]
) -> None:
    """Enqueue `count` tasks, then take, assign and complete whatever there is; say what was."""
    took.put(anyio.run(_work_off, target, writer, count, start))


async def _work_off(target: Path | str, writer: str, count: int, start: Barrier) -> list[str]:
    clock = SystemClock()
    handle = Handle(lambda: open_stores(target, clock=clock, ids=Uuids(), busy_s=30))
    queue = TaskQueue(handle, clock=clock)
    await handle.ask(lambda stores: stores.tasks.count(TaskFilter()))
    start.wait(TIMEOUT_S)
    for n in range(count):
        name = TaskId(f"{writer}-{n}")
        task = Task(id=name, agent_type="coder", input="write the parser", created_at=NOW_MS)
        await handle.ask(lambda stores, task=task: stores.tasks.add(task))
        await queue.enqueue(task.id, 1 + n % 10)
    done: list[str] = []
    while (taken := await queue.dequeue(claimed_by=writer)) is not None:
        assert await queue.assign(taken.task.id, AgentId(writer))
        await queue.complete(taken.task.id, f"done by {writer}")
        done.append(taken.task.id)
    await handle.aclose()
    return done
