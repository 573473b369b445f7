"""Memory as hooks see it: what people may see, and words only, since every task is written down."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from pydantic import JsonValue

from perstack.domain.memory import Caller
from perstack.services.memory import MemoryService

_HOOKS: Final = Caller(name="hooks")


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

    async def search(self, query: str, *, namespace: str, limit: int) -> Sequence[str]:
        """Return the contents of the best hits, the best first.

        Raises:
            UsageError: the query is too long.
        """
        answer = await self._memory.search(
            _HOOKS, query, namespace=namespace, limit=limit, use_vector=False
        )
        return [hit.entry.content for hit in answer.results]
