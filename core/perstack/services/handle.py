"""A store that is opened when it is first used, and again after it has failed."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Generic, Protocol, TypeVar

import anyio

from perstack.errors import ClosedError, LockedError, StorageError


class Closable(Protocol):
    """What a handle holds."""

    async def aclose(self) -> None:
        """Close it."""
        ...


S = TypeVar("S", bound=Closable)
T = TypeVar("T")


class Handle(Generic[S]):
    """Opens with `open_store`, so that a database that was damaged or replaced can be put right.

    All services of a process share one for the tables and one for memory. Once it was open it is
    opened with `open_again`, where that is given: what was removed then must not be made anew, as
    if there had been nothing.
    """

    def __init__(
        self,
        open_store: Callable[[], Awaitable[S]],
        *,
        open_again: Callable[[], Awaitable[S]] | None = None,
    ) -> None:
        self._open_store = open_store
        self._open_again = open_again or open_store
        self._opening = anyio.Lock()
        self._store: S | None = None
        self._closings = 0

    async def ask(self, question: Callable[[S], Awaitable[T]]) -> T:
        """Return the answer of the store, which is opened anew next time if it failed.

        Raises:
            StorageError: it cannot be opened, read or written (`LockedError`: now).
        """
        closings = self._closings
        try:
            return await self._ask(question)
        except ClosedError:
            if self._closings != closings:
                raise
        # The failure of another question closed it before this one had its turn.
        return await self._ask(question)

    async def aclose(self) -> None:
        """Close the store; a later question opens it again."""
        self._closings += 1
        if self._store is not None:
            await self._drop(self._store)

    async def _ask(self, question: Callable[[S], Awaitable[T]]) -> T:
        store = await self._opened()
        try:
            return await question(store)
        except LockedError:
            raise
        except StorageError:
            await self._drop(store)
            raise

    async def _opened(self) -> S:
        async with self._opening:
            if self._store is None:
                self._store = await self._open_store()
                self._open_store = self._open_again
            return self._store

    async def _drop(self, store: S) -> None:
        if self._store is store:
            self._store = None
        await store.aclose()
