"""Tasks in the database: each move of one is one conditional update."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Final

import sqlalchemy as sa
from pydantic import JsonValue

from perstack.domain.drift import DriftEvent
from perstack.domain.ids import AgentId, TaskId
from perstack.domain.tasks import (
    Direction,
    RelationshipType,
    Task,
    TaskCounts,
    TaskEnding,
    TaskRelationship,
    TaskStatus,
    sources,
)
from perstack.errors import ConflictError, NotFoundError
from perstack.ports.system import Ids, Uuids
from perstack.ports.tasks import Finished, Mark, Recorded, TaskFilter
from perstack.storage.database import task_rows as rows
from perstack.storage.database import task_runs
from perstack.storage.database.engine import Database
from perstack.storage.database.task_tables import (
    DRIFT_EVENTS,
    EMBEDDINGS,
    QUEUE,
    RELATIONSHIPS,
    TASKS,
)
from perstack.storage.database.text import safe_text

_DEEPEST: Final = 100
_UUIDS: Final = Uuids()


class SqlTaskStore:
    """Implements `ports.tasks.TaskStore`. `ids` gives UUIDs."""

    def __init__(self, database: Database, *, ids: Ids = _UUIDS) -> None:
        self._database = database
        self._ids = ids

    async def add(
        self, task: Task, *, mark: Mark | None = None, event: DriftEvent | None = None
    ) -> Task:
        """Write a new task."""

        def work(connection: sa.Connection) -> Task:
            if find_task(connection, task.id) is not None:
                raise ConflictError(f"task {task.id} exists already")
            depth = 0
            if task.parent_task_id is not None:
                parent = get_task(connection, task.parent_task_id, "Parent task not found")
                depth = _below(parent)
            placed = task.model_copy(update={"depth": depth})
            insert_task(connection, placed, mark=mark, ids=self._ids)
            if event is not None:
                connection.execute(DRIFT_EVENTS.insert(), rows.event_row(event))
            return placed

        return await self._database.write(work)

    async def record(self, task: Task, *, mark: Mark | None = None) -> Recorded:
        """Write the task of a run, or that a failed one goes on."""

        def work(connection: sa.Connection) -> Recorded:
            if find_task(connection, task.id) is None:
                return Recorded(insert_task(connection, task, mark=mark, ids=self._ids), new=True)
            again = TASKS.update().where(TASKS.c.id == task.id, TASKS.c.status == "failed")
            values = {"status": "running", "completed_at": None, "attempts": TASKS.c.attempts + 1}
            connection.execute(again.values(values))
            return Recorded(get_task(connection, task.id), new=False)

        return await self._database.write(work)

    async def get(self, task_id: TaskId) -> Task:
        """Return one task."""
        return await self._database.read(partial(get_task, task_id=task_id))

    async def find(self, task_id: TaskId) -> Task | None:
        """Return one task, or None."""
        return await self._database.read(partial(find_task, task_id=task_id))

    async def list(
        self, wanted: TaskFilter, *, limit: int = 1_000, offset: int = 0
    ) -> Sequence[Task]:
        """Return tasks, newest first."""
        query = sa.select(TASKS).where(*_matches(wanted)).order_by(TASKS.c.number.desc())
        query = query.limit(limit).offset(offset)

        def work(connection: sa.Connection) -> Sequence[Task]:
            return [rows.task_from(row) for row in connection.execute(query).mappings()]

        return await self._database.read(work)

    async def count(self, wanted: TaskFilter) -> TaskCounts:
        """Return how many tasks there are, by status."""
        number = sa.func.count(TASKS.c.number).label("number_of")
        query = sa.select(TASKS.c.status, number).where(*_matches(wanted)).group_by(TASKS.c.status)

        def work(connection: sa.Connection) -> TaskCounts:
            found = {
                str(row["status"]): int(row["number_of"])
                for row in connection.execute(query).mappings()
            }
            return TaskCounts.model_validate({"total": sum(found.values()), **found})

        return await self._database.read(work)

    async def start(self, task_id: TaskId, agent_id: AgentId, *, now_ms: int) -> Task:
        """Give a pending task to an agent."""

        def work(connection: sa.Connection) -> Task:
            values = {
                "agent_id": safe_text(agent_id),
                "started_at": now_ms,
                "attempts": _attempts_with_this(),
            }
            if not move_task(connection, task_id, "running", values):
                raise _cannot(get_task(connection, task_id))
            take = QUEUE.update().where(QUEUE.c.task_id == task_id, QUEUE.c.state == "queued")
            connection.execute(take.values(state="processing", claimed_at=now_ms))
            return get_task(connection, task_id)

        return await self._database.write(work)

    async def finish(
        self, task_id: TaskId, ending: TaskEnding, output: str | None, *, now_ms: int
    ) -> Finished:
        """End a task."""
        work = partial(_finish, task_id=task_id, ending=ending, output=output, now=now_ms)
        return await self._database.write(work)

    async def release(self, task_id: TaskId) -> bool:
        """Let the task of a run that nobody drives wait."""
        return await self._database.write(partial(task_runs.release, task_id=task_id))

    async def take_up(self, task_id: TaskId) -> bool:
        """Have the task of a run that goes on run again."""
        return await self._database.write(partial(task_runs.take_up, task_id=task_id))

    async def delete(self, task_id: TaskId) -> bool:
        """Remove a task that has none below it."""
        return await self._database.write(partial(_delete, task_id=task_id))

    async def depth_below(self, parent_task_id: TaskId | None) -> int:
        """Return how many tasks a task under that parent descends from."""
        return await self._database.read(partial(depth_below, parent_task_id=parent_task_id))

    async def relate(
        self,
        from_task_id: TaskId,
        to_task_id: TaskId,
        kind: RelationshipType,
        *,
        metadata: dict[str, JsonValue] | None = None,
        now_ms: int,
    ) -> TaskRelationship:
        """Relate two tasks."""
        wanted = TaskRelationship(
            id=self._ids.new(),
            from_task_id=from_task_id,
            to_task_id=to_task_id,
            relationship_type=kind,
            metadata=metadata,
            created_at=now_ms,
        )

        def work(connection: sa.Connection) -> TaskRelationship:
            get_task(connection, from_task_id)
            get_task(connection, to_task_id)
            return _relate(connection, wanted)

        return await self._database.write(work)

    async def relationships(
        self, task_id: TaskId, direction: Direction = "both"
    ) -> Sequence[TaskRelationship]:
        """Return a task's relationships, newest first."""
        name = safe_text(task_id)
        outgoing = RELATIONSHIPS.c.from_task_id == name
        incoming = RELATIONSHIPS.c.to_task_id == name
        either = {"outgoing": outgoing, "incoming": incoming, "both": sa.or_(outgoing, incoming)}
        query = sa.select(RELATIONSHIPS).where(either[direction])
        query = query.order_by(RELATIONSHIPS.c.number.desc())

        def work(connection: sa.Connection) -> Sequence[TaskRelationship]:
            return [rows.relationship_from(row) for row in connection.execute(query).mappings()]

        return await self._database.read(work)


