"""Orders of any kind: which there are is the program's to say, no longer the table's."""

from __future__ import annotations

from typing import Final

import sqlalchemy as sa

from perstack.storage.database.schema.dialect import execute

# Orders live for a second: what waits while the schema changes is not worth moving.
_STATEMENTS: Final = (
    "DROP TABLE agent_orders",
    """
    CREATE TABLE agent_orders (
        id %NUMBER%,
        agent_id TEXT NOT NULL REFERENCES agents (id),
        kind TEXT NOT NULL,
        text TEXT,
        given_by TEXT NOT NULL,
        created_at BIGINT NOT NULL
    )
    """,
    "CREATE INDEX agent_orders_agent ON agent_orders (agent_id, id)",
)


def create(connection: sa.Connection) -> None:
    """Write the table anew."""
    execute(connection, _STATEMENTS)
