"""What is read of the memory: by key, in pages, by words and by meaning."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from perstack.domain.coordination import MemorySettings
from perstack.domain.ids import AgentId, MemoryId
from perstack.domain.memory import (
    SESSION_PREFIX,
    Access,
    Caller,
    MemoryAnswer,
    MemoryEntry,
    MemoryHit,
    MemoryPage,
    Scope,
    SearchMode,
    fuse,
    tag_name,
)
from perstack.errors import DeniedError, NotFoundError
from perstack.ports.memory import MemoryStore
from perstack.services.handle import Handle
from perstack.services.memory_index import MemoryIndex
from perstack.services.memory_limits import (
    check_count,
    check_key,
    check_namespace,
    check_query,
    check_threshold,
)

_FUSED: Final = 100


def agent_meant(caller: Caller, agent_id: AgentId | None, access: Access) -> AgentId | None:
    """Return the agent in whose name something is done: a person may name one, an agent is one.

    Raises:
        DeniedError: an agent named another.
    """
    if caller.agent_id is None or agent_id is None:
        return caller.agent_id or agent_id
    if agent_id != caller.agent_id:
        raise DeniedError(
            f"Access denied: cannot {access} memory of agent {agent_id[:80]} from agent"
            f" {caller.agent_id}"
        )
    return agent_id


class MemoryReader:
    """The half of `MemoryService` that changes nothing."""

    def __init__(
        self, stores: Handle[MemoryStore], *, settings: MemorySettings, index: MemoryIndex
    ) -> None:
        self._stores = stores
        self._settings = settings
        self.index = index

    async def find(
        self, caller: Caller, key: str, *, namespace: str | None = None
    ) -> MemoryEntry | None:
        """Return the entry of that key, None where the caller sees none.

        Raises:
            UsageError: the key or namespace is none.
            DeniedError: the namespace is another session's.
        """
        check_key(key)
        scope = self._scope(caller, namespace, "read")
        return await self._stores.ask(lambda store: store.find(scope, key))

    async def find_by_id(self, caller: Caller, memory_id: MemoryId) -> MemoryEntry | None:
        """Return the entry, None where the caller sees none."""
        scope = caller.scope
        return await self._stores.ask(lambda store: store.find_by_id(scope, memory_id))

    async def list(
        self,
        caller: Caller,
        *,
        namespace: str | None = None,
        everywhere: bool = False,
        tags: Sequence[str] = (),
        limit: int = 20,
        offset: int = 0,
        agent_id: AgentId | None = None,
        include_shared: bool = True,
    ) -> MemoryPage:
        """Return entries that have all of `tags`, newest change first, and how many there are.

        `everywhere`: of all namespaces that are open to the caller.

        Raises:
            UsageError: `limit` is not 1..1000, or `offset` is negative.
            DeniedError: the namespace is another session's, or `agent_id` another agent.
        """
        check_count("limit", limit, 1, 1_000)
        check_count("offset", offset, 0, 2**53)
        names = [tag_name(tag) for tag in tags]
        scope = self._scope(caller, namespace, "read", everywhere, agent_id, include_shared)
        total, entries = await self._stores.ask(
            lambda store: store.list(scope, limit=limit, offset=offset, tags=names)
        )
        return MemoryPage(total=total, count=len(entries), offset=offset, entries=tuple(entries))

    async def search(
        self,
        caller: Caller,
        query: str,
        *,
        namespace: str | None = None,
        everywhere: bool = False,
        limit: int = 10,
        threshold: float = 0.7,
        use_vector: bool | None = None,
        mode: SearchMode = "words",
        agent_id: AgentId | None = None,
        include_shared: bool = True,
    ) -> MemoryAnswer:
        """Return entries by words and, unless `use_vector` is False, by meaning, best first.

        `threshold` is the least cosine of what only the vectors find. A query without a word
        finds nothing by words.

        Raises:
            UsageError: `limit` is not 1..100, `threshold` not 0..1, or the query too long.
            DeniedError: the namespace is another session's, or `agent_id` another agent.
        """
        check_query(query)
        check_count("limit", limit, 1, 100)
        check_threshold(threshold)
        scope = self._scope(caller, namespace, "read", everywhere, agent_id, include_shared)
        vector, warning = (None, None)
        if use_vector is not False and query.strip():
            vector, warning = await self.index.embed(query)
        wide = limit if vector is None else min(2 * limit, _FUSED)
        alike: Sequence[MemoryHit] = ()
        if vector is not None:
            wanted = vector
            alike = await self._stores.ask(
                lambda store: store.search_vectors(scope, wanted, limit=wide, threshold=threshold)
            )
        named = await self._stores.ask(
            lambda store: store.search_text(scope, query, limit=wide, mode=mode)
        )
        results = fuse(tuple(alike), tuple(named), limit=limit)
        embedder = None if vector is None else vector.embedder
        return MemoryAnswer(count=len(results), results=results, embedder=embedder, warning=warning)

    async def find_similar(
        self, caller: Caller, memory_id: MemoryId, *, limit: int = 10, threshold: float = 0.7
    ) -> MemoryAnswer:
        """Return the entries most like one, without it, of those open to the caller.

        Raises:
            NotFoundError: the caller sees no such entry, or it has no vector.
            UsageError: `limit` is not 1..100, or `threshold` not 0..1.
        """
        check_count("limit", limit, 1, 100)
        check_threshold(threshold)
        scope = caller.scope
        vector = await self._stores.ask(lambda store: store.find_embedding(scope, memory_id))
        if vector is None:
            raise NotFoundError(
                f"Memory entry not found: {memory_id[:80]}", hint="or it has no vector: reindex"
            )
        hits = await self._stores.ask(
            lambda store: store.search_vectors(scope, vector, limit=limit + 1, threshold=threshold)
        )
        others = tuple(hit for hit in hits if hit.entry.id != memory_id)[:limit]
        return MemoryAnswer(count=len(others), results=others, embedder=vector.embedder)

    async def suggest(
        self, caller: Caller, prefix: str, *, namespace: str | None = None, limit: int = 5
    ) -> Sequence[str]:
        """Return keys that begin with `prefix`, in order.

        Raises:
            UsageError: `prefix` is too long, or `limit` is not 1..100.
            DeniedError: the namespace is another session's.
        """
        check_query(prefix)
        check_count("limit", limit, 1, 100)
        scope = self._scope(caller, namespace, "read")
        return await self._stores.ask(lambda store: store.suggest(scope, prefix, limit=limit))

    async def has_term(self, caller: Caller, term: str, *, namespace: str | None = None) -> bool:
        """Say whether an entry that the caller sees holds the word.

        Raises:
            UsageError: `term` is too long.
            DeniedError: the namespace is another session's.
        """
        check_query(term)
        scope = self._scope(caller, namespace, "read")
        return bool(
            await self._stores.ask(
                lambda store: store.search_text(scope, term, limit=1, mode="phrase")
            )
        )

    def _namespace(self, caller: Caller, namespace: str | None, access: Access) -> str:
        if namespace is None:
            session = caller.session_id
            return f"{SESSION_PREFIX}{session}" if session else self._settings.default_namespace
        check_namespace(namespace)
        caller.check(namespace, access)
        return namespace

    def _scope(
        self,
        caller: Caller,
        namespace: str | None,
        access: Access,
        everywhere: bool = False,
        agent_id: AgentId | None = None,
        include_shared: bool = True,
    ) -> Scope:
        place = None if everywhere else self._namespace(caller, namespace, access)
        return Scope(
            namespace=place,
            isolated=caller.isolated,
            session_id=caller.session_id,
            agent_id=agent_meant(caller, agent_id, access),
            include_shared=include_shared,
        )
