"""Agents, the processes that drive them, and what people order of them."""

from __future__ import annotations

from typing import Final

import sqlalchemy as sa

from perstack.storage.database.schema.dialect import execute

_STATEMENTS: Final = (
    """
    CREATE TABLE agents (
        number %NUMBER%,
        id TEXT NOT NULL UNIQUE,
        type TEXT NOT NULL,
        name TEXT NOT NULL,
        status TEXT NOT NULL
            CHECK (status IN ('idle', 'running', 'completed', 'failed', 'stopped')),
        origin TEXT NOT NULL CHECK (origin IN ('spawned', 'run')),
        session_id TEXT,
        identity_id TEXT,
        parent_id TEXT,
        job_id TEXT,
        run_id TEXT,
        process_id TEXT,
        memory_namespace TEXT NOT NULL,
        current_task TEXT,
        last_error TEXT,
        step_number BIGINT NOT NULL,
        input_tokens BIGINT NOT NULL,
        output_tokens BIGINT NOT NULL,
        cost_usd DOUBLE PRECISION NOT NULL,
        cost_partial INTEGER NOT NULL,
        lost INTEGER NOT NULL,
        paused_at BIGINT,
        pause_reason TEXT,
        created_at BIGINT NOT NULL,
        updated_at BIGINT NOT NULL,
        metadata TEXT NOT NULL
    )
    """,
    """
    CREATE UNIQUE INDEX agents_name ON agents (name)
        WHERE origin = 'spawned' AND status <> 'stopped'
    """,
    "CREATE INDEX agents_called ON agents (name, number)",
    "CREATE INDEX agents_age ON agents (created_at, number)",
    "CREATE INDEX agents_state ON agents (origin, status)",
    "CREATE INDEX agents_update ON agents (updated_at)",
    "CREATE INDEX agents_job ON agents (job_id)",
    "CREATE INDEX agents_session ON agents (session_id) WHERE session_id IS NOT NULL",
    "CREATE INDEX agents_identity ON agents (identity_id) WHERE identity_id IS NOT NULL",
    "CREATE INDEX agents_process ON agents (process_id) WHERE process_id IS NOT NULL",
    """
    CREATE TABLE agent_processes (
        id TEXT PRIMARY KEY,
        pid BIGINT NOT NULL,
        host TEXT NOT NULL,
        started_at BIGINT NOT NULL,
        beat_at BIGINT NOT NULL
    )
    """,
    """
    CREATE TABLE agent_orders (
        id %NUMBER%,
        agent_id TEXT NOT NULL REFERENCES agents (id),
        kind TEXT NOT NULL CHECK (kind IN ('stop', 'pause', 'resume', 'steer')),
        text TEXT,
        given_by TEXT NOT NULL,
        created_at BIGINT NOT NULL
    )
    """,
    "CREATE INDEX agent_orders_agent ON agent_orders (agent_id, id)",
)


def create(connection: sa.Connection) -> None:
    """Add them."""
    execute(connection, _STATEMENTS)
