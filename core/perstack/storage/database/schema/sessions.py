"""Sessions."""

from __future__ import annotations

from typing import Final

import sqlalchemy as sa

from perstack.storage.database.schema.dialect import execute

_STATEMENTS: Final = (
    """
    CREATE TABLE sessions (
        number %NUMBER%,
        id TEXT NOT NULL UNIQUE,
        status TEXT NOT NULL CHECK (status IN ('active', 'ended', 'error')),
        started_at BIGINT NOT NULL,
        ended_at BIGINT,
        metadata TEXT
    )
    """,
    "CREATE INDEX sessions_status ON sessions (status, started_at, number)",
)


def create(connection: sa.Connection) -> None:
    """Add them."""
    execute(connection, _STATEMENTS)
