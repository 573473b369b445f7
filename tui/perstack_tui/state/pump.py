"""Between what happens and what is painted: updates queue here and are folded in small helpings."""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncGenerator, Callable, Iterator, Sequence
from contextlib import aclosing
from dataclasses import replace
from typing import TYPE_CHECKING, Final, Protocol

import anyio

from perstack.domain.ids import JobId, RunId
from perstack.projection.views import WorkspaceView
from perstack_tui.ports.gateway import (
    AgentsUpdate,
    DefinitionsUpdate,
    InboxUpdate,
    LocalJobsUpdate,
    Trouble,
    Update,
)
from perstack_tui.state.stream import Live

if TYPE_CHECKING:
    from perstack.domain.agents import Agent
    from perstack.domain.consensus import ConsensusCheckpoint
    from perstack.domain.events import Delta
    from perstack.ports.history import FeedBatch

HELPING_S: Final = 0.012
# The history of a long job comes as one batch; folding this many events takes a few milliseconds.
PIECE: Final = 200
# Events; enough to be folded without a break. Whatever comes faster waits where it comes from.
MOST_WAITING: Final = 2_000


class Fold(Protocol):
    """Makes views of what happened; `perstack.projection.workspace.WorkspaceFold` does."""

    def apply(self, batch: FeedBatch) -> None:
        """Take in events."""
        ...

    def apply_inbox(self, checkpoints: Sequence[ConsensusCheckpoint]) -> None:
        """Take in all consensus checkpoints."""
        ...

    def tick(self, now_ms: int) -> None:
        """Take in that time went on."""
        ...

    def view(self) -> WorkspaceView:
        """Return the view; the same object while nothing changed."""
        ...

    def live(self, run_id: RunId) -> Live:
        """Return what the run's model is saying."""
        ...


class Pump:
    """Queues updates and folds them when told to, never longer than a helping at once."""

    def __init__(self, fold: Fold, monotonic: Callable[[], float]) -> None:
        self.fold = fold
        self.definitions = DefinitionsUpdate(path=None)
        self.local_jobs: frozenset[JobId] = frozenset()
        self.agents: tuple[Agent, ...] = ()
        self.troubles: deque[Trouble] = deque(maxlen=20)
        self._monotonic = monotonic
        self._waiting: deque[Update] = deque()
        self._weight = 0
        self._passes = False
        self._room = anyio.Event()

    @property
    def dirty(self) -> bool:
        """Whether anything waits to be folded."""
        return bool(self._waiting)

    def offer(self, update: Update) -> None:
        """Queue `update`, a long one in pieces."""
        match update:
            case (
                InboxUpdate() | DefinitionsUpdate() | AgentsUpdate() | LocalJobsUpdate() | Trouble()
            ):
                self._waiting.append(update)
                self._weight += 1
            case _:
                for piece in pieces(update):
                    self._waiting.append(piece)
                    self._weight += _weight(piece)

    async def consume(
        self, updates: AsyncGenerator[Update, None], news: Callable[[], None]
    ) -> None:
        """Queue `updates` until they end, telling `news`; wait while too much is queued."""
        async with aclosing(updates):
            async for update in updates:
                if self._passes:
                    continue
                self.offer(update)
                news()
                while self._weight > MOST_WAITING:
                    self._room = anyio.Event()
                    await self._room.wait()

    def let_pass(self) -> None:
        """Drop what waits and what comes: nobody folds it any more, and nothing may wait for it."""
        self._passes = True
        self._waiting.clear()
        self._weight = 0
        self._room.set()

    def drain(self, now_ms: int) -> None:
        """Fold what waits, for at most a helping of time; `dirty` tells whether some is left."""
        started = self._monotonic()
        while self._waiting:
            update = self._waiting.popleft()
            self._weight -= _weight(update)
            self._take(update)
            if self._monotonic() - started > HELPING_S:
                break
        if self._weight <= MOST_WAITING:
            self._room.set()
        self.fold.tick(now_ms)

    def _take(self, update: Update) -> None:
        match update:
            case InboxUpdate():
                self.fold.apply_inbox(update.checkpoints)
            case DefinitionsUpdate():
                self.definitions = update
            case AgentsUpdate():
                self.agents = update.agents
            case LocalJobsUpdate():
                self.local_jobs = update.job_ids
            case Trouble():
                self.troubles.append(update)
            case _:
                self.fold.apply(update)


def _weight(update: Update) -> int:
    """Return how many events `update` holds, and 1 for anything else."""
    match update:
        case InboxUpdate() | DefinitionsUpdate() | AgentsUpdate() | LocalJobsUpdate() | Trouble():
            return 1
        case _:
            return max(1, len(update.events) + len(update.deltas))


def pieces(batch: FeedBatch) -> Iterator[FeedBatch]:
    """Yield what is in `batch` in pieces of at most `PIECE` events.

    What is being said by a run comes with the piece that holds its last event: whatever of it an
    event tells in whole is not shown any more then.
    """
    if len(batch.events) <= PIECE:
        yield batch
        return
    events, last = batch.events, (len(batch.events) - 1) // PIECE
    ends = {event.run_id: at // PIECE for at, event in enumerate(events)}
    said: dict[int, list[Delta]] = {}
    for delta in batch.deltas:
        said.setdefault(ends.get(delta.run_id, last), []).append(delta)
    for number in range(last + 1):
        yield replace(
            batch,
            presences=batch.presences if number == 0 else (),
            events=events[number * PIECE : (number + 1) * PIECE],
            deltas=tuple(said.get(number, ())),
            damaged=batch.damaged if number == last else (),
            caught_up=batch.caught_up and number == last,
        )
