"""One feed a server: followed once, while anybody listens, and told to any number of clients."""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, Generator, Sequence
from contextlib import aclosing, asynccontextmanager, contextmanager
from heapq import merge
from secrets import token_hex
from typing import Final

import anyio
from anyio.abc import TaskGroup
from pydantic import JsonValue

from perstack.engine.groups import unwrapped
from perstack.errors import LimitError, StorageError
from perstack.ports.history import FeedBatch
from perstack.ports.system import Clock, SystemClock
from perstack.services.bus import Message
from perstack.serving.backend import Backend, Served
from perstack.serving.feed.listening import Listener
from perstack.serving.feed.news import DELTA, RESET, News, Position, Ring, Wanted
from perstack.serving.feed.past import OLDEST_MS, Past, event_data, event_type
from perstack.serving.feed.rows import Draft
from perstack.serving.feed.tables import TableWatch

KEPT: Final = 10_000
KEPT_CHARS: Final = 64 * 1024 * 1024
KEPT_DELTAS: Final = 2_000
MOST_CLIENTS: Final = 1_000
LINGER_S: Final = 30.0
BEGIN_WITHIN_S: Final = 20.0
AGAIN_AFTER_S: Final = 1.0
_AHEAD_MS: Final = 60_000
_LOG: Final = logging.getLogger(__name__)


class Feed:
    """What happens, in order, for whoever listens.

    Histories and tables are followed from the first client on until `linger_s` after the last one
    has gone: where nobody listens, nothing is read. A client that is slower than what happens
    loses its place, and holds up nobody.
    """

    def __init__(
        self,
        backend: Backend,
        group: TaskGroup,
        *,
        clock: Clock | None = None,
        kept: int = KEPT,
        linger_s: float = LINGER_S,
    ) -> None:
        self.changed = anyio.Event()
        self.closed = False
        self._backend = backend
        self._group = group
        self._clock = clock or SystemClock()
        self._kept = kept
        self._linger_s = linger_s
        self._past = Past(backend.history)
        self._listeners: set[Listener] = set()
        self._came = anyio.Event()
        self._follower: _Follower | None = None
        self._begin_life()
        backend.on_served(self._hear_bus)

    @property
    def clients(self) -> int:
        """How many listen."""
        return len(self._listeners)

    @property
    def following(self) -> bool:
        """Whether histories and tables are being followed."""
        return self._follower is not None

    @property
    def position(self) -> Position:
        """The place after all that was told."""
        return Position(self._clock.now_ms(), self._epoch, self._number)

    @property
    def lost(self) -> int:
        """The number of the last news that can no longer be told."""
        return self._news.lost

    @property
    def past(self) -> Past:
        """What was recorded before."""
        return self._past

    def after(self, number: int, *, deltas: bool) -> Sequence[News]:
        """Return what was told after that number, oldest first; streaming text where asked for."""
        news = self._news.after(number)
        if not deltas:
            return news
        return list(merge(news, self._deltas.after(number), key=lambda one: one.number))

    @asynccontextmanager
    async def listen(self, wanted: Wanted, after: str | None = None) -> AsyncGenerator[Listener]:
        """Give what a client hears from now on, or from after the news with the id `after`.

        It returns once what happens from then on will be told.

        Raises:
            LimitError: `MOST_CLIENTS` listen already.
        """
        self.check_room()
        with self._place() as listener:
            with anyio.move_on_after(BEGIN_WITHIN_S):
                await self._following().begun.wait()
            self._settle(listener, after)
            listener.wanted = wanted
            yield listener

    def check_room(self) -> None:
        """See that another client can listen.

        Raises:
            LimitError: `MOST_CLIENTS` do already.
        """
        if len(self._listeners) >= MOST_CLIENTS:
            raise LimitError(
                f"{MOST_CLIENTS} clients follow what happens already",
                hint="close those that are no longer needed",
            )

    def close(self) -> None:
        """End all that listen, at once."""
        self.closed = True
        self._wake()

    def tell(self, drafts: Sequence[Draft]) -> None:
        """Tell everybody."""
        now_ms = self._clock.now_ms()
        for draft in drafts:
            self._number += 1
            position = Position(now_ms, self._epoch, self._number)
            told = News(str(position), self._number, draft.type, draft.at_ms, draft.data)
            self._news.add(told)
        if drafts:
            self._wake()

    def tell_batch(self, batch: FeedBatch, *, since_ms: int) -> None:
        """Tell what was recorded since a moment, and streaming text where somebody wants it."""
        self.tell(
            [
                Draft(event_type(event), event.timestamp, event_data(event))
                for event in batch.events
                if event.timestamp >= since_ms
            ]
        )
        if batch.deltas and any(one.wanted.deltas for one in self._listeners):
            now_ms = self._clock.now_ms()
            for delta in batch.deltas:
                self._number += 1
                data: dict[str, JsonValue] = delta.model_dump(mode="json")
                self._deltas.add(News(None, self._number, DELTA, now_ms, data))
            self._wake()

    # ------------------------------------------------------------- internals

    def _wake(self) -> None:
        self.changed.set()
        self.changed = anyio.Event()

    def _begin_life(self) -> None:
        """Forget what was told: what happened while nobody listened is not known."""
        self._epoch = token_hex(4)
        self._number = 0
        self._news = Ring(self._kept, KEPT_CHARS)
        self._deltas = Ring(KEPT_DELTAS, KEPT_CHARS)

    @contextmanager
    def _place(self) -> Generator[Listener]:
        listener = Listener(self)
        self._listeners.add(listener)
        self._came.set()
        self._came = anyio.Event()
        try:
            yield listener
        finally:
            self._listeners.discard(listener)
            if self._follower is not None and not self._listeners:
                self._follower.alone.set()

    def _settle(self, listener: Listener, after: str | None) -> None:
        """Put a listener where it wants to be."""
        now = self.position
        listener.number = now.number
        if after is None:
            return
        wanted = Position.parse(after)
        if wanted is None or not now.at_ms - OLDEST_MS <= wanted.at_ms <= now.at_ms + _AHEAD_MS:
            listener.pending = (self.reset("the place it asks for is not known", now),)
        elif wanted.epoch == self._epoch and self.lost <= wanted.number <= now.number:
            listener.number = wanted.number
        else:
            listener.since_ms = wanted.at_ms

    def reset(self, why: str, place: Position | None = None) -> News:
        """Return that a client must read everything anew."""
        at = place or self.position
        return News(str(at), at.number, RESET, at.at_ms, {"reason": why})

    def _following(self) -> _Follower:
        if self._follower is None:
            self._begin_life()
            self._follower = _Follower(self, self._backend, self._clock)
            self._group.start_soon(self._follow, self._follower, name="feed:follow")
        return self._follower

    async def _follow(self, follower: _Follower) -> None:
        try:
            with unwrapped():
                async with anyio.create_task_group() as group:
                    group.start_soon(follower.follow_history, name="feed:history")
                    group.start_soon(follower.follow_tables, name="feed:tables")
                    await self._until_nobody(follower)
                    group.cancel_scope.cancel()
        finally:
            if self._follower is follower:
                self._follower = None

    async def _until_nobody(self, follower: _Follower) -> None:
        while True:
            await follower.alone.wait()
            follower.alone = anyio.Event()
            came = self._came
            with anyio.move_on_after(self._linger_s):
                if not self._listeners:
                    await came.wait()
            if not self._listeners:
                # Whoever comes from here on finds no follower, and begins another life.
                self._follower = None
                return

    def _hear_bus(self, served: Served) -> None:
        served.coordination.bus.subscribe_all(self._heard)

    def _heard(self, message: Message) -> None:
        if self._follower is not None:
            data: dict[str, JsonValue] = message.model_dump(mode="json", by_alias=True)
            data.pop("timestamp")
            self.tell([Draft("message:received", message.timestamp, data)])


