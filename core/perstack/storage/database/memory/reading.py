"""What is read of the memory, each inside one read transaction."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import sqlalchemy as sa

from perstack.domain.ids import MemoryId
from perstack.domain.memory import (
    MemoryHit,
    MemorySummary,
    MemoryVersion,
    NamespaceCount,
    Scope,
)
from perstack.ports.memory import Embedding, Unindexed
from perstack.storage.database.memory import rows
from perstack.storage.database.memory.links import with_tags
from perstack.storage.database.memory.tables import BYTES_A_NUMBER, ENTRIES, VECTORS, VERSIONS
from perstack.storage.database.memory.text_index import TextQuery, text_index
from perstack.storage.database.memory.writing import number_of
from perstack.storage.database.text import safe_text

_E: Final = ENTRIES.c
_SURPLUS: Final = 500


def number(connection: sa.Connection, *, scope: Scope, where: sa.ColumnElement[bool]) -> int | None:
    """Return the number of the entry that `where` names, None when it is not in `scope`."""
    query = sa.select(_E.number).where(where, *rows.within(scope))
    return connection.execute(query).scalar_one_or_none()


def surplus(connection: sa.Connection, *, namespace: str, most: int) -> Sequence[int]:
    """Return the numbers of what the program itself stored there before its `most` newest."""
    query = (
        sa.select(_E.number)
        .where(_E.namespace == safe_text(namespace), rows.is_of_program())
        .order_by(_E.updated_at.desc(), _E.number.desc())
        .limit(_SURPLUS)
        .offset(most)
    )
    return [int(number) for number in connection.scalars(query)]


def page(
    connection: sa.Connection, *, scope: Scope, limit: int, offset: int, tags: Sequence[str]
) -> Sequence[MemorySummary]:
    """Return some of the entries in `scope` with all of `tags`."""
    conditions = _with_tags(scope, tags)
    numbers = (
        sa.select(_E.number)
        .where(*conditions)
        .order_by(_E.updated_at.desc(), _E.number.desc())
        .limit(limit)
        .offset(offset)
    )
    return rows.summaries(connection, numbers)


def total(connection: sa.Connection, scope: Scope, tags: Sequence[str] = ()) -> int:
    """Return how many entries are in `scope` with all of `tags`; passes every one of them."""
    query = sa.select(sa.func.count()).select_from(ENTRIES).where(*_with_tags(scope, tags))
    return int(connection.execute(query).scalar_one())


def _with_tags(scope: Scope, tags: Sequence[str]) -> list[sa.ColumnElement[bool]]:
    conditions = rows.within(scope)
    return [*conditions, with_tags(tags)] if tags else conditions


def search_text(
    connection: sa.Connection, *, scope: Scope, wanted: Sequence[TextQuery], limit: int
) -> Sequence[MemoryHit]:
    """Return what the first of the queries that finds anything finds, best first."""
    index = text_index(connection)
    for query in wanted:
        ranked = index.find(connection, query, scope, limit=limit)
        if ranked:
            found = rows.by_numbers(connection, [number for number, _ in ranked])
            return [
                MemoryHit(entry=found[number], score=score, match_type="fts", text_score=score)
                for number, score in ranked
                if number in found
            ]
    return []


def find_embedding(
    connection: sa.Connection, *, scope: Scope, memory_id: MemoryId
) -> Embedding | None:
    """Return the vector of an entry that is in `scope`."""
    from perstack.storage.database.memory.matrix import unpack

    query = (
        sa.select(VECTORS.c.embedder, VECTORS.c.vector)
        .join(ENTRIES, _E.number == VECTORS.c.entry)
        .where(_E.id == safe_text(memory_id), *rows.within(scope))
    )
    row = connection.execute(query).one_or_none()
    return None if row is None else Embedding(str(row[0]), unpack(bytes(row[1])))


def suggest(connection: sa.Connection, *, scope: Scope, prefix: str, limit: int) -> Sequence[str]:
    """Return keys in `scope` that begin with `prefix`, in order, each once."""
    start = safe_text(prefix)
    beginning = sa.func.substr(_E.key, 1, len(start)) == start
    query = sa.select(_E.key).distinct().where(beginning, *rows.within(scope))
    return [str(key) for key in connection.scalars(query.order_by(_E.key).limit(limit))]


def versions(
    connection: sa.Connection, *, scope: Scope, memory_id: MemoryId
) -> Sequence[MemoryVersion]:
    """Return what the entry held before, newest first."""
    entry = number_of(connection, scope, memory_id)
    query = sa.select(VERSIONS).where(VERSIONS.c.entry == entry)
    found = connection.execute(query.order_by(VERSIONS.c.version.desc())).mappings()
    return [rows.to_version(row, memory_id) for row in found]


def namespaces(connection: sa.Connection, scope: Scope) -> Sequence[NamespaceCount]:
    """Return the namespaces in `scope` by name."""
    query = (
        sa.select(_E.namespace, sa.func.count())
        .where(*rows.within(scope))
        .group_by(_E.namespace)
        .order_by(_E.namespace)
    )
    found = connection.execute(query)
    return [NamespaceCount(namespace=name, entries=count) for name, count in found]


def count(
    connection: sa.Connection, scope: Scope, embedder: str | None, dimensions: int | None
) -> tuple[int, int]:
    """Return how many entries are in `scope`, and how many have a vector of `embedder`."""
    every = total(connection, scope)
    if embedder is None:
        return every, 0
    usable = _usable(embedder, dimensions)
    query = sa.select(sa.func.count()).select_from(VECTORS).where(usable)
    if rows.within(scope):
        query = query.join(ENTRIES, _E.number == VECTORS.c.entry).where(*rows.within(scope))
    return every, int(connection.execute(query).scalar_one())


def unindexed(
    connection: sa.Connection, *, embedder: str, dimensions: int | None, after: int, limit: int
) -> Sequence[Unindexed]:
    """Return entries without a vector of `embedder`, by number."""
    indexed = sa.and_(VECTORS.c.entry == _E.number, _usable(embedder, dimensions))
    query = (
        sa.select(_E.number, _E.revision, _E.content)
        .where(_E.number > after, ~sa.exists().where(indexed))
        .order_by(_E.number)
        .limit(limit)
    )
    found = connection.execute(query)
    return [Unindexed(number, revision, content) for number, revision, content in found]


def _usable(embedder: str, dimensions: int | None) -> sa.ColumnElement[bool]:
    """Whether a vector is `embedder`'s, and as long as it makes them now if that is known."""
    its = VECTORS.c.embedder == safe_text(embedder)
    if dimensions is None:
        return its
    return sa.and_(its, sa.func.length(VECTORS.c.vector) == BYTES_A_NUMBER * dimensions)
