"""Consensus checkpoints and their audit log."""

from __future__ import annotations

from typing import Final

import sqlalchemy as sa

from perstack.storage.database.schema.dialect import execute

_STATEMENTS: Final = (
    """
    CREATE TABLE consensus_checkpoints (
        id TEXT PRIMARY KEY,
        job_id TEXT NOT NULL,
        run_id TEXT NOT NULL,
        expert_key TEXT NOT NULL,
        task_id TEXT NOT NULL,
        parent_task_id TEXT,
        depth INTEGER NOT NULL,
        reason TEXT NOT NULL,
        proposed_subtasks TEXT NOT NULL,
        risk_level TEXT NOT NULL CHECK (risk_level IN ('low', 'medium', 'high')),
        status TEXT NOT NULL CHECK (status IN ('pending', 'approved', 'rejected', 'expired')),
        reviewer_strategy TEXT NOT NULL,
        decision TEXT,
        created_at BIGINT NOT NULL,
        expires_at BIGINT,
        decided_at BIGINT
    )
    """,
    "CREATE INDEX consensus_checkpoints_status ON consensus_checkpoints (status, created_at)",
    "CREATE INDEX consensus_checkpoints_run ON consensus_checkpoints (run_id, created_at)",
    """
    CREATE TABLE consensus_audit (
        id %NUMBER%,
        checkpoint_id TEXT NOT NULL REFERENCES consensus_checkpoints (id),
        event TEXT NOT NULL,
        actor TEXT NOT NULL,
        actor_type TEXT NOT NULL,
        details TEXT NOT NULL,
        created_at BIGINT NOT NULL
    )
    """,
    "CREATE INDEX consensus_audit_checkpoint ON consensus_audit (checkpoint_id, id)",
)


def create(connection: sa.Connection) -> None:
    """Add them."""
    execute(connection, _STATEMENTS)