def insert_task(
    connection: sa.Connection, task: Task, *, mark: Mark | None = None, ids: Ids = _UUIDS
) -> Task:
    """Write a new task within the caller's transaction, with the relationship to its parent.

    A parent that is not there (any more) is left out: the task returned is the one written. A
    pending task with a priority is queued.
    """
    parent = task.parent_task_id
    if parent is not None and find_task(connection, parent) is None:
        parent = None
        task = task.model_copy(update={"parent_task_id": None})
    connection.execute(TASKS.insert(), rows.task_row(task))
    if parent is not None:
        related = TaskRelationship(
            id=ids.new(),
            from_task_id=parent,
            to_task_id=task.id,
            relationship_type="parent_of",
            created_at=task.created_at,
        )
        connection.execute(RELATIONSHIPS.insert(), rows.relationship_row(related))
    if mark is not None:
        connection.execute(EMBEDDINGS.insert(), rows.mark_row(task, mark))
    if task.priority is not None and task.status == "pending":
        connection.execute(QUEUE.insert(), rows.place_row(task, task.priority, task.created_at))
    return task


def find_task(connection: sa.Connection, task_id: TaskId) -> Task | None:
    """Return a task, None when there is no such one."""
    query = sa.select(TASKS).where(TASKS.c.id == safe_text(task_id))
    row = connection.execute(query).mappings().one_or_none()
    return None if row is None else rows.task_from(row)


