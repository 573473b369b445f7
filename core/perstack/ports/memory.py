"""What services ask of the memory's store."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from pydantic import JsonValue

from perstack.domain.ids import AgentId, MemoryId
from perstack.domain.memory import (
    LinkType,
    MemoryEntry,
    MemoryHit,
    MemoryLink,
    MemoryOrigin,
    MemorySummary,
    MemoryVersion,
    NamespaceCount,
    Scope,
    SearchMode,
    TagCount,
)

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Embedding:
    """A vector of length one, and the name of the embedder that made it."""

    embedder: str
    vector: NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Draft:
    """What is to be stored under a namespace and key.

    With an `actor` an entry of another agent is not replaced. A new entry belongs to `owner`; one
    that is there keeps its owner. `tags` None leaves those that are there.
    """

    namespace: str
    key: str
    content: str
    origin: MemoryOrigin
    metadata: Mapping[str, JsonValue] | None = None
    tags: Sequence[str] | None = None
    actor: AgentId | None = None
    owner: AgentId | None = None
    embedding: Embedding | None = None


@dataclass(frozen=True, slots=True)
class Unindexed:
    """An entry without a vector, as it was at `revision`."""

    number: int
    revision: int
    content: str


class MemoryStore(Protocol):
    """Memory entries and what hangs on them, shared by all processes.

    A `Scope` says which entries there are for whoever asks; the others are as if not there.
    """

    async def put(self, draft: Draft) -> tuple[MemoryEntry, bool]:
        """Store, keeping what it replaces as a version; return the entry and whether it is new.

        Raises:
            DeniedError: another agent's entry has that key.
        """
        ...

    async def find(self, scope: Scope, key: str) -> MemoryEntry | None:
        """Return the entry of that key in the scope's namespace."""
        ...

    async def find_by_id(self, scope: Scope, memory_id: MemoryId) -> MemoryEntry | None:
        """Return the entry."""
        ...

    async def list(
        self, scope: Scope, *, limit: int, offset: int, tags: Sequence[str] = ()
    ) -> tuple[int, Sequence[MemorySummary]]:
        """Return how many have all of `tags`, and a page of them, newest change first."""
        ...

    async def delete(self, scope: Scope, key: str) -> bool:
        """Delete the entry with versions, tags and relationships; say whether there was one."""
        ...

    async def delete_by_id(self, scope: Scope, memory_id: MemoryId) -> bool:
        """As `delete`."""
        ...

    async def clear(self, namespace: str) -> int:
        """Delete all entries of a namespace; return how many."""
        ...

    async def keep_newest(self, namespace: str, most: int) -> int:
        """Of the entries of origin "system" in a namespace delete all but the `most` newest."""
        ...

    async def search_text(
        self, scope: Scope, query: str, *, limit: int, mode: SearchMode = "words"
    ) -> Sequence[MemoryHit]:
        """Return entries with all words of `query`; with none such, those with any. Best first.

        Any text is a literal query. Mode "phrase": the words in that order; "prefix": the last
        word is a beginning. Where more than 5,000 fit, the newest of them are ranked.
        """
        ...

    async def search_vectors(
        self, scope: Scope, query: Embedding, *, limit: int, threshold: float
    ) -> Sequence[MemoryHit]:
        """Return entries whose vector has a cosine of `threshold` or more, most similar first.

        Vectors of other embedders are not looked at.
        """
        ...

    async def find_embedding(self, scope: Scope, memory_id: MemoryId) -> Embedding | None:
        """Return the vector of an entry."""
        ...

    async def suggest(self, scope: Scope, prefix: str, *, limit: int) -> Sequence[str]:
        """Return keys that begin with `prefix`, in order, each once."""
        ...

    async def versions(self, scope: Scope, memory_id: MemoryId) -> Sequence[MemoryVersion]:
        """Return what the entry held before, newest first.

        Raises:
            NotFoundError: no such entry.
        """
        ...

    async def restore(
        self, scope: Scope, memory_id: MemoryId, version: int, embedding: Embedding | None
    ) -> MemoryEntry:
        """Make a version the content again, keeping the present one as a version.

        `embedding` is that of the version's content.

        Raises:
            NotFoundError: no such entry or version.
        """
        ...

    async def tag(self, scope: Scope, memory_id: MemoryId, tag: str) -> MemoryEntry:
        """Add a tag; again does nothing.

        Raises:
            NotFoundError: no such entry.
        """
        ...

    async def untag(self, scope: Scope, memory_id: MemoryId, tag: str) -> MemoryEntry:
        """Remove a tag, if it is there.

        Raises:
            NotFoundError: no such entry.
        """
        ...

    async def tags(self, scope: Scope) -> Sequence[TagCount]:
        """Return the tags, most used first, then by name."""
        ...

    async def namespaces(self, scope: Scope) -> Sequence[NamespaceCount]:
        """Return the namespaces by name."""
        ...

    async def link(
        self,
        scope: Scope,
        from_id: MemoryId,
        to_id: MemoryId,
        link_type: LinkType,
        metadata: Mapping[str, JsonValue] | None,
    ) -> MemoryLink:
        """Relate an entry to another.

        Raises:
            NotFoundError: one of them is not there.
            ConflictError: they are related like that already.
        """
        ...

    async def unlink(self, scope: Scope, link_id: str) -> bool:
        """Remove a relationship both of whose ends are in scope; say whether there was one."""
        ...

    async def links(self, scope: Scope, memory_id: MemoryId) -> Sequence[MemoryLink]:
        """Return the relationships from and to an entry, oldest first.

        Raises:
            NotFoundError: no such entry.
        """
        ...

    async def count(
        self, scope: Scope, embedder: str | None, dimensions: int | None = None
    ) -> tuple[int, int]:
        """Return how many entries there are, and how many have a vector of `embedder`.

        With `dimensions` those of another length, which no search finds any more, do not count.
        """
        ...

    async def unindexed(
        self, embedder: str, dimensions: int | None = None, *, after: int, limit: int
    ) -> Sequence[Unindexed]:
        """Return entries without a vector, as `count` does, numbered above `after`, in order."""
        ...

    async def index(
        self, embedder: str, vectors: Sequence[tuple[Unindexed, NDArray[np.float32]]]
    ) -> int:
        """Write vectors of entries that have not changed since; return how many."""
        ...

    async def version(self) -> str:
        """Return a value that is another one whenever anything changed. Cheap: made for polling."""
        ...

    async def aclose(self) -> None:
        """Close the connection."""
        ...
