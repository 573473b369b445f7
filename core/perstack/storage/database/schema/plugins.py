"""Which plugins are installed and enabled."""

from __future__ import annotations

from typing import Final

import sqlalchemy as sa

from perstack.storage.database.schema.dialect import execute

_STATEMENTS: Final = (
    """
    CREATE TABLE plugins (
        name TEXT PRIMARY KEY,
        version TEXT NOT NULL,
        source TEXT NOT NULL CHECK (source IN ('installed', 'folder', 'program')),
        enabled INTEGER NOT NULL CHECK (enabled IN (0, 1)),
        digest TEXT,
        location TEXT,
        config TEXT NOT NULL,
        installed_at BIGINT NOT NULL,
        updated_at BIGINT NOT NULL
    )
    """,
)


def create(connection: sa.Connection) -> None:
    """Add them."""
    execute(connection, _STATEMENTS)