class _Follower:
    """One stretch of following."""

    def __init__(self, feed: Feed, backend: Backend, clock: Clock) -> None:
        self.begun = anyio.Event()
        self.alone = anyio.Event()
        self._feed = feed
        self._history = backend.history
        self._clock = clock
        self._tables = TableWatch(backend.tables, clock, feed.tell)
        self._tables_begun = anyio.Event()

    async def follow_tables(self) -> None:
        """Tell what the tables tell."""
        await self._tables.run(self._tables_begun)

    async def follow_history(self) -> None:
        """Tell what is recorded; what cannot be read is tried again, and clients are told so."""
        while True:
            try:
                await self._read_history()
            except StorageError as error:
                _LOG.warning("the histories cannot be followed: %s", error.message)
                now_ms = self._clock.now_ms()
                self._feed.tell([Draft(RESET, now_ms, {"reason": "the histories were not read"})])
            await anyio.sleep(AGAIN_AFTER_S)

    async def _read_history(self) -> None:
        since_ms: int | None = None
        async with aclosing(self._history.follow(backlog_jobs=0)) as batches:
            async for batch in batches:
                if since_ms is not None:
                    self._feed.tell_batch(batch, since_ms=since_ms)
                elif batch.caught_up:
                    since_ms = self._clock.now_ms()
                    await self._tables_begun.wait()
                    self.begun.set()


@asynccontextmanager
async def open_feed(
    backend: Backend, *, kept: int = KEPT, linger_s: float = LINGER_S
) -> AsyncGenerator[Feed]:
    """Give the feed of a workspace; when the block ends, nobody listens any more."""
    with unwrapped():
        async with anyio.create_task_group() as group:
            feed = Feed(backend, group, kept=kept, linger_s=linger_s)
            try:
                yield feed
            finally:
                feed.close()
                group.cancel_scope.cancel()
