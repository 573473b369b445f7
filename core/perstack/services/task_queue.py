"""The queue of tasks, shared by all processes of a workspace."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Final

from pydantic import JsonValue

from perstack.domain.ids import AgentId, TaskId
from perstack.domain.tasks import (
    DEFAULT_PRIORITY,
    HIGHEST_PRIORITY,
    LOWEST_PRIORITY,
    MAX_OUTPUT_CHARS,
    QueuedTask,
    QueueStatus,
    Task,
    TaskEnding,
)
from perstack.errors import PerstackError
from perstack.ports.stores import Stores
from perstack.ports.system import Clock
from perstack.services.bounds import check_number, check_text
from perstack.services.handle import Handle

Emit = Callable[[str, Mapping[str, JsonValue]], Awaitable[None]]

MAX_FEEDBACK_CHARS: Final = 10_000
STALE_MS: Final = 60_000
_MOST_SHOWN: Final = 1_000
_LOG: Final = logging.getLogger(__name__)


async def say_nothing(_event: str, _payload: Mapping[str, JsonValue]) -> None:
    """Tell nobody."""


class TaskQueue:
    """Tasks by priority, 1 to 10, the highest first; equal ones in the order they came.

    `emit` hears `task:added`, `task:assigned`, `task:completed` and `queue:empty`, of what this
    process does.
    """

    def __init__(self, stores: Handle[Stores], *, clock: Clock, emit: Emit = say_nothing) -> None:
        self._stores = stores
        self._clock = clock
        self._emit = emit

    async def enqueue(self, task_id: TaskId, priority: int = DEFAULT_PRIORITY) -> QueuedTask:
        """Put a pending task at the end of its priority.

        Raises:
            UsageError: the priority is not 1 to 10.
            NotFoundError: no such task.
            ConflictError: it is queued already, or not pending.
        """
        check_priority(priority)
        now = self._clock.now_ms()
        placed = await self._stores.ask(
            lambda stores: stores.task_queue.enqueue(task_id, priority, now_ms=now)
        )
        await self.tell("task:added", placed.task, priority=priority)
        return placed

    async def dequeue(
        self, agent_type: str | None = None, *, claimed_by: str | None = None
    ) -> QueuedTask | None:
        """Take the first task (of that type), None when there is none. It is nobody else's then."""
        now = self._clock.now_ms()
        return await self._stores.ask(
            lambda stores: stores.task_queue.claim(agent_type, claimed_by=claimed_by, now_ms=now)
        )

    async def assign(self, task_id: TaskId, agent_id: AgentId) -> bool:
        """Give a task that was dequeued to an agent; False when it was not, or has one already."""
        now = self._clock.now_ms()
        task = await self._stores.ask(
            lambda stores: stores.task_queue.assign(task_id, agent_id, now_ms=now)
        )
        if task is not None:
            await self.tell("task:assigned", task, agentId=agent_id)
        return task is not None

    async def complete(
        self, task_id: TaskId, output: str | None = None, *, status: TaskEnding = "completed"
    ) -> Task:
        """End a task, queued or not; `output` None keeps what there is.

        Raises:
            NotFoundError: no such task.
            ConflictError: it ended before.
        """
        if output is not None:
            check_text(output, "output", longest=MAX_OUTPUT_CHARS)
        now = self._clock.now_ms()
        finished = await self._stores.ask(
            lambda stores: stores.tasks.finish(task_id, status, output, now_ms=now)
        )
        await self.tell(f"task:{status}", finished.task)
        if finished.emptied:
            await self._say("queue:empty", {})
        return finished.task

    async def requeue(
        self, task_id: TaskId, feedback: str | None = None, *, attempt: int | None = None
    ) -> Task:
        """Put a task back that was taken or failed, one priority lower (not below 1).

        One that was taken up three times fails for good instead. Whoever took it says with its
        `attempt` which time that was, so as not to take it from whoever has it since.

        Raises:
            NotFoundError: no such task.
            ConflictError: it is completed, or waits, or was taken up again since that attempt.
        """
        if feedback is not None:
            check_text(feedback, "feedback", longest=MAX_FEEDBACK_CHARS)
        return await self._put_back(task_id, feedback, attempt=attempt)

    async def _put_back(
        self,
        task_id: TaskId,
        feedback: str | None = None,
        *,
        attempt: int | None = None,
        claimed_before: int | None = None,
    ) -> Task:
        now = self._clock.now_ms()
        task = await self._stores.ask(
            lambda stores: stores.task_queue.requeue(
                task_id, feedback, attempt=attempt, claimed_before=claimed_before, now_ms=now
            )
        )
        if task.status == "failed":
            await self.tell("task:failed", task)
        else:
            await self.tell("task:added", task, priority=task.priority)
        return task

    async def recover(self, *, after_ms: int = STALE_MS) -> Sequence[Task]:
        """Put back what somebody took `after_ms` ago and gave to no agent: that process died."""
        before = self._clock.now_ms() - after_ms
        stale = await self._stores.ask(
            lambda stores: stores.task_queue.stale(claimed_before=before)
        )
        found: list[Task] = []
        for task_id in stale:
            try:
                # Its process may live after all, and have given it to an agent by now.
                found.append(await self._put_back(task_id, claimed_before=before))
            except PerstackError as error:
                _LOG.info("task %s needs no recovery: %s", task_id, error.message)
        return found

    async def status(self) -> QueueStatus:
        """Return how many tasks wait, and how many were taken and are not done."""
        return await self._stores.ask(lambda stores: stores.task_queue.status())

    async def peek(self, limit: int = 10) -> Sequence[QueuedTask]:
        """Return the tasks that come next, in order."""
        check_number(limit, "limit", least=1, most=_MOST_SHOWN)
        return await self._stores.ask(
            lambda stores: stores.task_queue.entries("queued", limit=limit)
        )

    async def processing(self, limit: int = _MOST_SHOWN) -> Sequence[QueuedTask]:
        """Return the tasks that were taken and are not done."""
        check_number(limit, "limit", least=1, most=_MOST_SHOWN)
        return await self._stores.ask(
            lambda stores: stores.task_queue.entries("processing", limit=limit)
        )

    async def length(self) -> int:
        """Return how many tasks wait."""
        return (await self.status()).queued

    async def is_empty(self) -> bool:
        """Say whether no task waits and none is being processed."""
        return (await self.status()).total == 0

    async def clear(self) -> int:
        """Empty the queue; the tasks stay as they are. Return how many places there were."""
        return await self._stores.ask(lambda stores: stores.task_queue.clear())

    async def tell(self, event: str, task: Task, **more: JsonValue) -> None:
        """Announce something of a task. Who listens cannot undo it."""
        payload: dict[str, JsonValue] = {
            "taskId": task.id,
            "agentType": task.agent_type,
            "status": task.status,
            "sessionId": task.session_id,
        }
        await self._say(event, {**payload, **more})

    async def _say(self, event: str, payload: Mapping[str, JsonValue]) -> None:
        try:
            await self._emit(event, payload)
        except PerstackError as error:
            _LOG.warning("%s was not announced: %s", event, error.message)


def check_priority(priority: int) -> int:
    """Return a priority that is 1 to 10.

    Raises:
        UsageError: it is not.
    """
    return check_number(priority, "priority", least=LOWEST_PRIORITY, most=HIGHEST_PRIORITY)
