"""Looking at the shared tables for what happened: cheaply, and only when something did."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Final

import anyio
import anyio.to_thread

from perstack.errors import LockedError, StorageError
from perstack.ports.system import Clock
from perstack.services.consensus import ConsensusService
from perstack.serving.feed.rows import Draft, Rows
from perstack.wiring import Tables, consensus_over, has_database

LOOK_S: Final = 0.2
NO_DATABASE_S: Final = 0.5
AFTER_FAILURE_S: Final = 2.0
_LOG: Final = logging.getLogger(__name__)

Tell = Callable[[Sequence[Draft]], None]


class TableWatch:
    """Tells what rows tell, and sees to what expires, as whoever watches the gates does."""

    def __init__(self, tables: Tables, clock: Clock, tell: Tell) -> None:
        self._tables = tables
        self._clock = clock
        self._tell = tell
        self._consensus: ConsensusService = consensus_over(tables)
        self._rows: Rows | None = None
        self._version: str | None = None
        self._expiry: int | None = None

    async def run(self, begun: anyio.Event) -> None:
        """Watch until cancelled; `begun` is set once what is there already is known."""
        while True:
            wait_s = LOOK_S
            try:
                if self._rows is None:
                    self._rows = await self._begin()
                    begun.set()
                elif await self._is_there():
                    await self._look(self._rows)
                else:
                    wait_s = NO_DATABASE_S
            except LockedError:
                pass  # Somebody writes; it will be there at the next look.
            except StorageError as error:
                _LOG.warning("the tables cannot be followed: %s", error.message)
                begun.set()
                wait_s = AFTER_FAILURE_S
            await anyio.sleep(wait_s)

    async def _begin(self) -> Rows:
        if not await self._is_there():
            rows = Rows(self._clock.now_ms(), {})
            rows.begin(())
            return rows
        stores = self._tables.stores
        now_ms = self._clock.now_ms()
        rows = Rows(now_ms, await stores.ask(lambda all_: all_.glimpses.numbers()))
        rows.begin(await stores.ask(lambda all_: all_.glimpses.since(rows.marks)))
        return rows

    async def _is_there(self) -> bool:
        if self._version is not None:
            return True
        return await anyio.to_thread.run_sync(has_database, self._tables.workspace)

    async def _look(self, rows: Rows) -> None:
        stores = self._tables.stores
        version = await stores.ask(lambda all_: all_.version())
        if version != self._version:
            now_ms = self._clock.now_ms()
            found = await stores.ask(lambda all_: all_.glimpses.since(rows.marks))
            self._expiry = await stores.ask(lambda all_: all_.glimpses.next_expiry())
            if drafts := rows.take(found, now_ms=now_ms):
                self._tell(drafts)
            self._version = version
        if self._expiry is not None and self._clock.now_ms() >= self._expiry:
            self._expiry = None
            await self._consensus.sweep()
