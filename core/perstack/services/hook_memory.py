"""Memory as hooks see it: what people may see, and words only, since every task is written down."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from pydantic import JsonValue

from perstack.domain.memory import Caller
from perstack.services.hooks import TASKS
from perstack.services.memory import MemoryService

# What models wrote is part of what hooks write down, so that nobody must take it for a person's.
_HOOKS: Final = Caller(name="hooks", is_system=True)
KEPT: Final = 1_000


class MemoryForHooks:
    """Implements `domain.hooks.HookMemory`; makes no vectors and asks for none."""

    def __init__(self, memory: MemoryService) -> None:
        self._memory = memory

    async def store(
        self,
        key: str,
        content: str,
        *,
        namespace: str,
        metadata: Mapping[str, JsonValue] | None = None,
    ) -> None:
        """Write an entry, in place of one with that key.

        Of those that hooks wrote into the namespace `tasks`, the newest 1,000 are kept.

        Raises:
            UsageError: a text is too long or empty.
        """
        await self._memory.store(
            _HOOKS,
            key,
            content,
            namespace=namespace,
            metadata=metadata,
            generate_embedding=False,
            shared=True,
        )
        if namespace == TASKS:
            await self._memory.keep_newest(namespace, KEPT)

    async def search(self, query: str, *, namespace: str, limit: int) -> Sequence[str]:
        """Return the contents of the best hits, the best first.

        Raises:
            UsageError: the query is too long.
        """
        answer = await self._memory.search(
            _HOOKS, query, namespace=namespace, limit=limit, use_vector=False
        )
        return [hit.entry.content for hit in answer.results]
