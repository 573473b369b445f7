"""A memory of one run in a dictionary, and what was asked of it."""

from __future__ import annotations

from collections.abc import Sequence

import anyio

from perstack.domain.ids import MemoryId, RunId
from perstack.domain.memory import (
    MemoryAnswer,
    MemoryEntry,
    MemoryHit,
    MemoryOrigin,
    MemoryPage,
    MemorySummary,
    StoredMemory,
    preview,
)
from perstack.errors import PerstackError

NOW_MS = 1_700_000_000_000
ORIGIN = MemoryOrigin(kind="agent", name="writer", run_id=RunId("r1"))


class FakeRecall:
    """Implements `ports.recall.Recall`. `failing` is raised by every call, `hangs`: none ends."""

    def __init__(self) -> None:
        self.entries: dict[tuple[str | None, str], MemoryEntry] = {}
        self.private: list[str] = []
        self.failing: PerstackError | None = None
        self.hangs = False
        self.warning: str | None = None

    async def store(
        self,
        key: str,
        content: str,
        *,
        namespace: str | None,
        tags: Sequence[str] | None,
        private: bool,
    ) -> StoredMemory:
        await self._begin()
        created = (namespace, key) not in self.entries
        entry = MemoryEntry(
            id=MemoryId(f"m{len(self.entries)}"),
            key=key,
            namespace=namespace or "default",
            content=content,
            tags=tuple(tags or ()),
            origin=ORIGIN,
            created_at=NOW_MS,
            updated_at=NOW_MS,
        )
        self.entries[namespace, key] = entry
        if private:
            self.private.append(key)
        return StoredMemory(entry=entry, created=created, warning=self.warning)

    async def search(self, query: str, *, namespace: str | None, limit: int) -> MemoryAnswer:
        await self._begin()
        found = [one for one in self._of(namespace) if query in one.content][:limit]
        hits = tuple(MemoryHit(entry=one, score=0.98765, match_type="fts") for one in found)
        return MemoryAnswer(count=len(hits), results=hits, warning=self.warning)

    async def find(self, key: str, *, namespace: str | None) -> MemoryEntry | None:
        await self._begin()
        return self.entries.get((namespace, key))

    async def list(
        self, *, namespace: str | None, tags: Sequence[str], limit: int, offset: int
    ) -> MemoryPage:
        await self._begin()
        fit = [one for one in self._of(namespace) if set(tags) <= set(one.tags)]
        page = tuple(
            MemorySummary(
                id=one.id,
                key=one.key,
                namespace=one.namespace,
                content_preview=preview(one.content),
                tags=one.tags,
                origin=one.origin,
                created_at=one.created_at,
                updated_at=one.updated_at,
            )
            for one in fit[offset : offset + limit]
        )
        return MemoryPage(total=len(fit), count=len(page), offset=offset, entries=page)

    async def delete(self, key: str, *, namespace: str | None) -> bool:
        await self._begin()
        return self.entries.pop((namespace, key), None) is not None

    def _of(self, namespace: str | None) -> list[MemoryEntry]:
        return [entry for (place, _), entry in self.entries.items() if place == namespace]

    async def _begin(self) -> None:
        if self.hangs:
            await anyio.sleep_forever()
        if self.failing is not None:
            raise self.failing
