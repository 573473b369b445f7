"""Projects, their tasks and specifications."""

from __future__ import annotations

from typing import Final

import sqlalchemy as sa

from perstack.storage.database.schema.dialect import execute

_STATEMENTS: Final = (
    """
    CREATE TABLE projects (
        id TEXT PRIMARY KEY,
        name TEXT NOT NULL,
        path TEXT NOT NULL,
        description TEXT,
        status TEXT NOT NULL CHECK (status IN ('active', 'archived')),
        created_at BIGINT NOT NULL,
        updated_at BIGINT NOT NULL,
        metadata TEXT NOT NULL
    )
    """,
    "CREATE INDEX projects_changed ON projects (updated_at)",
    """
    CREATE TABLE project_tasks (
        id TEXT PRIMARY KEY,
        project_id TEXT NOT NULL REFERENCES projects (id) ON DELETE CASCADE,
        session_id TEXT,
        title TEXT NOT NULL,
        description TEXT,
        phase TEXT NOT NULL CHECK (phase IN
            ('draft', 'specification', 'review', 'development', 'completed', 'cancelled')),
        priority INTEGER NOT NULL CHECK (priority BETWEEN 1 AND 10),
        assigned_agents TEXT NOT NULL,
        task_ids TEXT NOT NULL,
        consensus_ids TEXT NOT NULL,
        created_at BIGINT NOT NULL,
        updated_at BIGINT NOT NULL,
        completed_at BIGINT
    )
    """,
    "CREATE INDEX project_tasks_order ON project_tasks (project_id, priority, updated_at)",
    """
    CREATE TABLE specifications (
        id TEXT PRIMARY KEY,
        project_task_id TEXT NOT NULL REFERENCES project_tasks (id) ON DELETE CASCADE,
        type TEXT NOT NULL CHECK (type IN
            ('architecture', 'requirements', 'design', 'api', 'other')),
        title TEXT NOT NULL,
        content TEXT NOT NULL,
        version INTEGER NOT NULL,
        status TEXT NOT NULL CHECK (status IN
            ('draft', 'pending_review', 'approved', 'rejected')),
        created_by TEXT NOT NULL,
        reviewed_by TEXT,
        created_at BIGINT NOT NULL,
        updated_at BIGINT NOT NULL,
        approved_at BIGINT,
        comments TEXT NOT NULL
    )
    """,
    "CREATE INDEX specifications_task ON specifications (project_task_id, created_at)",
)


def create(connection: sa.Connection) -> None:
    """Add them."""
    execute(connection, _STATEMENTS)
