"""The memory's tables as statements see them; `schema.memory` makes them."""

from __future__ import annotations

from typing import Final

import sqlalchemy as sa

BYTES_A_NUMBER: Final = 2
"""Of a vector as it is stored."""

_METADATA: Final = sa.MetaData()

CLOCK: Final = sa.Table("memory_clock", _METADATA, sa.Column("revision", sa.BigInteger))

ENTRIES: Final = sa.Table(
    "memory_entries",
    _METADATA,
    sa.Column("number", sa.BigInteger, primary_key=True),
    sa.Column("id", sa.Text),
    sa.Column("namespace", sa.Text),
    sa.Column("key", sa.Text),
    sa.Column("content", sa.Text),
    sa.Column("metadata", sa.Text),
    sa.Column("agent_id", sa.Text),
    sa.Column("origin", sa.Text),
    sa.Column("version", sa.Integer),
    sa.Column("revision", sa.BigInteger),
    sa.Column("created_at", sa.BigInteger),
    sa.Column("updated_at", sa.BigInteger),
)

VERSIONS: Final = sa.Table(
    "memory_versions",
    _METADATA,
    sa.Column("entry", sa.BigInteger),
    sa.Column("version", sa.Integer),
    sa.Column("content", sa.Text),
    sa.Column("metadata", sa.Text),
    sa.Column("origin", sa.Text),
    sa.Column("created_at", sa.BigInteger),
)

TAGS: Final = sa.Table(
    "memory_tags", _METADATA, sa.Column("entry", sa.BigInteger), sa.Column("tag", sa.Text)
)

LINKS: Final = sa.Table(
    "memory_links",
    _METADATA,
    sa.Column("id", sa.Text),
    sa.Column("from_entry", sa.BigInteger),
    sa.Column("to_entry", sa.BigInteger),
    sa.Column("type", sa.Text),
    sa.Column("metadata", sa.Text),
    sa.Column("created_at", sa.BigInteger),
)

VECTORS: Final = sa.Table(
    "memory_vectors",
    _METADATA,
    sa.Column("entry", sa.BigInteger),
    sa.Column("embedder", sa.Text),
    sa.Column("vector", sa.LargeBinary),
    sa.Column("revision", sa.BigInteger),
)

REMOVED: Final = sa.Table(
    "memory_removed",
    _METADATA,
    sa.Column("entry", sa.BigInteger),
    sa.Column("revision", sa.BigInteger),
)
