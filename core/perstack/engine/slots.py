"""The places that runs of a job work at: so many at a time, and the job's time counts with them."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import anyio

from perstack.engine.budget import Meter


class Slots:
    """At most `most` runs work at once; a task holds one place."""

    def __init__(self, most: int, meter: Meter) -> None:
        self._places = anyio.CapacityLimiter(most)
        self._meter = meter

    @asynccontextmanager
    async def taken(self) -> AsyncGenerator[None]:
        """Hold a place, for which the running task waits its turn."""
        me = anyio.get_current_task().id
        await self._places.acquire_on_behalf_of(me)
        self._meter.begin()
        try:
            yield
        finally:
            self._meter.end()
            self._places.release_on_behalf_of(me)

    @asynccontextmanager
    async def yielded(self) -> AsyncGenerator[None]:
        """Give up the running task's place while it waits for others."""
        me = anyio.get_current_task().id
        self._places.release_on_behalf_of(me)
        self._meter.end()
        try:
            yield
        finally:
            with anyio.CancelScope(shield=True):
                await self._places.acquire_on_behalf_of(me)
            self._meter.begin()