def get_task(connection: sa.Connection, task_id: TaskId, said: str = "Task not found") -> Task:
    """Return a task.

    Raises:
        NotFoundError: there is no such one; `said` begins the message.
    """
    found = find_task(connection, task_id)
    if found is None:
        raise NotFoundError(said, hint=f"no task has the id {task_id[:40]!a}")
    return found


def depth_below(connection: sa.Connection, parent_task_id: TaskId | None) -> int:
    """Return how many tasks are on the chain that begins with that parent, at most 100."""
    if parent_task_id is None:
        return 0
    parent = find_task(connection, parent_task_id)
    return 0 if parent is None else _below(parent)


def _below(parent: Task) -> int:
    return min(parent.depth + 1, _DEEPEST)


def move_task(
    connection: sa.Connection,
    task_id: TaskId,
    wanted: TaskStatus,
    values: Mapping[str, object],
    *conditions: sa.ColumnElement[bool],
) -> bool:
    """Change a task's status if it has one from which that is legal; say whether it had."""
    update = TASKS.update().where(
        TASKS.c.id == safe_text(task_id), TASKS.c.status.in_(sources(wanted)), *conditions
    )
    return connection.execute(update.values({**values, "status": wanted})).rowcount == 1


def _attempts_with_this() -> sa.ColumnElement[int]:
    """Count an attempt, unless it was counted when the task was taken from the queue or begun."""
    claimed = sa.exists().where(QUEUE.c.task_id == TASKS.c.id, QUEUE.c.state == "processing")
    counted = sa.or_(TASKS.c.status != "pending", claimed)
    return TASKS.c.attempts + sa.case((counted, 0), else_=1)


def _cannot(found: Task) -> ConflictError:
    return ConflictError(f"Task is already {found.status}")


def _finish(
    connection: sa.Connection, *, task_id: TaskId, ending: TaskEnding, output: str | None, now: int
) -> Finished:
    values: dict[str, object] = {"completed_at": now, "attempts": _attempts_with_this()}
    if output is not None:
        values["output"] = safe_text(output)
    if not move_task(connection, task_id, ending, values):
        raise _cannot(get_task(connection, task_id))
    if connection.dialect.name == "postgresql":
        # Who ends the last task must see that the others are gone.
        connection.exec_driver_sql("SELECT pg_advisory_xact_lock(7307813)")
    queued = connection.execute(QUEUE.delete().where(QUEUE.c.task_id == task_id)).rowcount > 0
    left = queued and connection.execute(sa.select(sa.exists().select_from(QUEUE))).scalar()
    return Finished(get_task(connection, task_id), emptied=queued and not left)


def _delete(connection: sa.Connection, *, task_id: TaskId) -> bool:
    name = safe_text(task_id)
    below = sa.select(TASKS.c.id).where(TASKS.c.parent_task_id == name).limit(1)
    if connection.scalar(below) is not None:
        raise ConflictError("Task has subtasks", hint="delete the tasks below it first")
    return connection.execute(TASKS.delete().where(TASKS.c.id == name)).rowcount == 1


def _relate(connection: sa.Connection, wanted: TaskRelationship) -> TaskRelationship:
    row = rows.relationship_row(wanted)
    keys = ("from_task_id", "to_task_id", "relationship_type")
    same = sa.and_(*(RELATIONSHIPS.c[key] == row[key] for key in keys))
    # One at a time relates the same task; SQLite has but one writer and knows no such lock.
    lock = sa.select(TASKS.c.id).where(TASKS.c.id == row["from_task_id"])
    connection.execute(lock.with_for_update(key_share=True))
    query = sa.select(RELATIONSHIPS).where(same)
    found = connection.execute(query).mappings().one_or_none()
    if found is None:
        connection.execute(RELATIONSHIPS.insert(), row)
        return wanted
    return rows.relationship_from(found)


def _matches(wanted: TaskFilter) -> list[sa.ColumnElement[bool]]:
    exact = {
        "session_id": wanted.session_id,
        "agent_type": wanted.agent_type,
        "agent_id": wanted.agent_id,
        "job_id": wanted.job_id,
        "parent_task_id": wanted.parent_task_id,
    }
    found = [
        TASKS.c[name] == safe_text(value) for name, value in exact.items() if value is not None
    ]
    if wanted.statuses:
        found.append(TASKS.c.status.in_(wanted.statuses))
    return found
