"""Consensus checkpoints in the database: a decision is one conditional update."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial

import sqlalchemy as sa

from perstack.domain.consensus import ConsensusCheckpoint, ConsensusStatus, Decision, Review
from perstack.domain.ids import ConsensusId, JobId, RunId, StandingId, TaskId
from perstack.domain.standing import StandingApproval
from perstack.domain.tasks import Task
from perstack.errors import ConflictError, NotFoundError
from perstack.ports.consensus import AuditEntry, CheckpointPage, ReviewClaim
from perstack.ports.system import Clock
from perstack.storage.database import consensus_rows as rows
from perstack.storage.database import standing as standing_rows
from perstack.storage.database.engine import Database
from perstack.storage.database.tables import AUDIT, CHECKPOINTS
from perstack.storage.database.tasks import insert_task
from perstack.storage.database.text import json_text, safe_text


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

    async def page(
        self, *, statuses: Sequence[ConsensusStatus], limit: int, offset: int
    ) -> CheckpointPage:
        """Return some of the checkpoints, oldest first, and how many there are."""
        wanted = CHECKPOINTS.c.status.in_(statuses)
        return await self._database.read(partial(_page, wanted=wanted, limit=limit, offset=offset))

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
        self,
        consensus_id: ConsensusId,
        decision: Decision,
        *,
        now_ms: int,
        standing: Sequence[StandingApproval] = (),
    ) -> ConsensusCheckpoint:
        """Decide a pending, unexpired checkpoint; write what it lets pass from now on, too.

        The time that counts is that of the update, not of the call: the wait for the database's
        lock in between can outlast the checkpoint.
        """

        def work(connection: sa.Connection) -> ConsensusCheckpoint:
            now = max(now_ms, self._clock.now_ms())
            decided = _decide(connection, consensus_id, decision, now=now)
            standing_rows.insert(connection, standing)
            return decided

        return await self._database.write(work)

    async def list_standing(self, job_id: JobId | None = None) -> Sequence[StandingApproval]:
        """Return a job's standing approvals, or all, newest first."""
        return await self._database.read(partial(standing_rows.find, job_id=job_id))

    async def revoke_standing(
        self, standing_id: StandingId, *, by: str, now_ms: int
    ) -> StandingApproval:
        """Take a standing approval back."""
        return await self._database.write(
            partial(standing_rows.revoke, standing_id=standing_id, by=by, now=now_ms)
        )

    async def expire_due(self, *, now_ms: int, auto_reject: bool) -> Sequence[ConsensusCheckpoint]:
        """Expire or reject what is overdue. Takes no write lock when nothing is."""
        if not await self._database.read(partial(_due, now=now_ms)):
            return ()
        return await self._database.write(partial(_expire_due, now=now_ms, auto_reject=auto_reject))

    async def claim_review(
        self, consensus_id: ConsensusId, claim: ReviewClaim, *, now_ms: int
    ) -> ConsensusCheckpoint | None:
        """Claim the review of a pending checkpoint."""
        return await self._database.write(
            partial(_claim_review, consensus_id=consensus_id, claim=claim, now=now_ms)
        )

    async def renew_review(self, consensus_id: ConsensusId, holder: str, *, until_ms: int) -> bool:
        """Keep a claim."""
        values = {"review_until": until_ms}
        return await self._database.write(
            lambda connection: _hold(connection, consensus_id, holder, values)
        )

    async def finish_review(self, consensus_id: ConsensusId, holder: str, review: Review) -> bool:
        """Write down what the holder of the claim found, and give the claim up."""
        return await self._database.write(
            partial(_finish_review, consensus_id=consensus_id, holder=holder, review=review)
        )

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
    query = sa.select(CHECKPOINTS).where(CHECKPOINTS.c.id == safe_text(consensus_id))
    row = connection.execute(query).mappings().one_or_none()
    return None if row is None else rows.from_row(row)


def _get(connection: sa.Connection, *, consensus_id: str) -> ConsensusCheckpoint:
    found = _find(connection, consensus_id)
    if found is None:
        raise NotFoundError("Checkpoint not found", hint="perstack consensus list --all shows them")
    return found


