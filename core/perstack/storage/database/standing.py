"""Standing approvals in the database; they are written with the decision that gives them."""

from __future__ import annotations

import json
from collections.abc import Sequence

import sqlalchemy as sa
from pydantic import ValidationError

from perstack.domain.ids import JobId, StandingId
from perstack.domain.standing import StandingApproval
from perstack.errors import CorruptRecordError, NotFoundError
from perstack.storage.database.tables import AUDIT, STANDING
from perstack.storage.database.text import safe_text


def insert(connection: sa.Connection, given: Sequence[StandingApproval]) -> None:
    """Write them and their audit entries, in the caller's transaction."""
    for one in given:
        connection.execute(STANDING.insert().values(one.model_dump(by_alias=False)))
        _note(connection, one, "standing_approved", one.approved_by, one.approved_at)


def find(connection: sa.Connection, *, job_id: JobId | None) -> Sequence[StandingApproval]:
    """Return a job's, or all, newest first."""
    query = sa.select(STANDING).order_by(STANDING.c.approved_at.desc(), STANDING.c.id)
    if job_id is not None:
        query = query.where(STANDING.c.job_id == safe_text(job_id))
    return [_from_row(row) for row in connection.execute(query).mappings()]


def revoke(
    connection: sa.Connection, *, standing_id: StandingId, by: str, now: int
) -> StandingApproval:
    """Take one back, once."""
    mine = STANDING.c.id == safe_text(standing_id)
    update = STANDING.update().where(mine, STANDING.c.revoked_at.is_(None))
    changed = connection.execute(update.values(revoked_by=safe_text(by), revoked_at=now)).rowcount
    row = connection.execute(sa.select(STANDING).where(mine)).mappings().one_or_none()
    if row is None:
        raise NotFoundError(
            f"no standing approval {standing_id[:60]!a}",
            hint="perstack consensus standing lists them",
        )
    found = _from_row(row)
    if changed:
        _note(connection, found, "standing_revoked", by, now)
    return found


def _from_row(row: sa.RowMapping) -> StandingApproval:
    try:
        return StandingApproval.model_validate(dict(row))
    except ValidationError as error:
        raise CorruptRecordError(
            f"the standing approval {str(row['id'])[:60]!a} is damaged"
        ) from error


def _note(
    connection: sa.Connection, one: StandingApproval, event: str, actor: str, at: int
) -> None:
    entry = {
        "checkpoint_id": one.consensus_id,
        "event": event,
        "actor": safe_text(actor),
        "actor_type": "human",
        "details": json.dumps({"standingId": one.id, "toolName": one.tool_name}),
        "created_at": at,
    }
    connection.execute(AUDIT.insert().values(entry))
