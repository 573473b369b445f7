"""A store that is opened when it is first used, and again after it has failed."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Generic, Protocol, TypeVar

import anyio

from perstack.errors import LockedError, StorageError


class Closable(Protocol):
    """What a handle holds."""

    async def aclose(self) -> None:
        """Close it."""
        ...


S = TypeVar("S", bound=Closable)
T = TypeVar("T")


class Handle(Generic[S]):
    """Opens with `open_store`, so that a database that was damaged or replaced can be put right.

    All services of a process share one for the tables and one for memory.
    """

    def __init__(self, open_store: Callable[[], Awaitable[S]]) -> None:
        self._open_store = open_store
        self._opening = anyio.Lock()
        self._store: S | None = None

    async def ask(self, question: Callable[[S], Awaitable[T]]) -> T:
        """Return the answer of the store, which is opened anew next time if it failed.

        Raises:
            StorageError: it cannot be opened, read or written (`LockedError`: now).
        """
        store = await self._opened()
        try:
            return await question(store)
        except LockedError:
            raise
        except StorageError:
            await self._drop(store)
            raise

    async def aclose(self) -> None:
        """Close the store; a later question opens it again."""
        if self._store is not None:
            await self._drop(self._store)

    async def _opened(self) -> S:
        async with self._opening:
            if self._store is None:
                self._store = await self._open_store()
            return self._store

    async def _drop(self, store: S) -> None:
        if self._store is store:
            self._store = None
        await store.aclose()