def _all(
    connection: sa.Connection, *, query: sa.Select[tuple[object, ...]]
) -> Sequence[ConsensusCheckpoint]:
    newest_first = query.order_by(CHECKPOINTS.c.created_at.desc(), CHECKPOINTS.c.id.desc())
    return [rows.from_row(row) for row in connection.execute(newest_first).mappings()]


def _page(
    connection: sa.Connection, *, wanted: sa.ColumnElement[bool], limit: int, offset: int
) -> CheckpointPage:
    query = sa.select(CHECKPOINTS).where(wanted)
    query = query.order_by(CHECKPOINTS.c.created_at, CHECKPOINTS.c.id).limit(limit).offset(offset)
    total = connection.scalar(sa.select(sa.func.count()).select_from(CHECKPOINTS).where(wanted))
    found = tuple(rows.from_row(row) for row in connection.execute(query).mappings())
    return CheckpointPage(found, total or 0)


def _find_ids(connection: sa.Connection, *, prefix: str) -> Sequence[ConsensusId]:
    head = sa.func.substr(CHECKPOINTS.c.id, 1, len(prefix))
    # In order, so that an id that begins others comes first.
    query = sa.select(CHECKPOINTS.c.id).where(head == safe_text(prefix))
    query = query.order_by(CHECKPOINTS.c.id).limit(2)
    return [ConsensusId(str(found)) for found in connection.scalars(query)]


def _audit(connection: sa.Connection, *, consensus_id: str) -> Sequence[AuditEntry]:
    query = (
        sa.select(AUDIT)
        .where(AUDIT.c.checkpoint_id == safe_text(consensus_id))
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
    if decided.run_id is None:
        _make_tasks(connection, decided, now=now)
    return decided


def _make_tasks(connection: sa.Connection, decided: ConsensusCheckpoint, *, now: int) -> None:
    """Make the approved subtasks tasks, each with the id that it was proposed with."""
    for subtask in decided.approved_subtasks:
        insert_task(
            connection,
            Task(
                id=TaskId(subtask.id),
                agent_type=subtask.agent_type,
                input=subtask.input,
                session_id=decided.session_id,
                parent_task_id=subtask.parent_task_id,
                risk_level=subtask.estimated_risk_level,
                depth=decided.depth,
                consensus_checkpoint_id=decided.id,
                created_at=now,
            ),
        )


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


def _claim_review(
    connection: sa.Connection, *, consensus_id: ConsensusId, claim: ReviewClaim, now: int
) -> ConsensusCheckpoint | None:
    asked = _get(connection, consensus_id=consensus_id)
    if asked.review is not None and asked.review.error is None:
        return None
    column = CHECKPOINTS.c.review_until
    update = (
        CHECKPOINTS.update()
        .where(CHECKPOINTS.c.id == asked.id, CHECKPOINTS.c.status == "pending")
        .where(sa.or_(CHECKPOINTS.c.review_holder.is_(None), column <= now))
        .values(review_holder=claim.holder, review_until=claim.until_ms)
    )
    if connection.execute(update).rowcount != 1:
        return None
    entry = rows.review_started(asked, claim.reviewer, model=claim.model, at=now)
    connection.execute(AUDIT.insert().values(entry))
    return asked


def _hold(
    connection: sa.Connection,
    consensus_id: ConsensusId,
    holder: str,
    values: Mapping[str, str | int | None],
) -> bool:
    """Set columns of a pending checkpoint if `holder` still reviews it; say whether."""
    update = (
        CHECKPOINTS.update()
        .where(CHECKPOINTS.c.id == safe_text(consensus_id), CHECKPOINTS.c.status == "pending")
        .where(CHECKPOINTS.c.review_holder == holder)
        .values(values)
    )
    return connection.execute(update).rowcount == 1


def _finish_review(
    connection: sa.Connection, *, consensus_id: ConsensusId, holder: str, review: Review
) -> bool:
    values = {
        "review": json_text(review.model_dump()),
        "review_holder": None,
        "review_until": None,
    }
    if not _hold(connection, consensus_id, holder, values):
        return False
    asked = _get(connection, consensus_id=consensus_id)
    connection.execute(AUDIT.insert().values(rows.reviewed(asked, review)))
    return True
