"""Standing approvals: exact calls that need no decision in the rest of a job."""

from __future__ import annotations

from typing import Final

import sqlalchemy as sa

from perstack.storage.database.schema.dialect import execute

_STATEMENTS: Final = (
    """
    CREATE TABLE standing_approvals (
        id TEXT PRIMARY KEY,
        job_id TEXT NOT NULL,
        skill_name TEXT NOT NULL,
        tool_name TEXT NOT NULL,
        arguments TEXT NOT NULL,
        consensus_id TEXT NOT NULL REFERENCES consensus_checkpoints (id),
        approved_by TEXT NOT NULL,
        approved_at BIGINT NOT NULL,
        revoked_by TEXT,
        revoked_at BIGINT
    )
    """,
    "CREATE INDEX standing_approvals_job ON standing_approvals (job_id, approved_at)",
)


def create(connection: sa.Connection) -> None:
    """Add them."""
    execute(connection, _STATEMENTS)
