"""Memory in the name of a run, for the memory skill."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from perstack.domain.expert import Expert
from perstack.domain.ids import AgentId
from perstack.domain.memory import Caller, MemoryAnswer, MemoryEntry, MemoryPage, StoredMemory
from perstack.ports.recall import OpenRecall
from perstack.ports.skills import RunContext
from perstack.services.memory import MemoryService

# Unrelated texts stay below it with the embedders that were measured; paraphrases reach it.
_THRESHOLD: Final = 0.4


def recall_of(memory: MemoryService) -> OpenRecall:
    """Return what opens a run's memory: its caller is the run's agent in the run's session."""

    def open_recall(expert: Expert, context: RunContext) -> RunRecall:
        agent = context.agent_id or AgentId(context.run_id)
        caller = Caller(
            name=expert.key,
            session_id=context.session_id,
            agent_id=agent,
            run_id=context.run_id,
        )
        return RunRecall(memory, caller)

    return open_recall


class RunRecall:
    """Implements `ports.recall.Recall`."""

    def __init__(self, memory: MemoryService, caller: Caller) -> None:
        self._memory = memory
        self._caller = caller

    async def store(
        self,
        key: str,
        content: str,
        *,
        namespace: str | None,
        tags: Sequence[str] | None,
        private: bool,
    ) -> StoredMemory:
        """Store; a new entry is everybody's unless it is `private` to this agent."""
        return await self._memory.store(
            self._caller, key, content, namespace=namespace, tags=tags, shared=not private
        )

    async def search(self, query: str, *, namespace: str | None, limit: int) -> MemoryAnswer:
        """Return what fits, best first."""
        return await self._memory.search(
            self._caller, query, namespace=namespace, limit=limit, threshold=_THRESHOLD
        )

    async def find(self, key: str, *, namespace: str | None) -> MemoryEntry | None:
        """Return the entry of that key, None where the run sees none."""
        return await self._memory.find(self._caller, key, namespace=namespace)

    async def list(
        self, *, namespace: str | None, tags: Sequence[str], limit: int, offset: int
    ) -> MemoryPage:
        """Return a part of what there is, newest change first."""
        return await self._memory.list(
            self._caller, namespace=namespace, tags=tags, limit=limit, offset=offset
        )

    async def delete(self, key: str, *, namespace: str | None) -> bool:
        """Delete; say whether there was such an entry."""
        return await self._memory.delete(self._caller, key, namespace=namespace)
