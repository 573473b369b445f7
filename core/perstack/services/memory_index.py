"""The vectors of memory entries: making them, making up for what is missing, counting them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Final

import anyio

from perstack.domain.memory import Caller, MemoryStats, NamespaceCount, Reindexed
from perstack.errors import ConfigError, DeniedError, ProviderError, UsageError
from perstack.ports.embeddings import Embedder
from perstack.ports.memory import Embedding, MemoryStore
from perstack.services.handle import Handle

if TYPE_CHECKING:
    from numpy import float32
    from numpy.typing import NDArray

OpenEmbedder = Callable[[], Awaitable[Embedder | None]]

EMBEDDED_CHARS: Final = 8_000
"""How much of a content its vector is made of: vendors refuse more than 8,192 tokens."""

_EMBED_S: Final = 60.0
_BATCH: Final = 64
_HUGE: Final = 2.0
_ANY_TEXT: Final = "memory"


class MemoryIndex:
    """Asks the embedder, which is opened when it is first needed."""

    def __init__(self, stores: Handle[MemoryStore], open_embedder: OpenEmbedder | None) -> None:
        self._stores = stores
        self._open_embedder = open_embedder
        self._opening = anyio.Lock()
        self._embedder: Embedder | None = None

    async def embed(self, text: str) -> tuple[Embedding | None, str | None]:
        """Return a text's vector, or None and why there is none (None: vector search is off)."""
        try:
            embedder = await self._opened()
            if embedder is None:
                return None, None
            return Embedding(embedder.name, (await _vectors(embedder, [text]))[0]), None
        except (ProviderError, ConfigError) as error:
            return None, f"no vectors now: {error.message}"

    async def stats(self, caller: Caller) -> MemoryStats:
        """Return how much of what the caller may see has a vector of the embedder in use."""
        warning = None
        embedder: Embedder | None = None
        try:
            embedder = await self._opened()
        except (ProviderError, ConfigError) as error:
            warning = f"no vectors now: {error.message}"
        name, size = (embedder.name, embedder.dimensions) if embedder else (None, None)
        scope = caller.scope
        total, indexed = await self._stores.ask(lambda store: store.count(scope, name, size))
        return MemoryStats(
            total=total,
            indexed=indexed,
            coverage=round(100 * indexed / total, 1) if total else 0.0,
            embedder=name,
            warning=warning,
        )

    async def namespaces(self, caller: Caller) -> list[NamespaceCount]:
        """Return the namespaces that are open to the caller, by name."""
        scope = caller.scope
        return list(await self._stores.ask(lambda store: store.namespaces(scope)))

    async def reindex(self, caller: Caller) -> Reindexed:
        """Make the vectors that are missing, of all entries, 64 at a time; return what there is.

        Vectors of another length than the embedder makes now are made anew: no search finds them.

        What another changes meanwhile has a vector already, or gets one next time.

        Raises:
            DeniedError: the caller is an agent.
            UsageError: vector search is off.
            ProviderError: the embedder failed; what was made so far is kept.
        """
        if caller.agent_id is not None:
            raise DeniedError("Access denied: an agent cannot reindex the memory")
        embedder = await self._opened()
        if embedder is None:
            raise UsageError(
                "vector search is off", hint="set [memory.vectorSearch] enabled = true"
            )
        if embedder.dimensions is None:
            await _vectors(embedder, [_ANY_TEXT])
        after, made = 0, 0
        while (batch := await self._index_after(embedder, after)) is not None:
            after, made = batch[0], made + batch[1]
        stats = await self.stats(caller)
        return Reindexed(**stats.model_dump(by_alias=False), reindexed=made)

    async def aclose(self) -> None:
        """Close the embedder."""
        if self._embedder is not None:
            await self._embedder.aclose()
            self._embedder = None

    async def _index_after(self, embedder: Embedder, after: int) -> tuple[int, int] | None:
        """Make the next vectors; return the number of the last entry, and how many they are.

        None: none is left.
        """
        name, size = embedder.name, embedder.dimensions
        batch = await self._stores.ask(
            lambda store: store.unindexed(name, size, after=after, limit=_BATCH)
        )
        if not batch:
            return None
        vectors = await _vectors(embedder, [one.content for one in batch])
        pairs = list(zip(batch, vectors, strict=True))
        await self._stores.ask(lambda store: store.index(name, pairs))
        return batch[-1].number, len(batch)

    async def _opened(self) -> Embedder | None:
        if self._open_embedder is None:
            return None
        async with self._opening:
            if self._embedder is None:
                self._embedder = await self._open_embedder()
            return self._embedder


async def _vectors(embedder: Embedder, texts: Sequence[str]) -> NDArray[float32]:
    try:
        with anyio.fail_after(_EMBED_S):
            vectors = await embedder.embed([text[:EMBEDDED_CHARS] for text in texts])
    except TimeoutError as error:
        raise ProviderError(f"{embedder.name} did not answer within {_EMBED_S:.0f} s") from error
    # What is no number would be like everything.
    if len(vectors) != len(texts) or not bool((abs(vectors) < _HUGE).all()):
        raise ProviderError(f"{embedder.name} answered with something that is no vector")
    return vectors
