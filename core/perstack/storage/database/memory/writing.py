"""Changes of memory entries, each inside one write transaction."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

import sqlalchemy as sa

from perstack.domain.ids import MemoryId
from perstack.domain.memory import MemoryEntry, Scope
from perstack.errors import DeniedError, NotFoundError
from perstack.ports.memory import Draft, Embedding, Unindexed
from perstack.storage.database.memory import rows
from perstack.storage.database.memory.tables import (
    CLOCK,
    ENTRIES,
    REMOVED,
    TAGS,
    VECTORS,
    VERSIONS,
)
from perstack.storage.database.memory.text_index import text_index
from perstack.storage.database.text import safe_text

if TYPE_CHECKING:
    from numpy import float32
    from numpy.typing import NDArray

REMOVALS_KEPT: Final = 100_000
"""For how many revisions it is remembered which vectors are gone."""

_E: Final = ENTRIES.c
_TICK: Final = CLOCK.update().values(revision=CLOCK.c.revision + 1).returning(CLOCK.c.revision)
_THERE: Final = sa.select(ENTRIES).where(
    _E.namespace == sa.bindparam("in_namespace"), _E.key == sa.bindparam("its_key")
)
_INSERT: Final = ENTRIES.insert().returning(_E.number)
_INSERT_VECTOR: Final = VECTORS.insert()


def tick(connection: sa.Connection) -> int:
    """Return a revision above all others; until the end of the transaction nobody else gets one."""
    return int(connection.execute(_TICK).scalar_one())


def put(
    connection: sa.Connection, draft: Draft, *, now: int, new_id: str
) -> tuple[MemoryEntry, bool]:
    """Insert or replace, and return the entry and whether it is new."""
    revision = tick(connection)
    place = {"in_namespace": safe_text(draft.namespace), "its_key": safe_text(draft.key)}
    there = connection.execute(_THERE, place).mappings().one_or_none()
    content: dict[str, str | int | None] = {
        "content": safe_text(draft.content),
        "metadata": rows.metadata_text(draft.metadata),
        "origin": rows.origin_text(draft.origin),
        "revision": revision,
    }
    if there is None:
        number = _insert(connection, draft, content, now=now, new_id=new_id)
    else:
        _check_owner(there, draft)
        number = int(there["number"])
        _replace(connection, there, content, now=now)
    set_vector(connection, number, draft.embedding, revision, fresh=there is None)
    if draft.tags is not None:
        _set_tags(connection, number, draft.tags)
    return rows.by_numbers(connection, [number])[number], there is None


def _insert(
    connection: sa.Connection,
    draft: Draft,
    content: dict[str, str | int | None],
    *,
    now: int,
    new_id: str,
) -> int:
    values = {
        **content,
        "id": new_id,
        "namespace": safe_text(draft.namespace),
        "key": safe_text(draft.key),
        "agent_id": None if draft.owner is None else safe_text(draft.owner),
        "version": 0,
        "created_at": now,
        "updated_at": now,
    }
    inserted = connection.execute(_INSERT, values)
    number = int(inserted.scalar_one())
    text_index(connection).add(connection, number, str(values["key"]), str(values["content"]))
    return number


def _check_owner(there: sa.RowMapping, draft: Draft) -> None:
    owner = there["agent_id"]
    if draft.actor is not None and owner is not None and owner != safe_text(draft.actor):
        raise DeniedError(
            f"Access denied: memory entry {draft.key[:80]!a} in namespace"
            f" {draft.namespace[:80]!a} belongs to another agent",
            hint="use another key or namespace",
        )


def _replace(
    connection: sa.Connection,
    there: sa.RowMapping,
    content: dict[str, str | int | None],
    *,
    now: int,
) -> None:
    """Keep what is there as a version, then put `content` in its place."""
    number = int(there["number"])
    version = int(there["version"]) + 1
    kept = {name: there[name] for name in ("content", "metadata", "origin")}
    connection.execute(
        VERSIONS.insert(), {**kept, "entry": number, "version": version, "created_at": now}
    )
    index = text_index(connection)
    index.remove(connection, _E.number == number)
    changed = {**content, "version": version, "updated_at": max(now, int(there["updated_at"]))}
    connection.execute(ENTRIES.update().where(_E.number == number).values(changed))
    index.add(connection, number, str(there["key"]), str(content["content"]))


def restore(
    connection: sa.Connection,
    scope: Scope,
    memory_id: MemoryId,
    version: int,
    embedding: Embedding | None,
    *,
    now: int,
) -> MemoryEntry:
    """Make a version the content again and return the entry."""
    revision = tick(connection)
    number = number_of(connection, scope, memory_id)
    there = connection.execute(sa.select(ENTRIES).where(_E.number == number)).mappings().one()
    wanted = sa.and_(VERSIONS.c.entry == number, VERSIONS.c.version == version)
    old = connection.execute(sa.select(VERSIONS).where(wanted)).mappings().one_or_none()
    if old is None:
        raise no_version(memory_id, version)
    content: dict[str, str | int | None] = {
        name: old[name] for name in ("content", "metadata", "origin")
    }
    _replace(connection, there, {**content, "revision": revision}, now=now)
    set_vector(connection, number, embedding, revision)
    return rows.by_numbers(connection, [number])[number]


def set_vector(
    connection: sa.Connection,
    number: int,
    embedding: Embedding | None,
    revision: int,
    *,
    fresh: bool = False,
) -> None:
    """Replace the vector of an entry; a `fresh` entry has none yet."""
    if not fresh:
        gone = VECTORS.delete().where(VECTORS.c.entry == number).returning(VECTORS.c.embedder)
        theirs = connection.execute(gone).scalar_one_or_none()
        ours = None if embedding is None else safe_text(embedding.embedder)
        if theirs is not None and theirs != ours:
            connection.execute(REMOVED.insert(), {"entry": number, "revision": revision})
            _forget_removals(connection, revision)
    if embedding is not None:
        from perstack.storage.database.memory.matrix import pack

        row = {
            "entry": number,
            "embedder": safe_text(embedding.embedder),
            "vector": pack(embedding.vector),
            "revision": revision,
        }
        connection.execute(_INSERT_VECTOR, row)


def _set_tags(connection: sa.Connection, number: int, tags: Sequence[str]) -> None:
    connection.execute(TAGS.delete().where(TAGS.c.entry == number))
    unique = [{"entry": number, "tag": tag} for tag in dict.fromkeys(tags)]
    if unique:
        connection.execute(TAGS.insert(), unique)


def delete(connection: sa.Connection, *where: sa.ColumnElement[bool]) -> int:
    """Delete entries and all that hangs on them; return how many."""
    revision = tick(connection)
    gone = sa.and_(*where)
    numbers = sa.select(_E.number).where(gone)
    text_index(connection).remove(connection, gone)
    with_vector = sa.select(VECTORS.c.entry, sa.literal(revision)).where(
        VECTORS.c.entry.in_(numbers)
    )
    connection.execute(REMOVED.insert().from_select(["entry", "revision"], with_vector))
    _forget_removals(connection, revision)
    return connection.execute(ENTRIES.delete().where(gone)).rowcount


def _forget_removals(connection: sa.Connection, revision: int) -> None:
    long_gone = REMOVED.c.revision <= revision - REMOVALS_KEPT
    connection.execute(REMOVED.delete().where(long_gone))


def number_of(connection: sa.Connection, scope: Scope, memory_id: MemoryId) -> int:
    """Return the number of an entry.

    Raises:
        NotFoundError: there is none in `scope`.
    """
    query = sa.select(_E.number).where(_E.id == safe_text(memory_id), *rows.within(scope))
    found = connection.execute(query).scalar_one_or_none()
    if found is None:
        raise no_entry(memory_id)
    return int(found)


def no_entry(memory_id: str) -> NotFoundError:
    """Return the error for an entry that is not there, or not for the caller."""
    return NotFoundError(f"Memory entry not found: {safe_text(memory_id)[:80]}")


def no_version(memory_id: str, version: int) -> NotFoundError:
    """Return the error for a version that is not there."""
    return NotFoundError(f"Memory entry {safe_text(memory_id)[:80]} has no version {version}")


def index(
    connection: sa.Connection,
    *,
    embedder: str,
    vectors: Sequence[tuple[Unindexed, NDArray[float32]]],
) -> int:
    """Write vectors of entries that are still as they were read; return how many."""
    revision = tick(connection)
    numbers = [one.number for one, _ in vectors]
    query = sa.select(_E.number, _E.revision).where(_E.number.in_(numbers))
    now = {int(number): int(at) for number, at in connection.execute(query)}
    same = [(one, vector) for one, vector in vectors if now.get(one.number) == one.revision]
    for one, vector in same:
        set_vector(connection, one.number, Embedding(embedder, vector), revision)
    return len(same)
