"""Vectors of tasks and the log of drift checks in the database."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Final

import sqlalchemy as sa

from perstack.domain.drift import DriftEvent, DriftMetrics
from perstack.domain.ids import TaskId
from perstack.ports.tasks import Ancestor
from perstack.storage.database import task_rows as rows
from perstack.storage.database.engine import Database
from perstack.storage.database.schema.dialect import is_sqlite
from perstack.storage.database.task_tables import DRIFT_EVENTS, EMBEDDINGS, RELATIONSHIPS, TASKS
from perstack.storage.database.tasks import get_task

if TYPE_CHECKING:
    from sqlalchemy.dialects.postgresql import Insert as BigInsert
    from sqlalchemy.dialects.sqlite import Insert as LiteInsert

_UPWARDS: Final = ("parent_of", "derived_from")


class SqlDriftStore:
    """Implements `ports.tasks.DriftStore`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def ancestors(
        self, parent_task_id: TaskId, *, levels: int, model: str, limit: int
    ) -> Sequence[Ancestor]:
        """Return the parent and what is above it, nearest first."""

        def work(connection: sa.Connection) -> Sequence[Ancestor]:
            get_task(connection, parent_task_id, "Parent task not found")
            depths = _upwards(connection, parent_task_id, levels=levels, limit=limit)
            return _described(connection, depths, model)

        return await self._database.read(work)

    async def save(
        self, vectors: Sequence[tuple[TaskId, bytes]], *, model: str, now_ms: int
    ) -> None:
        """Keep vectors."""
        made = [rows.vector_row(one, model, vector, now_ms) for one, vector in vectors]
        await self._database.write(partial(_upsert, values=made))

    async def give_up(self, task_ids: Sequence[TaskId], *, model: str) -> None:
        """Mark vectors as not being on their way."""
        update = EMBEDDINGS.update().where(
            EMBEDDINGS.c.task_id.in_(task_ids),
            EMBEDDINGS.c.model == model,
            EMBEDDINGS.c.state == "pending",
        )
        await self._database.write(lambda found: found.execute(update.values(state="failed")))

    async def log(self, event: DriftEvent) -> None:
        """Write down a check."""
        row = rows.event_row(event)
        await self._database.write(lambda found: found.execute(DRIFT_EVENTS.insert(), row))

    async def metrics(self, *, since_ms: int = 0) -> DriftMetrics:
        """Return figures over the checks since then."""
        query = sa.select(
            sa.func.count(DRIFT_EVENTS.c.number).label("total_events"),
            *(
                _count(DRIFT_EVENTS.c.action_taken == action).label(f"{action}_count")
                for action in ("allowed", "warned", "prevented")
            ),
            _count(DRIFT_EVENTS.c.verdict == "pending").label("pending_count"),
            sa.func.coalesce(sa.func.avg(DRIFT_EVENTS.c.similarity_score), 0.0).label(
                "average_similarity"
            ),
        ).where(DRIFT_EVENTS.c.created_at >= since_ms)

        def work(connection: sa.Connection) -> DriftMetrics:
            return DriftMetrics.model_validate(dict(connection.execute(query).mappings().one()))

        return await self._database.read(work)

    async def events(self, *, limit: int = 50) -> Sequence[DriftEvent]:
        """Return the latest checks, newest first."""
        query = sa.select(DRIFT_EVENTS).order_by(DRIFT_EVENTS.c.number.desc()).limit(limit)

        def work(connection: sa.Connection) -> Sequence[DriftEvent]:
            return [rows.event_from(row) for row in connection.execute(query).mappings()]

        return await self._database.read(work)


def _count(condition: sa.ColumnElement[bool]) -> sa.ColumnElement[int]:
    return sa.func.coalesce(sa.func.sum(sa.case((condition, 1), else_=0)), 0)


def _upwards(
    connection: sa.Connection, parent: TaskId, *, levels: int, limit: int
) -> dict[str, int]:
    """Return the depth of each ancestor: a search by breadth, which no cycle can hold up."""
    found: dict[str, int] = {parent: 1}
    frontier: list[str] = [parent]
    for depth in range(2, levels + 1):
        # At most `limit` of them are known already.
        above = _parents(connection, frontier, limit=2 * limit)
        frontier = [one for one in above if one not in found][: limit - len(found)]
        if not frontier:
            break
        found.update(dict.fromkeys(frontier, depth))
    return found


def _parents(connection: sa.Connection, below: Sequence[str], *, limit: int) -> Sequence[str]:
    above = RELATIONSHIPS.c.from_task_id
    related = sa.select(above).where(
        RELATIONSHIPS.c.to_task_id.in_(below),
        RELATIONSHIPS.c.relationship_type.in_(_UPWARDS),
    )
    earliest = related.group_by(above).order_by(sa.func.min(RELATIONSHIPS.c.number)).limit(limit)
    return [str(one) for one in connection.scalars(earliest)]


def _described(connection: sa.Connection, depths: dict[str, int], model: str) -> Sequence[Ancestor]:
    same = sa.and_(EMBEDDINGS.c.task_id == TASKS.c.id, EMBEDDINGS.c.model == model)
    query = (
        sa.select(
            TASKS.c.id,
            TASKS.c.input,
            EMBEDDINGS.c.state,
            EMBEDDINGS.c.created_at,
            EMBEDDINGS.c.embedding,
        )
        .join(EMBEDDINGS, same, isouter=True)
        .where(TASKS.c.id.in_(list(depths)))
    )
    found = {
        row["id"]: Ancestor(
            task_id=TaskId(row["id"]),
            depth=depths[row["id"]],
            input=row["input"],
            state=row["state"],
            marked_at=row["created_at"],
            vector=row["embedding"] if row["state"] == "ready" else None,
        )
        for row in connection.execute(query).mappings()
    }
    return [found[one] for one in depths if one in found]


def _upsert(connection: sa.Connection, values: Sequence[Mapping[str, object]]) -> None:
    wanted = [one["task_id"] for one in values]
    there = set(connection.scalars(sa.select(TASKS.c.id).where(TASKS.c.id.in_(wanted))))
    # In one order everywhere: on a server, two that write the same never wait for each other.
    known = sorted(
        (one for one in values if one["task_id"] in there), key=lambda one: str(one["task_id"])
    )
    if not known:
        return
    insert = _insert(connection)
    columns = [name for name in known[0] if name != "task_id"]
    replace = insert.on_conflict_do_update(
        index_elements=["task_id"], set_={name: insert.excluded[name] for name in columns}
    )
    connection.execute(replace, known)


def _insert(connection: sa.Connection) -> LiteInsert | BigInsert:
    """Return the dialect's insert; the other's need not be loaded, which takes a while."""
    if is_sqlite(connection):
        from sqlalchemy.dialects import sqlite

        return sqlite.insert(EMBEDDINGS)
    from sqlalchemy.dialects import postgresql

    return postgresql.insert(EMBEDDINGS)
