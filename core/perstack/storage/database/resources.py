"""Resource metrics in the database: what changes them waits for whoever changes them now."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Final

import sqlalchemy as sa

from perstack.domain.ids import AgentId
from perstack.domain.resources import (
    PHASES,
    Deliverable,
    ExhaustionEvent,
    Phase,
    ResourceMetrics,
    ResourceSummary,
)
from perstack.ports.resources import Change, Written
from perstack.storage.database import resource_rows as rows
from perstack.storage.database.engine import Database
from perstack.storage.database.resource_rows import DELIVERABLES, EVENTS, METRICS
from perstack.storage.database.schema.dialect import is_sqlite
from perstack.storage.database.text import safe_text

# Fewer than any database takes in one statement.
_AT_ONCE: Final = 500
_SHOWN: Final = 10
_LOCK: Final = 7307816
_UPDATE: Final = METRICS.update().where(METRICS.c.agent_id == sa.bindparam("key"))


class SqlResourceStore:
    """Implements `ports.resources.ResourceStore` over a handle that others share."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def change(self, changes: Sequence[tuple[AgentId, Change]]) -> Sequence[Written]:
        """Change metrics in one transaction."""
        return await self._database.write(partial(_change_all, changes=changes))

    async def find(self, agent_ids: Sequence[AgentId]) -> Sequence[ResourceMetrics]:
        """Return the metrics of those of the agents that are tracked."""
        wanted = [safe_text(one) for one in agent_ids]
        if not wanted:
            return ()
        return await self._database.read(partial(_find_all, wanted=wanted))

    async def latest(self, *, limit: int) -> Sequence[ResourceMetrics]:
        """Return metrics, the latest active first."""
        order = (METRICS.c.last_activity_at.desc(), METRICS.c.agent_id)
        return await self._database.read(
            partial(_metrics, query=sa.select(METRICS).order_by(*order).limit(limit))
        )

    async def remove(self, agent_id: AgentId) -> bool:
        """Forget an agent's metrics and deliverables."""
        return await self._database.write(partial(_remove, agent_id=safe_text(agent_id)))

    async def deliverables(self, agent_id: AgentId, *, limit: int = 100) -> Sequence[Deliverable]:
        """Return what an agent delivered, newest first."""
        query = (
            sa.select(DELIVERABLES)
            .where(DELIVERABLES.c.agent_id == safe_text(agent_id))
            .order_by(DELIVERABLES.c.number.desc())
            .limit(limit)
        )
        return await self._database.read(
            lambda c: [rows.from_row(Deliverable, row) for row in c.execute(query).mappings()]
        )

    async def events(
        self, *, agent_id: AgentId | None = None, since_ms: int = 0, limit: int = _SHOWN
    ) -> Sequence[ExhaustionEvent]:
        """Return changes of phase, newest first."""
        return await self._database.read(
            partial(_events, agent_id=agent_id, since_ms=since_ms, limit=limit)
        )

    async def summary(self, *, since_ms: int = 0) -> ResourceSummary:
        """Return figures over all tracked agents."""
        return await self._database.read(partial(_summary, since_ms=since_ms))


def _change_all(
    connection: sa.Connection, *, changes: Sequence[tuple[AgentId, Change]]
) -> list[Written]:
    _wait_for_others(connection)
    keys = [safe_text(agent_id) for agent_id, _ in changes]
    before: dict[str, ResourceMetrics] = {
        one.agent_id: one for one in _find_all(connection, wanted=keys)
    }
    after = dict(before)
    written: list[Written] = []
    for key, (_, change) in zip(keys, changes, strict=True):
        done = change(after.get(key))
        if done.metrics is not None:
            after[key] = done.metrics
        written.append(done)
    new = [rows.to_row(metrics) for key, metrics in after.items() if key not in before]
    changed = [
        {"key": key, **rows.to_row(metrics)}
        for key, metrics in after.items()
        if key in before and metrics != before[key]
    ]
    given = [one.deliverable for one in written if one.deliverable is not None]
    events = [event for one in written for event in one.events]
    _execute_many(connection, METRICS.insert(), new)
    _execute_many(connection, _UPDATE, changed)
    _execute_many(connection, DELIVERABLES.insert(), [rows.to_row(one) for one in given])
    _execute_many(connection, EVENTS.insert(), [rows.to_row(one) for one in events])
    return written


def _wait_for_others(connection: sa.Connection) -> None:
    """Be the only one to change metrics until the transaction ends, as SQLite's writer is anyway.

    Locking rows instead would let two processes wait for each other, and not cover new rows.
    """
    if not is_sqlite(connection):
        connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_LOCK})")


def _execute_many(
    connection: sa.Connection, statement: sa.Executable, values: Sequence[rows.Row]
) -> None:
    if values:
        connection.execute(statement, list(values))


def _find_all(connection: sa.Connection, *, wanted: Sequence[str]) -> list[ResourceMetrics]:
    found: list[ResourceMetrics] = []
    for start in range(0, len(wanted), _AT_ONCE):
        some = wanted[start : start + _AT_ONCE]
        found += _metrics(connection, query=sa.select(METRICS).where(METRICS.c.agent_id.in_(some)))
    return found


def _metrics(
    connection: sa.Connection, *, query: sa.Select[tuple[object, ...]]
) -> list[ResourceMetrics]:
    return [rows.from_row(ResourceMetrics, row) for row in connection.execute(query).mappings()]


def _remove(connection: sa.Connection, *, agent_id: str) -> bool:
    _wait_for_others(connection)
    connection.execute(DELIVERABLES.delete().where(DELIVERABLES.c.agent_id == agent_id))
    removed = connection.execute(METRICS.delete().where(METRICS.c.agent_id == agent_id))
    return removed.rowcount == 1


def _events(
    connection: sa.Connection, *, agent_id: AgentId | None, since_ms: int, limit: int
) -> list[ExhaustionEvent]:
    query = sa.select(EVENTS).where(EVENTS.c.created_at >= since_ms)
    if agent_id is not None:
        query = query.where(EVENTS.c.agent_id == safe_text(agent_id))
    query = query.order_by(EVENTS.c.number.desc()).limit(limit)
    return [rows.from_row(ExhaustionEvent, row) for row in connection.execute(query).mappings()]


def _summary(connection: sa.Connection, *, since_ms: int) -> ResourceSummary:
    paused = sa.func.count(METRICS.c.paused_at)
    by_phase = sa.select(METRICS.c.phase, sa.func.count(), paused).group_by(METRICS.c.phase)
    agents: dict[Phase, int] = dict.fromkeys(PHASES, 0)
    held = 0
    for name, agents_in_it, paused_in_it in connection.execute(by_phase):
        agents[name] = agents_in_it
        held += paused_in_it
    totals = (
        sa.select(EVENTS.c.phase, sa.func.count())
        .where(EVENTS.c.created_at >= since_ms)
        .group_by(EVENTS.c.phase)
    )
    seen = {str(row[0]): int(row[1]) for row in connection.execute(totals)}
    return ResourceSummary(
        total_agents_tracked=sum(agents.values()),
        agents_by_phase=agents,
        paused_agents=held,
        total_warnings=seen.get("warning", 0),
        total_interventions=seen.get("intervention", 0),
        total_terminations=seen.get("termination", 0),
        recent_events=tuple(_events(connection, agent_id=None, since_ms=since_ms, limit=_SHOWN)),
    )
