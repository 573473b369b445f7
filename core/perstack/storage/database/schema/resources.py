"""Resource metrics, deliverables and exhaustion events."""

from __future__ import annotations

from typing import Final

import sqlalchemy as sa

from perstack.storage.database.schema.dialect import execute

_PHASES: Final = "('normal', 'warning', 'intervention', 'termination')"
_TRIGGERS: Final = (
    "('maxFilesAccessed', 'maxApiCalls', 'maxSubtasksSpawned', 'maxTokensConsumed',"
    " 'maxTimeWithoutDeliverableMs', 'manual')"
)
_DELIVERABLES: Final = (
    "('task_completed', 'code_committed', 'tests_passed', 'user_checkpoint', 'artifact_produced')"
)
_STATEMENTS: Final = (
    f"""
    CREATE TABLE agent_resource_metrics (
        agent_id TEXT PRIMARY KEY,
        agent_type TEXT NOT NULL,
        files_read BIGINT NOT NULL,
        files_written BIGINT NOT NULL,
        files_modified BIGINT NOT NULL,
        api_calls_count BIGINT NOT NULL,
        subtasks_spawned BIGINT NOT NULL,
        tokens_consumed BIGINT NOT NULL,
        started_at BIGINT NOT NULL,
        last_deliverable_at BIGINT,
        last_activity_at BIGINT NOT NULL,
        phase TEXT NOT NULL CHECK (phase IN {_PHASES}),
        paused_at BIGINT,
        pause_reason TEXT,
        triggered_by TEXT CHECK (triggered_by IN {_TRIGGERS}),
        counted_from TEXT NOT NULL,
        clock_from BIGINT NOT NULL,
        idle_since BIGINT,
        raised INTEGER NOT NULL,
        run_id TEXT,
        last_seq BIGINT NOT NULL
    )
    """,
    "CREATE INDEX agent_resource_metrics_activity ON agent_resource_metrics (last_activity_at)",
    f"""
    CREATE TABLE agent_deliverables (
        number %NUMBER%,
        id TEXT NOT NULL UNIQUE,
        agent_id TEXT NOT NULL REFERENCES agent_resource_metrics (agent_id),
        type TEXT NOT NULL CHECK (type IN {_DELIVERABLES}),
        description TEXT,
        artifacts TEXT NOT NULL,
        created_at BIGINT NOT NULL
    )
    """,
    "CREATE INDEX agent_deliverables_agent ON agent_deliverables (agent_id, number)",
    f"""
    CREATE TABLE resource_exhaustion_events (
        number %NUMBER%,
        id TEXT NOT NULL UNIQUE,
        agent_id TEXT NOT NULL,
        agent_type TEXT NOT NULL,
        phase TEXT NOT NULL CHECK (phase IN {_PHASES}),
        action_taken TEXT NOT NULL
            CHECK (action_taken IN ('allowed', 'warned', 'paused', 'terminated')),
        metrics TEXT NOT NULL,
        thresholds TEXT NOT NULL,
        triggered_by TEXT NOT NULL CHECK (triggered_by IN {_TRIGGERS}),
        created_at BIGINT NOT NULL
    )
    """,
    """
    CREATE INDEX resource_exhaustion_events_agent
        ON resource_exhaustion_events (agent_id, number)
    """,
    "CREATE INDEX resource_exhaustion_events_time ON resource_exhaustion_events (created_at)",
)


def create(connection: sa.Connection) -> None:
    """Add them."""
    execute(connection, _STATEMENTS)
