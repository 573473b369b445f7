"""The queue of tasks in the database: taking one is one conditional update."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import sqlalchemy as sa

from perstack.domain.ids import AgentId, TaskId
from perstack.domain.tasks import (
    DEFAULT_PRIORITY,
    GAVE_UP,
    MAX_ATTEMPTS,
    QueuedTask,
    QueueState,
    QueueStatus,
    Task,
    lowered,
)
from perstack.errors import ConflictError
from perstack.storage.database import task_rows as rows
from perstack.storage.database.engine import Database
from perstack.storage.database.task_tables import QUEUE, TASKS
from perstack.storage.database.tasks import get_task, move_task
from perstack.storage.database.text import safe_text


class SqlTaskQueueStore:
    """Implements `ports.tasks.TaskQueueStore`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def enqueue(self, task_id: TaskId, priority: int, *, now_ms: int) -> QueuedTask:
        """Put a pending task into the queue."""

        def work(connection: sa.Connection) -> QueuedTask:
            _lock(connection, task_id)
            task = get_task(connection, task_id)
            if task.status != "pending":
                raise ConflictError(f"Task is already {task.status}")
            if _find_place(connection, task_id) is not None:
                raise ConflictError("Task is already in the queue")
            _put(connection, task, priority, now=now_ms)
            return _place(connection, task_id)

        return await self._database.write(work)

    async def claim(
        self, agent_type: str | None, *, claimed_by: str | None, now_ms: int
    ) -> QueuedTask | None:
        """Take the first task. Takes no write lock when there is none."""
        work = partial(_claim, agent_type=agent_type, claimed_by=claimed_by, now=now_ms)
        waiting = sa.select(sa.exists().where(*_waiting(agent_type)))
        if not await self._database.read(lambda connection: connection.scalar(waiting)):
            return None
        return await self._database.write(work)

    async def assign(self, task_id: TaskId, agent_id: AgentId, *, now_ms: int) -> Task | None:
        """Give a claimed task to an agent."""

        def work(connection: sa.Connection) -> Task | None:
            taken = sa.exists().where(QUEUE.c.task_id == TASKS.c.id, QUEUE.c.state == "processing")
            values = {"agent_id": safe_text(agent_id), "started_at": now_ms}
            pending = TASKS.c.status == "pending"
            if not move_task(connection, task_id, "running", values, pending, taken):
                return None
            return get_task(connection, task_id)

        return await self._database.write(work)

    async def requeue(
        self,
        task_id: TaskId,
        feedback: str | None,
        *,
        attempt: int | None = None,
        claimed_before: int | None = None,
        now_ms: int,
    ) -> Task:
        """Put a task back, or let it fail for good."""
        work = partial(_requeue, task_id=task_id, feedback=feedback, attempt=attempt)
        return await self._database.write(partial(work, before=claimed_before, now=now_ms))

    async def stale(self, *, claimed_before: int) -> Sequence[TaskId]:
        """Return claimed tasks that no agent got."""
        query = sa.select(QUEUE.c.task_id).join(TASKS, TASKS.c.id == QUEUE.c.task_id)
        query = query.where(QUEUE.c.state == "processing", QUEUE.c.claimed_at < claimed_before)
        query = query.where(TASKS.c.status == "pending").order_by(QUEUE.c.number)

        def work(connection: sa.Connection) -> Sequence[TaskId]:
            return [TaskId(str(found)) for found in connection.scalars(query)]

        return await self._database.read(work)

    async def status(self) -> QueueStatus:
        """Return how many wait and are being processed."""
        query = sa.select(QUEUE.c.state, sa.func.count(QUEUE.c.number)).group_by(QUEUE.c.state)

        def work(connection: sa.Connection) -> QueueStatus:
            found = {str(state): int(number) for state, number in connection.execute(query)}
            queued, processing = found.get("queued", 0), found.get("processing", 0)
            return QueueStatus(queued=queued, processing=processing, total=queued + processing)

        return await self._database.read(work)

    async def entries(self, state: QueueState, *, limit: int) -> Sequence[QueuedTask]:
        """Return places in the queue's order."""
        query = _places().where(QUEUE.c.state == state).limit(limit)
        query = query.order_by(QUEUE.c.priority.desc(), QUEUE.c.number)

        def work(connection: sa.Connection) -> Sequence[QueuedTask]:
            return [rows.place_from(row) for row in connection.execute(query).mappings()]

        return await self._database.read(work)

    async def clear(self) -> int:
        """Empty the queue."""
        return await self._database.write(lambda found: found.execute(QUEUE.delete()).rowcount)


