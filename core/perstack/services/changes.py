"""Noticing that a database has changed, without each who waits asking it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import anyio


class Changes:
    """What `version` last said, asked once however many want to know.

    Changes of this process are noted, so that those who wait for one need not look.
    """

    def __init__(self, version: Callable[[], Awaitable[str]]) -> None:
        self._ask = version
        self._event = anyio.Event()
        self._looking = anyio.Lock()
        self._looked_at = float("-inf")
        self._version = ""

    @property
    def next(self) -> anyio.Event:
        """The event of the next change that is noted. Take it before looking."""
        return self._event

    async def look(self, within_s: float) -> str:
        """Return the version as it was at most `within_s` seconds ago.

        Raises:
            StorageError: the database cannot be read.
        """
        async with self._looking:
            if anyio.current_time() - self._looked_at >= within_s:
                before = self._event
                self._version = await self._ask()
                if before is self._event:
                    self._looked_at = anyio.current_time()
            return self._version

    def note(self) -> None:
        """Say that this process changed something."""
        self.forget()
        self._event.set()
        self._event = anyio.Event()

    def forget(self) -> None:
        """Have the database asked at the next look, whenever it was asked last."""
        self._looked_at = float("-inf")
