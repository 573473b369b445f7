"""A bound on how many do something at once, which says how many do."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import TypeVar

from anyio import CapacityLimiter

from perstack.domain.base import Model

T = TypeVar("T")


class SemaphoreState(Model):
    """How many more may begin, of how many, and how many wait."""

    available: int
    max_permits: int
    queued: int


class Semaphore:
    """Lets `permits` through at a time, in the order in which they came."""

    def __init__(self, name: str, permits: int) -> None:
        self.name = name
        self._limiter = CapacityLimiter(permits)

    @asynccontextmanager
    async def permit(self) -> AsyncGenerator[None]:
        """Wait for a permit, and give it back at the end, however that comes."""
        # The limiter knows its borrowers: a task may well hold two permits.
        borrower = object()
        await self._limiter.acquire_on_behalf_of(borrower)
        try:
            yield
        finally:
            self._limiter.release_on_behalf_of(borrower)

    async def execute(self, work: Callable[[], Awaitable[T]]) -> T:
        """Return what `work` returned, begun when there was a permit."""
        async with self.permit():
            return await work()

    def state(self) -> SemaphoreState:
        """Return how things stand now."""
        found = self._limiter.statistics()
        return SemaphoreState(
            available=int(found.total_tokens) - found.borrowed_tokens,
            max_permits=int(found.total_tokens),
            queued=found.tasks_waiting,
        )
