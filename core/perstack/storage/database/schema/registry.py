"""A registry of Experts: organisations, their keys, names, versions, tags, delegations."""

from __future__ import annotations

from typing import Final

import sqlalchemy as sa

from perstack.storage.database.schema.dialect import execute

_STATEMENTS: Final = (
    """
    CREATE TABLE registry_organisations (
        number %NUMBER%,
        id TEXT NOT NULL UNIQUE,
        name TEXT UNIQUE,
        created_at BIGINT NOT NULL
    )
    """,
    """
    CREATE TABLE registry_keys (
        number %NUMBER%,
        digest TEXT NOT NULL UNIQUE,
        prefix TEXT NOT NULL UNIQUE,
        organisation_id TEXT NOT NULL,
        scopes TEXT NOT NULL,
        created_at BIGINT NOT NULL,
        expires_at BIGINT,
        revoked_at BIGINT,
        last_used_at BIGINT
    )
    """,
    """
    CREATE TABLE registry_names (
        number %NUMBER%,
        name TEXT NOT NULL UNIQUE,
        organisation_id TEXT NOT NULL,
        latest_id TEXT
    )
    """,
    "CREATE INDEX registry_names_of_organisation ON registry_names (organisation_id)",
    """
    CREATE TABLE registry_versions (
        number %NUMBER%,
        id TEXT NOT NULL UNIQUE,
        name TEXT NOT NULL,
        version TEXT NOT NULL,
        precedence %BLOB% NOT NULL,
        integrity TEXT NOT NULL,
        size BIGINT NOT NULL,
        definition TEXT NOT NULL,
        words TEXT NOT NULL,
        status TEXT NOT NULL CHECK (status IN ('available', 'deprecated', 'disabled')),
        created_at BIGINT NOT NULL,
        updated_at BIGINT NOT NULL,
        unpublished_at BIGINT,
        UNIQUE (name, version)
    )
    """,
    """
    CREATE TABLE registry_tags (
        name TEXT NOT NULL,
        tag TEXT NOT NULL,
        version_id TEXT NOT NULL,
        PRIMARY KEY (name, tag)
    )
    """,
    "CREATE INDEX registry_tags_of_version ON registry_tags (version_id)",
    """
    CREATE TABLE registry_delegates (
        version_id TEXT NOT NULL,
        name TEXT NOT NULL,
        delegate TEXT NOT NULL,
        PRIMARY KEY (version_id, delegate)
    )
    """,
    "CREATE INDEX registry_delegates_to ON registry_delegates (name)",
)


def create(connection: sa.Connection) -> None:
    """Add them."""
    execute(connection, _STATEMENTS)