def _waiting(agent_type: str | None) -> list[sa.ColumnElement[bool]]:
    found = [QUEUE.c.state == "queued"]
    if agent_type is not None:
        found.append(QUEUE.c.agent_type == safe_text(agent_type))
    return found


def _claim(
    connection: sa.Connection, *, agent_type: str | None, claimed_by: str | None, now: int
) -> QueuedTask | None:
    first = sa.select(QUEUE.c.number, QUEUE.c.task_id).join(TASKS, TASKS.c.id == QUEUE.c.task_id)
    first = first.where(*_waiting(agent_type)).limit(1)
    first = first.order_by(QUEUE.c.priority.desc(), QUEUE.c.number)
    # On a server two may look at once: each takes the first that nobody else is moving, and waits
    # for nobody, so that no two ever wait for each other. SQLite has but one writer.
    lock = first.with_for_update(skip_locked=True, key_share=True, of=[QUEUE, TASKS])
    found = connection.execute(lock).one_or_none()
    if found is None:
        return None
    number, taken = found
    take = QUEUE.update().where(QUEUE.c.number == number, QUEUE.c.state == "queued")
    claim = {
        "state": "processing",
        "claimed_at": now,
        "claimed_by": None if claimed_by is None else safe_text(claimed_by),
    }
    if connection.execute(take.values(claim)).rowcount != 1:
        return None
    counted = TASKS.update().where(TASKS.c.id == taken)
    connection.execute(counted.values(attempts=TASKS.c.attempts + 1))
    return _place(connection, TaskId(str(taken)))


def _requeue(
    connection: sa.Connection,
    *,
    task_id: TaskId,
    feedback: str | None,
    attempt: int | None,
    before: int | None,
    now: int,
) -> Task:
    _lock(connection, task_id)
    task = get_task(connection, task_id)
    if attempt is not None and task.attempts != attempt:
        raise ConflictError("Task was taken up again meanwhile")
    place = _find_place(connection, task_id)
    if before is not None and not _is_stale(task, place, before):
        raise ConflictError("Task has somebody who does it")
    idle = task.status == "pending" and (place is None or place.state == "queued")
    if task.status == "completed" or idle:
        raise ConflictError(f"Task is {task.status}; there is nothing to requeue")
    connection.execute(QUEUE.delete().where(QUEUE.c.task_id == task_id))
    changed = TASKS.update().where(TASKS.c.id == task_id)
    said = None if feedback is None else safe_text(feedback)
    if task.attempts >= MAX_ATTEMPTS:
        ended = {"status": "failed", "completed_at": now, "feedback": said or GAVE_UP}
        connection.execute(changed.values(ended))
        return get_task(connection, task_id)
    back = {"status": "pending", "agent_id": None, "started_at": None, "completed_at": None}
    connection.execute(changed.values(**back, feedback=said or task.feedback))
    priority = lowered(task.priority or DEFAULT_PRIORITY)
    _put(connection, task, priority, now=now)
    return get_task(connection, task_id)


def _is_stale(task: Task, place: QueuedTask | None, before: int) -> bool:
    if task.status != "pending" or place is None or place.state != "processing":
        return False
    return place.claimed_at is not None and place.claimed_at < before


def _put(connection: sa.Connection, task: Task, priority: int, *, now: int) -> None:
    connection.execute(QUEUE.insert(), rows.place_row(task, priority, now))
    connection.execute(TASKS.update().where(TASKS.c.id == task.id).values(priority=priority))


def _lock(connection: sa.Connection, task_id: TaskId) -> None:
    """Let one at a time move this task; SQLite has but one writer and knows no such lock."""
    query = sa.select(TASKS.c.id).where(TASKS.c.id == safe_text(task_id))
    connection.execute(query.with_for_update(key_share=True))


def _places() -> sa.Select[tuple[object, ...]]:
    own = [QUEUE.c.number.label("queue_number"), QUEUE.c.priority.label("queue_priority")]
    more = [QUEUE.c.state, QUEUE.c.enqueued_at, QUEUE.c.claimed_at, QUEUE.c.claimed_by]
    query = sa.select(*own, *more, *(one for one in TASKS.c if one.name != "number"))
    return query.join(TASKS, TASKS.c.id == QUEUE.c.task_id)


def _find_place(connection: sa.Connection, task_id: TaskId) -> QueuedTask | None:
    query = _places().where(QUEUE.c.task_id == task_id)
    row = connection.execute(query).mappings().one_or_none()
    return None if row is None else rows.place_from(row)


def _place(connection: sa.Connection, task_id: TaskId) -> QueuedTask:
    query = _places().where(QUEUE.c.task_id == task_id)
    return rows.place_from(connection.execute(query).mappings().one())
