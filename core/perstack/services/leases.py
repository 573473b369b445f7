"""Driving what only one process at a time may drive, for as long as it is ours."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from typing import Final, Protocol, TypeVar

import anyio

from perstack.domain.agents import LOST_AFTER_MS
from perstack.errors import LockedError, PerstackError
from perstack.ports.reviews import Lease
from perstack.ports.system import Clock, Ids

BEAT_S: Final = 0.5
RELEASE_S: Final = 5.0
LOCKED_S: Final = 60.0
_AGAIN_S: Final = 0.1

T = TypeVar("T")

_LOG: Final = logging.getLogger(__name__)


class LostError(Exception):
    """It has ended, or another process drives it now."""


async def patiently(ask: Callable[[], Awaitable[T]]) -> T:
    """Return what `ask` does; a locked database is waited for, up to a minute.

    Minutes of an Expert's work are not lost because somebody else was writing.

    Raises:
        LockedError: it stayed locked.
    """
    deadline = anyio.current_time() + LOCKED_S
    while True:
        try:
            return await ask()
        except LockedError:
            if anyio.current_time() > deadline:
                raise
        await anyio.sleep(_AGAIN_S)


class Holder(Protocol):
    """The store's part: the three verbs of a lease on one thing."""

    async def claim(self, lease: Lease) -> bool:
        """Take it over; say whether that was possible."""
        ...

    async def beat(self, lease: Lease) -> bool:
        """Say that the driver lives; False when it is not its any more."""
        ...

    async def release(self, lease: Lease) -> None:
        """Let others take it over at once."""
        ...


class Drive:
    """One process's claim on one thing; `lease()` is what to show with each write."""

    def __init__(self, holder: Holder, *, clock: Clock, ids: Ids) -> None:
        self._holder = holder
        self._clock = clock
        self._driver = ids.new()
        self._scope = anyio.CancelScope()

    def lease(self) -> Lease:
        """Return the lease as of now."""
        now = self._clock.now_ms()
        return Lease(self._driver, now, now - LOST_AFTER_MS)

    def stop(self) -> None:
        """Cancel the work: it was ended by somebody of this process."""
        self._scope.cancel()

    async def during(self, work: Callable[[], Awaitable[None]]) -> bool:
        """Claim, then do `work` and beat; say whether it could be claimed.

        The work is cancelled within a second once it has ended or is driven by another. However
        this returns, nobody has to wait before driving it again.

        Raises:
            Exception: what the work raised.
        """
        if not await self._holder.claim(self.lease()):
            return False
        failures: list[Exception] = []
        try:
            with self._scope:
                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(self._beat, tasks.cancel_scope)
                    try:
                        await work()
                    except LostError:
                        pass
                    except Exception as error:  # noqa: BLE001 - goes to whoever asked, below
                        failures.append(error)
                    tasks.cancel_scope.cancel()
        finally:
            await self._release()
        if failures:
            raise failures[0]
        return True

    async def _beat(self, scope: anyio.CancelScope) -> None:
        while True:
            await anyio.sleep(BEAT_S)
            try:
                if not await self._holder.beat(self.lease()):
                    scope.cancel()
                    return
            except PerstackError as error:
                # The work meets the same trouble when it writes, and says so.
                _LOG.warning("a sign of life could not be written: %s", error.message)

    async def _release(self) -> None:
        with anyio.move_on_after(RELEASE_S, shield=True):
            try:
                await self._holder.release(self.lease())
            except PerstackError as error:
                _LOG.warning("a claim was not given back: %s", error.message)
