"""The memory in the database."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING

from pydantic import JsonValue

from perstack.domain.ids import MemoryId
from perstack.domain.memory import (
    LinkType,
    MemoryEntry,
    MemoryHit,
    MemoryLink,
    MemorySummary,
    MemoryVersion,
    NamespaceCount,
    Scope,
    SearchMode,
    TagCount,
)
from perstack.ports.system import Clock, Ids
from perstack.storage.database.engine import Database
from perstack.storage.database.memory import links, reading, rows, writing
from perstack.storage.database.memory.counted import Counted
from perstack.storage.database.memory.tables import ENTRIES
from perstack.storage.database.memory.text_index import queries
from perstack.storage.database.memory.vectors import VectorSearch
from perstack.storage.database.text import safe_text

if TYPE_CHECKING:
    import sqlalchemy as sa
    from numpy import float32
    from numpy.typing import NDArray

    from perstack.ports.memory import Draft, Embedding, Unindexed


class SqlMemoryStore:
    """Implements `ports.memory.MemoryStore`; owns its database handle. `ids` gives UUIDs."""

    def __init__(self, database: Database, *, clock: Clock, ids: Ids) -> None:
        self._database = database
        self._clock = clock
        self._ids = ids
        self._vectors = VectorSearch(database)
        self._counted = Counted()

    async def put(self, draft: Draft) -> tuple[MemoryEntry, bool]:
        """Store, keeping what it replaces as a version."""

        def work(connection: sa.Connection) -> tuple[MemoryEntry, bool]:
            return writing.put(connection, draft, now=self._clock.now_ms(), new_id=self._ids.new())

        return await self._database.write(work)

    async def find(self, scope: Scope, key: str) -> MemoryEntry | None:
        """Return the entry of that key."""
        work = partial(rows.find, scope=scope, column="key", value=key)
        return await self._database.read(work)

    async def find_by_id(self, scope: Scope, memory_id: MemoryId) -> MemoryEntry | None:
        """Return the entry."""
        work = partial(rows.find, scope=scope, column="id", value=memory_id)
        return await self._database.read(work)

    async def list(
        self, scope: Scope, *, limit: int, offset: int, tags: Sequence[str] = ()
    ) -> tuple[int, Sequence[MemorySummary]]:
        """Return how many there are, and a page of them."""

        def work(connection: sa.Connection) -> tuple[int, Sequence[MemorySummary]]:
            page = reading.page(connection, scope=scope, limit=limit, offset=offset, tags=tags)
            if tags:
                return reading.total(connection, scope, tags), page
            return self._counted.total(connection, scope), page

        return await self._database.read(work)

    async def delete(self, scope: Scope, key: str) -> bool:
        """Delete the entry of that key."""
        where = ENTRIES.c.key == safe_text(key)
        return await self._database.write(partial(_delete, scope=scope, where=where))

    async def delete_by_id(self, scope: Scope, memory_id: MemoryId) -> bool:
        """Delete the entry."""
        where = ENTRIES.c.id == safe_text(memory_id)
        return await self._database.write(partial(_delete, scope=scope, where=where))

    async def clear(self, namespace: str) -> int:
        """Delete all entries of a namespace."""
        where = ENTRIES.c.namespace == safe_text(namespace)
        return await self._database.write(lambda connection: writing.delete(connection, where))

    async def keep_newest(self, namespace: str, most: int) -> int:
        """Delete what the program itself stored but for its newest."""
        find = partial(reading.surplus, namespace=namespace, most=most)
        if not await self._database.read(find):
            return 0

        def work(connection: sa.Connection) -> int:
            return writing.delete(connection, ENTRIES.c.number.in_(find(connection)))

        return await self._database.write(work)

    async def search_text(
        self, scope: Scope, query: str, *, limit: int, mode: SearchMode = "words"
    ) -> Sequence[MemoryHit]:
        """Return entries by their words."""
        wanted = queries(query, mode)
        if not wanted:
            return []
        work = partial(reading.search_text, scope=scope, wanted=wanted, limit=limit)
        return await self._database.read(work)

    async def search_vectors(
        self, scope: Scope, query: Embedding, *, limit: int, threshold: float
    ) -> Sequence[MemoryHit]:
        """Return entries by their vectors."""
        return await self._vectors.search(scope, query, limit=limit, threshold=threshold)

    async def find_embedding(self, scope: Scope, memory_id: MemoryId) -> Embedding | None:
        """Return the vector of an entry."""
        work = partial(reading.find_embedding, scope=scope, memory_id=memory_id)
        return await self._database.read(work)

    async def suggest(self, scope: Scope, prefix: str, *, limit: int) -> Sequence[str]:
        """Return keys that begin with `prefix`."""
        work = partial(reading.suggest, scope=scope, prefix=prefix, limit=limit)
        return await self._database.read(work)

    async def versions(self, scope: Scope, memory_id: MemoryId) -> Sequence[MemoryVersion]:
        """Return what the entry held before, newest first."""
        work = partial(reading.versions, scope=scope, memory_id=memory_id)
        return await self._database.read(work)

    async def restore(
        self, scope: Scope, memory_id: MemoryId, version: int, embedding: Embedding | None
    ) -> MemoryEntry:
        """Make a version the content again."""

        def work(connection: sa.Connection) -> MemoryEntry:
            now = self._clock.now_ms()
            return writing.restore(connection, scope, memory_id, version, embedding, now=now)

        return await self._database.write(work)

    async def tag(self, scope: Scope, memory_id: MemoryId, tag: str) -> MemoryEntry:
        """Add a tag."""
        return await self._database.write(
            lambda connection: links.tag(connection, scope, memory_id, tag, remove=False)
        )

    async def untag(self, scope: Scope, memory_id: MemoryId, tag: str) -> MemoryEntry:
        """Remove a tag."""
        return await self._database.write(
            lambda connection: links.tag(connection, scope, memory_id, tag, remove=True)
        )

    async def tags(self, scope: Scope) -> Sequence[TagCount]:
        """Return the tags with their counts."""
        return await self._database.read(lambda connection: links.tags(connection, scope))

    async def namespaces(self, scope: Scope) -> Sequence[NamespaceCount]:
        """Return the namespaces with their counts."""
        return await self._database.read(partial(self._counted.namespaces, scope=scope))

    async def link(
        self,
        scope: Scope,
        from_id: MemoryId,
        to_id: MemoryId,
        link_type: LinkType,
        metadata: Mapping[str, JsonValue] | None,
    ) -> MemoryLink:
        """Relate an entry to another."""

        def work(connection: sa.Connection) -> MemoryLink:
            now, link_id = self._clock.now_ms(), self._ids.new()
            return links.link(
                connection, scope, from_id, to_id, link_type, metadata, link_id=link_id, now=now
            )

        return await self._database.write(work)

    async def unlink(self, scope: Scope, link_id: str) -> bool:
        """Remove a relationship."""
        return await self._database.write(
            lambda connection: links.unlink(connection, scope, link_id)
        )

    async def links(self, scope: Scope, memory_id: MemoryId) -> Sequence[MemoryLink]:
        """Return the relationships of an entry."""
        return await self._database.read(
            lambda connection: links.links(connection, scope, memory_id)
        )

    async def count(
        self, scope: Scope, embedder: str | None, dimensions: int | None = None
    ) -> tuple[int, int]:
        """Return how many entries there are, and how many have a vector."""
        return await self._database.read(
            lambda connection: reading.count(connection, scope, embedder, dimensions)
        )

    async def unindexed(
        self, embedder: str, dimensions: int | None = None, *, after: int, limit: int
    ) -> Sequence[Unindexed]:
        """Return entries without a vector."""
        work = partial(reading.unindexed, embedder=embedder, dimensions=dimensions)
        return await self._database.read(partial(work, after=after, limit=limit))

    async def index(
        self, embedder: str, vectors: Sequence[tuple[Unindexed, NDArray[float32]]]
    ) -> int:
        """Write vectors of entries that have not changed since."""
        work = partial(writing.index, embedder=embedder, vectors=vectors)
        return await self._database.write(work)

    async def version(self) -> str:
        """Return a value that is another one whenever anything changed."""
        return await self._database.version()

    async def aclose(self) -> None:
        """Close the database."""
        await self._database.aclose()


def _delete(connection: sa.Connection, *, scope: Scope, where: sa.ColumnElement[bool]) -> bool:
    found = reading.number(connection, scope=scope, where=where)
    return found is not None and writing.delete(connection, ENTRIES.c.number == found) == 1
