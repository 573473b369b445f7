"""Consensus checkpoints in the database: a decision is one conditional update."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import sqlalchemy as sa

from perstack.domain.consensus import ConsensusCheckpoint, ConsensusStatus, Decision
from perstack.domain.ids import ConsensusId, RunId
from perstack.errors import ConflictError, NotFoundError
from perstack.ports.consensus import AuditEntry
from perstack.ports.system import Clock
from perstack.storage.database import consensus_rows as rows
from perstack.storage.database.engine import Database
from perstack.storage.database.tables import AUDIT, CHECKPOINTS


class SqlConsensusStore:
    """Implements `ports.consensus.ConsensusStore`; owns its database handle."""

    def __init__(self, database: Database, *, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    async def create(self, checkpoint: ConsensusCheckpoint) -> None:
        """Write a pending checkpoint; again with the same content does nothing."""
        await self._database.write(partial(_create, checkpoint=checkpoint))

    async def get(self, consensus_id: ConsensusId) -> ConsensusCheckpoint:
        """Return one checkpoint."""
        return await self._database.read(partial(_get, consensus_id=consensus_id))

    async def list(
        self, *, statuses: Sequence[ConsensusStatus] = (), limit: int = 100
    ) -> Sequence[ConsensusCheckpoint]:
        """Return checkpoints, newest first."""
        query = sa.select(CHECKPOINTS).limit(limit)
        if statuses:
            query = query.where(CHECKPOINTS.c.status.in_(statuses))
        return await self._database.read(partial(_all, query=query))

    async def find_by_run(self, run_id: RunId) -> Sequence[ConsensusCheckpoint]:
        """Return a run's checkpoints, newest first."""
        query = sa.select(CHECKPOINTS).where(CHECKPOINTS.c.run_id == run_id)
        return await self._database.read(partial(_all, query=query))

    async def find_ids(self, prefix: str) -> Sequence[ConsensusId]:
        """Return at most two ids that begin with `prefix`."""
        return await self._database.read(partial(_find_ids, prefix=prefix))

    async def audit(self, consensus_id: ConsensusId) -> Sequence[AuditEntry]:
        """Return what happened to a checkpoint, in order."""
        return await self._database.read(partial(_audit, consensus_id=consensus_id))

    async def decide(
        self, consensus_id: ConsensusId, decision: Decision, *, now_ms: int
    ) -> ConsensusCheckpoint:
        """Decide a pending, unexpired checkpoint.

        The time that counts is that of the update, not of the call: the wait for the database's
        lock in between can outlast the checkpoint.
        """

        def work(connection: sa.Connection) -> ConsensusCheckpoint:
            now = max(now_ms, self._clock.now_ms())
            return _decide(connection, consensus_id, decision, now=now)

        return await self._database.write(work)

    async def expire_due(self, *, now_ms: int, auto_reject: bool) -> Sequence[ConsensusCheckpoint]:
        """Expire or reject what is overdue. Takes no write lock when nothing is."""
        if not await self._database.read(partial(_due, now=now_ms)):
            return ()
        return await self._database.write(partial(_expire_due, now=now_ms, auto_reject=auto_reject))

    async def version(self) -> str:
        """Return a value that is another one whenever anything changed."""
        return await self._database.version()

    async def aclose(self) -> None:
        """Close the database."""
        await self._database.aclose()


def _create(connection: sa.Connection, *, checkpoint: ConsensusCheckpoint) -> None:
    there = _find(connection, checkpoint.id)
    if there is None:
        connection.execute(CHECKPOINTS.insert().values(rows.to_row(checkpoint)))
        connection.execute(AUDIT.insert().values(rows.created(checkpoint)))
        return
    if not rows.same_question(there, checkpoint):
        raise ConflictError(f"consensus checkpoint {checkpoint.id} exists with other content")


def _find(connection: sa.Connection, consensus_id: str) -> ConsensusCheckpoint | None:
    query = sa.select(CHECKPOINTS).where(CHECKPOINTS.c.id == rows.text(consensus_id))
    row = connection.execute(query).mappings().one_or_none()
    return None if row is None else rows.from_row(row)


def _get(connection: sa.Connection, *, consensus_id: str) -> ConsensusCheckpoint:
    found = _find(connection, consensus_id)
    if found is None:
        raise NotFoundError(
            f"no consensus checkpoint {consensus_id[:40]!a}",
            hint="perstack consensus list --all shows them",
        )
    return found


def _all(
    connection: sa.Connection, *, query: sa.Select[tuple[object, ...]]
) -> Sequence[ConsensusCheckpoint]:
    newest_first = query.order_by(CHECKPOINTS.c.created_at.desc(), CHECKPOINTS.c.id.desc())
    return [rows.from_row(row) for row in connection.execute(newest_first).mappings()]


def _find_ids(connection: sa.Connection, *, prefix: str) -> Sequence[ConsensusId]:
    head = sa.func.substr(CHECKPOINTS.c.id, 1, len(prefix))
    # In order, so that an id that begins others comes first.
    query = sa.select(CHECKPOINTS.c.id).where(head == rows.text(prefix))
    query = query.order_by(CHECKPOINTS.c.id).limit(2)
    return [ConsensusId(str(found)) for found in connection.scalars(query)]


def _audit(connection: sa.Connection, *, consensus_id: str) -> Sequence[AuditEntry]:
    query = (
        sa.select(AUDIT)
        .where(AUDIT.c.checkpoint_id == rows.text(consensus_id))
        .order_by(AUDIT.c.id)
    )
    return [rows.to_entry(row) for row in connection.execute(query).mappings()]


def _decide(
    connection: sa.Connection, consensus_id: ConsensusId, decision: Decision, *, now: int
) -> ConsensusCheckpoint:
    asked = _get(connection, consensus_id=consensus_id)
    decided = rows.decided(asked, decision, now=now)
    if not _settle(connection, decided, CHECKPOINTS.c.expires_at > now):
        raise rows.too_late(_get(connection, consensus_id=consensus_id), now=now)
    connection.execute(AUDIT.insert(), rows.decision_entries(decided))
    return decided


def _settle(
    connection: sa.Connection, settled: ConsensusCheckpoint, in_time: sa.ColumnElement[bool]
) -> bool:
    """Write how a checkpoint ended if it is still pending and `in_time` holds; say whether."""
    update = (
        CHECKPOINTS.update()
        .where(CHECKPOINTS.c.id == settled.id, CHECKPOINTS.c.status == "pending")
        .where(sa.or_(CHECKPOINTS.c.expires_at.is_(None), in_time))
        .values(rows.outcome(settled))
    )
    return connection.execute(update).rowcount == 1


def _due(connection: sa.Connection, *, now: int) -> Sequence[ConsensusCheckpoint]:
    query = sa.select(CHECKPOINTS).where(
        CHECKPOINTS.c.status == "pending", CHECKPOINTS.c.expires_at <= now
    )
    return _all(connection, query=query)


def _expire_due(
    connection: sa.Connection, *, now: int, auto_reject: bool
) -> Sequence[ConsensusCheckpoint]:
    settled: list[ConsensusCheckpoint] = []
    for due in _due(connection, now=now):
        expired = rows.expired(due, now=now, auto_reject=auto_reject)
        if _settle(connection, expired, CHECKPOINTS.c.expires_at <= now):
            connection.execute(AUDIT.insert(), rows.expiry_entries(expired))
            settled.append(expired)
    return settled
