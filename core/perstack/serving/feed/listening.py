"""What one client hears, at its own pace."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from typing import Final, Protocol

import anyio

from perstack.serving.feed.news import OVERFLOW, News, Position, Wanted
from perstack.serving.feed.past import Past, TooMuchError

RESUMED: Final = "resumed"


class Source(Protocol):
    """The feed as a listener reads it."""

    changed: anyio.Event
    closed: bool

    @property
    def position(self) -> Position:
        """The place after all that was told."""
        ...

    @property
    def lost(self) -> int:
        """The number of the last news that can no longer be told."""
        ...

    @property
    def past(self) -> Past:
        """What was recorded before."""
        ...

    def after(self, number: int, *, deltas: bool) -> Sequence[News]:
        """Return what was told after that number."""
        ...

    def reset(self, why: str) -> News:
        """Return that a client must read everything anew."""
        ...


class Listener:
    """A client's place. `wanted` may be changed at any time; `number` is the last it was told.

    `pending` comes first; with `since_ms` (Unix ms), then what was recorded since.
    """

    def __init__(self, source: Source) -> None:
        self.wanted = Wanted(())
        self.number = 0
        self.pending: Sequence[News] = ()
        self.since_ms: int | None = None
        self._source = source
        self._told_again: set[tuple[str, int]] = set()

    @property
    def position(self) -> str:
        """The id of this place, to come back to."""
        now = self._source.position
        return str(Position(now.at_ms, now.epoch, self.number))

    @property
    def behind(self) -> bool:
        """Whether there is something to be told before what happens from now on."""
        return (
            bool(self.pending)
            or self.since_ms is not None
            or self.number < self._source.position.number
        )

    async def news(self, *, silence_s: float) -> AsyncGenerator[Sequence[News], None]:
        """Yield what the client wants to hear, some at a time; nothing after each `silence_s`.

        Ends when the feed is closed, and after `overflow`, when more happened than is kept while
        the client did not read.
        """
        if self.pending:
            yield self.pending
        async for again in self._again():
            yield again
        spoke = anyio.current_time()
        while not self._source.closed:
            changed = self._source.changed
            if self.number < self._source.lost:
                yield (self._overflow(),)
                return
            found = self._new()
            if found or anyio.current_time() - spoke >= silence_s:
                yield found
                spoke = anyio.current_time()
            elif changed is self._source.changed:
                with anyio.move_on_after(max(0.0, spoke + silence_s - anyio.current_time())):
                    await changed.wait()

    def _new(self) -> Sequence[News]:
        after = self._source.after(self.number, deltas=self.wanted.deltas)
        # What nobody asked for is passed over, too.
        self.number = max(self._source.position.number, self.number)
        return [one for one in after if self.wanted.takes(one) and not self._is_again(one)]

    def _is_again(self, news: News) -> bool:
        return bool(self._told_again) and _key(news) in self._told_again

    async def _again(self) -> AsyncGenerator[Sequence[News], None]:
        """Yield what was recorded since `since_ms`, and then that this is all there was."""
        if self.since_ms is None:
            return
        since_ms, count = self.since_ms, 0
        try:
            async for some in self._source.past.since(since_ms):
                self._told_again.update(key for one in some if (key := _key(one)) is not None)
                if wanted := [one for one in some if self.wanted.takes(one)]:
                    count += len(wanted)
                    yield wanted
        except TooMuchError:
            yield (self._source.reset("more happened than is told again"),)
            return
        now = self._source.position
        here = str(Position(now.at_ms, now.epoch, self.number))
        yield (News(here, self.number, RESUMED, now.at_ms, {"records": count}),)

    def _overflow(self) -> News:
        at_ms = self._source.position.at_ms
        data = {"reason": "you read more slowly than things happen", "hint": "come back by id"}
        return News(None, self.number, OVERFLOW, at_ms, {**data})


def _key(news: News) -> tuple[str, int] | None:
    run_id, seq = news.data.get("runId"), news.data.get("seq")
    return (run_id, seq) if isinstance(run_id, str) and isinstance(seq, int) else None
