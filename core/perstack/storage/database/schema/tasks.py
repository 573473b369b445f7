"""Tasks, their relationships, the queue, embeddings and drift events."""

from __future__ import annotations

from typing import Final

import sqlalchemy as sa

from perstack.storage.database.schema.dialect import execute

_STATEMENTS: Final = (
    """
    CREATE TABLE tasks (
        number %NUMBER%,
        id TEXT NOT NULL UNIQUE,
        agent_type TEXT NOT NULL,
        status TEXT NOT NULL CHECK (status IN ('pending', 'running', 'completed', 'failed')),
        input TEXT,
        output TEXT,
        session_id TEXT,
        parent_task_id TEXT REFERENCES tasks (id),
        risk_level TEXT CHECK (risk_level IN ('low', 'medium', 'high')),
        depth INTEGER NOT NULL,
        consensus_checkpoint_id TEXT,
        job_id TEXT,
        run_id TEXT,
        agent_id TEXT,
        priority INTEGER CHECK (priority BETWEEN 1 AND 10),
        attempts INTEGER NOT NULL,
        feedback TEXT,
        created_at BIGINT NOT NULL,
        started_at BIGINT,
        completed_at BIGINT
    )
    """,
    "CREATE INDEX tasks_session ON tasks (session_id, number)",
    "CREATE INDEX tasks_status ON tasks (status, number)",
    "CREATE INDEX tasks_parent ON tasks (parent_task_id, number)",
    "CREATE INDEX tasks_job ON tasks (job_id, number)",
    "CREATE INDEX tasks_agent ON tasks (agent_id, number)",
    """
    CREATE TABLE task_queue (
        number %NUMBER%,
        task_id TEXT NOT NULL UNIQUE REFERENCES tasks (id) ON DELETE CASCADE,
        agent_type TEXT NOT NULL,
        priority INTEGER NOT NULL CHECK (priority BETWEEN 1 AND 10),
        state TEXT NOT NULL CHECK (state IN ('queued', 'processing')),
        enqueued_at BIGINT NOT NULL,
        claimed_at BIGINT,
        claimed_by TEXT
    )
    """,
    "CREATE INDEX task_queue_order ON task_queue (state, priority DESC, number)",
    "CREATE INDEX task_queue_type ON task_queue (state, agent_type, priority DESC, number)",
    """
    CREATE TABLE task_relationships (
        number %NUMBER%,
        id TEXT NOT NULL UNIQUE,
        from_task_id TEXT NOT NULL REFERENCES tasks (id) ON DELETE CASCADE,
        to_task_id TEXT NOT NULL REFERENCES tasks (id) ON DELETE CASCADE,
        relationship_type TEXT NOT NULL CHECK (
            relationship_type IN ('parent_of', 'derived_from', 'depends_on', 'supersedes')
        ),
        metadata TEXT,
        created_at BIGINT NOT NULL,
        UNIQUE (from_task_id, to_task_id, relationship_type)
    )
    """,
    "CREATE INDEX task_relationships_to ON task_relationships (to_task_id, relationship_type)",
    """
    CREATE TABLE task_embeddings (
        task_id TEXT PRIMARY KEY REFERENCES tasks (id) ON DELETE CASCADE,
        state TEXT NOT NULL CHECK (state IN ('pending', 'ready', 'failed')),
        model TEXT NOT NULL,
        embedding %BLOB%,
        dimensions INTEGER,
        created_at BIGINT NOT NULL
    )
    """,
    # No reference to the tasks: what was found stays when they are deleted.
    """
    CREATE TABLE drift_detection_events (
        number %NUMBER%,
        id TEXT NOT NULL UNIQUE,
        task_id TEXT,
        task_type TEXT NOT NULL,
        ancestor_task_id TEXT,
        similarity_score DOUBLE PRECISION,
        threshold DOUBLE PRECISION NOT NULL,
        action_taken TEXT NOT NULL CHECK (action_taken IN ('allowed', 'warned', 'prevented')),
        verdict TEXT NOT NULL CHECK (verdict IN ('inactive', 'judged', 'pending')),
        reason TEXT,
        task_input TEXT,
        created_at BIGINT NOT NULL
    )
    """,
    "CREATE INDEX drift_detection_events_at ON drift_detection_events (created_at)",
)


def create(connection: sa.Connection) -> None:
    """Add them."""
    execute(connection, _STATEMENTS)
