"""What the memory skill of a run asks: memory as that run's agent may see and change it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from perstack.domain.expert import Expert
from perstack.domain.memory import MemoryAnswer, MemoryEntry, MemoryPage, StoredMemory
from perstack.ports.skills import RunContext


class Recall(Protocol):
    """Memory in the name of one run. `namespace` None: its session's, or the configured one.

    Whatever is refused or fails is a `PerstackError`, whose message the model may read.
    """

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
        ...

    async def search(self, query: str, *, namespace: str | None, limit: int) -> MemoryAnswer:
        """Return what fits, best first."""
        ...

    async def find(self, key: str, *, namespace: str | None) -> MemoryEntry | None:
        """Return the entry of that key, None where the run sees none."""
        ...

    async def list(
        self, *, namespace: str | None, tags: Sequence[str], limit: int, offset: int
    ) -> MemoryPage:
        """Return a part of what there is, newest change first."""
        ...

    async def delete(self, key: str, *, namespace: str | None) -> bool:
        """Delete; say whether there was such an entry."""
        ...


OpenRecall = Callable[[Expert, RunContext], Recall]
