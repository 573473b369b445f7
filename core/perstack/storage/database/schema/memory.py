"""Memory entries, versions, tags, relationships and the search index."""

from __future__ import annotations

from typing import Final

import sqlalchemy as sa

from perstack.storage.database.schema.dialect import execute, is_sqlite

_STATEMENTS: Final[tuple[str, ...]] = (
    # One row. Whoever writes moves it on first, so that revisions are committed in their order.
    "CREATE TABLE memory_clock (revision BIGINT NOT NULL)",
    "INSERT INTO memory_clock (revision) VALUES (0)",
    """
    CREATE TABLE memory_entries (
        number %NUMBER%,
        id TEXT NOT NULL UNIQUE,
        namespace TEXT NOT NULL,
        key TEXT NOT NULL,
        content TEXT NOT NULL,
        metadata TEXT,
        agent_id TEXT,
        origin TEXT NOT NULL,
        version INTEGER NOT NULL,
        revision BIGINT NOT NULL,
        created_at BIGINT NOT NULL,
        updated_at BIGINT NOT NULL,
        UNIQUE (namespace, key)
    )
    """,
    "CREATE INDEX memory_entries_page ON memory_entries (namespace, updated_at, number, agent_id)",
    "CREATE INDEX memory_entries_time ON memory_entries (updated_at, number)",
    """
    CREATE TABLE memory_versions (
        entry BIGINT NOT NULL REFERENCES memory_entries (number) ON DELETE CASCADE,
        version INTEGER NOT NULL,
        content TEXT NOT NULL,
        metadata TEXT,
        origin TEXT NOT NULL,
        created_at BIGINT NOT NULL,
        PRIMARY KEY (entry, version)
    )
    """,
    """
    CREATE TABLE memory_tags (
        entry BIGINT NOT NULL REFERENCES memory_entries (number) ON DELETE CASCADE,
        tag TEXT NOT NULL,
        PRIMARY KEY (entry, tag)
    )
    """,
    "CREATE INDEX memory_tags_tag ON memory_tags (tag, entry)",
    """
    CREATE TABLE memory_links (
        id TEXT PRIMARY KEY,
        from_entry BIGINT NOT NULL REFERENCES memory_entries (number) ON DELETE CASCADE,
        to_entry BIGINT NOT NULL REFERENCES memory_entries (number) ON DELETE CASCADE,
        type TEXT NOT NULL CHECK (type IN ('related_to', 'derived_from', 'references',
            'depends_on', 'supersedes', 'conflicts_with', 'validates')),
        metadata TEXT,
        created_at BIGINT NOT NULL,
        UNIQUE (from_entry, to_entry, type)
    )
    """,
    "CREATE INDEX memory_links_to ON memory_links (to_entry)",
    """
    CREATE TABLE memory_vectors (
        entry BIGINT PRIMARY KEY REFERENCES memory_entries (number) ON DELETE CASCADE,
        embedder TEXT NOT NULL,
        vector %BLOB% NOT NULL,
        revision BIGINT NOT NULL
    )
    """,
    "CREATE INDEX memory_vectors_news ON memory_vectors (embedder, revision, entry)",
    "CREATE TABLE memory_removed (entry BIGINT NOT NULL, revision BIGINT NOT NULL)",
    "CREATE INDEX memory_removed_news ON memory_removed (revision)",
)

_SQLITE: Final = (
    """
    CREATE VIRTUAL TABLE memory_text USING fts5 (
        key, content, content='memory_entries', content_rowid='number',
        tokenize='porter unicode61'
    )
    """,
)

# English stems without a list of words to leave out, as on SQLite: "what's up" can be found.
_POSTGRES: Final = (
    "CREATE TEXT SEARCH DICTIONARY perstack_stem (TEMPLATE = snowball, LANGUAGE = english)",
    "CREATE TEXT SEARCH CONFIGURATION perstack_text (COPY = simple)",
    """
    ALTER TEXT SEARCH CONFIGURATION perstack_text
        ALTER MAPPING FOR asciiword, word, numword WITH perstack_stem
    """,
    """
    CREATE TABLE memory_text (
        entry BIGINT PRIMARY KEY REFERENCES memory_entries (number) ON DELETE CASCADE,
        words tsvector NOT NULL
    )
    """,
    "CREATE INDEX memory_text_words ON memory_text USING gin (words)",
)


def create(connection: sa.Connection) -> None:
    """Add them."""
    execute(connection, _STATEMENTS)
    execute(connection, _SQLITE if is_sqlite(connection) else _POSTGRES)
