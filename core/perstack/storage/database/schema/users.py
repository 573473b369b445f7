"""Users of a server, and the refresh tokens that they hold."""

from __future__ import annotations

from typing import Final

import sqlalchemy as sa

from perstack.storage.database.schema.dialect import execute

_STATEMENTS: Final = (
    """
    CREATE TABLE users (
        number %NUMBER%,
        id TEXT NOT NULL UNIQUE,
        email TEXT NOT NULL UNIQUE,
        username TEXT NOT NULL,
        username_key TEXT NOT NULL UNIQUE,
        password_hash TEXT NOT NULL,
        role TEXT NOT NULL CHECK (role IN ('admin', 'developer', 'viewer')),
        epoch BIGINT NOT NULL,
        created_at BIGINT NOT NULL,
        updated_at BIGINT NOT NULL,
        last_login_at BIGINT
    )
    """,
    """
    CREATE TABLE refresh_tokens (
        digest TEXT PRIMARY KEY,
        user_id TEXT NOT NULL,
        family TEXT NOT NULL,
        created_at BIGINT NOT NULL,
        expires_at BIGINT NOT NULL,
        used_at BIGINT,
        revoked_at BIGINT
    )
    """,
    "CREATE INDEX refresh_tokens_of_user ON refresh_tokens (user_id)",
    "CREATE INDEX refresh_tokens_of_family ON refresh_tokens (family)",
    "CREATE INDEX refresh_tokens_by_expiry ON refresh_tokens (expires_at)",
)


def create(connection: sa.Connection) -> None:
    """Add them."""
    execute(connection, _STATEMENTS)
