"""Identities and their audit trail."""

from __future__ import annotations

from typing import Final

import sqlalchemy as sa

from perstack.storage.database.schema.dialect import execute

_STATEMENTS: Final = (
    """
    CREATE TABLE identities (
        number %NUMBER%,
        agent_id TEXT NOT NULL UNIQUE,
        agent_type TEXT NOT NULL,
        status TEXT NOT NULL CHECK (status IN ('created', 'active', 'dormant', 'retired')),
        capabilities TEXT NOT NULL,
        version BIGINT NOT NULL,
        display_name TEXT,
        description TEXT,
        metadata TEXT,
        created_at BIGINT NOT NULL,
        last_active_at BIGINT NOT NULL,
        retired_at BIGINT,
        retirement_reason TEXT,
        created_by TEXT,
        updated_at BIGINT NOT NULL
    )
    """,
    """
    CREATE UNIQUE INDEX identities_display_name ON identities (display_name)
        WHERE status <> 'retired' AND display_name IS NOT NULL
    """,
    "CREATE INDEX identities_activity ON identities (last_active_at, number)",
    """
    CREATE TABLE identity_audit (
        number %NUMBER%,
        id TEXT NOT NULL UNIQUE,
        agent_id TEXT NOT NULL REFERENCES identities (agent_id),
        action TEXT NOT NULL CHECK (
            action IN ('created', 'activated', 'deactivated', 'retired', 'updated', 'spawned')
        ),
        previous_status TEXT,
        new_status TEXT,
        reason TEXT,
        actor_id TEXT,
        metadata TEXT,
        created_at BIGINT NOT NULL
    )
    """,
    "CREATE INDEX identity_audit_agent ON identity_audit (agent_id, number)",
)


def create(connection: sa.Connection) -> None:
    """Add them."""
    execute(connection, _STATEMENTS)
