"""Memory for any front end: what a caller keeps, finds again and may see."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pydantic import JsonValue

from perstack.domain.coordination import MemorySettings
from perstack.domain.ids import AgentId, MemoryId, SessionId
from perstack.domain.memory import SESSION_PREFIX, Caller, MemoryVersion, StoredMemory, tag_name
from perstack.errors import DeniedError, NotFoundError
from perstack.ports.memory import Draft, MemoryStore
from perstack.services.handle import Handle
from perstack.services.memory_index import MemoryIndex, OpenEmbedder
from perstack.services.memory_limits import (
    check_content,
    check_key,
    check_metadata,
    check_namespace,
)
from perstack.services.memory_links import MemoryLinks
from perstack.services.memory_reader import MemoryReader, agent_meant


class MemoryService(MemoryReader):
    """Entries by namespace and key. `index` keeps their vectors, `links` tags and relationships.

    Every call names its caller; nothing of a caller is kept between calls. `open_embedder` is
    asked when a vector is first needed, and gives None where vector search is off.
    """

    def __init__(
        self,
        stores: Handle[MemoryStore],
        *,
        settings: MemorySettings,
        open_embedder: OpenEmbedder | None = None,
    ) -> None:
        super().__init__(stores, settings=settings, index=MemoryIndex(stores, open_embedder))
        self.links = MemoryLinks(stores)

    async def store(
        self,
        caller: Caller,
        key: str,
        content: str,
        *,
        namespace: str | None = None,
        metadata: Mapping[str, JsonValue] | None = None,
        tags: Sequence[str] | None = None,
        generate_embedding: bool | None = None,
        agent_id: AgentId | None = None,
        shared: bool = False,
    ) -> StoredMemory:
        """Store under (namespace, key); what was there becomes a version.

        A new entry belongs to the calling agent, or to `agent_id`, unless `shared`. One that is
        there keeps its owner, and its tags where `tags` is None. Without a namespace it is the
        session's, or the configured one. `generate_embedding` False makes no vector.

        Raises:
            UsageError: a text is too long or empty, or a tag is none.
            DeniedError: the namespace is another session's, or the entry another agent's.
        """
        check_key(key)
        check_content(content)
        check_metadata(metadata)
        names = None if tags is None else tuple(dict.fromkeys(tag_name(tag) for tag in tags))
        place = self._namespace(caller, namespace, "write")
        actor = agent_meant(caller, agent_id, "write")
        vector, warning = None, None
        if generate_embedding is not False:
            vector, warning = await self.index.embed(content)
        draft = Draft(
            namespace=place,
            key=key,
            content=content,
            origin=caller.origin,
            metadata=metadata,
            tags=names,
            actor=actor,
            owner=None if shared else actor,
            embedding=vector,
        )
        entry, created = await self._stores.ask(lambda store: store.put(draft))
        return StoredMemory(entry=entry, created=created, warning=warning)

    async def delete(self, caller: Caller, key: str, *, namespace: str | None = None) -> bool:
        """Delete with versions, tags and relationships; say whether there was such an entry.

        Raises:
            UsageError: the key or namespace is none.
            DeniedError: the namespace is another session's.
        """
        check_key(key)
        scope = self._scope(caller, namespace, "delete")
        return await self._stores.ask(lambda store: store.delete(scope, key))

    async def delete_by_id(self, caller: Caller, memory_id: MemoryId) -> bool:
        """As `delete`."""
        scope = caller.scope
        return await self._stores.ask(lambda store: store.delete_by_id(scope, memory_id))

    async def clear(self, caller: Caller, namespace: str) -> int:
        """Delete all of a namespace, whoever owns it; return how many entries.

        Raises:
            UsageError: the namespace is none.
            DeniedError: the caller is an agent, or the namespace another session's.
        """
        check_namespace(namespace)
        caller.check(namespace, "delete")
        if caller.agent_id is not None:
            raise DeniedError("Access denied: an agent cannot clear a namespace")
        return await self._stores.ask(lambda store: store.clear(namespace))

    async def clear_session(self, session_id: SessionId) -> int:
        """Delete what a session that has ended kept; return how many entries."""
        return await self._stores.ask(lambda store: store.clear(f"{SESSION_PREFIX}{session_id}"))

    async def keep_newest(self, namespace: str, most: int) -> int:
        """Delete what the program itself stored there but for its newest; return how many."""
        return await self._stores.ask(lambda store: store.keep_newest(namespace, most))

    async def versions(self, caller: Caller, memory_id: MemoryId) -> Sequence[MemoryVersion]:
        """Return what an entry held before, newest first.

        Raises:
            NotFoundError: the caller sees no such entry.
        """
        scope = caller.scope
        return await self._stores.ask(lambda store: store.versions(scope, memory_id))

    async def version(self, caller: Caller, memory_id: MemoryId, version: int) -> MemoryVersion:
        """Return one of them.

        Raises:
            NotFoundError: the caller sees no such entry, or it has no such version.
        """
        for old in await self.versions(caller, memory_id):
            if old.version == version:
                return old
        raise NotFoundError(f"Memory entry {memory_id[:80]!a} has no version {version}")

    async def restore(self, caller: Caller, memory_id: MemoryId, version: int) -> StoredMemory:
        """Make a version the content again; the present content becomes a version.

        Raises:
            NotFoundError: the caller sees no such entry, or it has no such version.
        """
        old = await self.version(caller, memory_id, version)
        vector, warning = await self.index.embed(old.content)
        scope = caller.scope
        entry = await self._stores.ask(
            lambda store: store.restore(scope, memory_id, version, vector)
        )
        return StoredMemory(entry=entry, created=False, warning=warning)
