"""Everything that happens in a workspace, for whoever shows it: history, decisions, time."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from typing import Final

import anyio
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream

from perstack.domain.consensus import ConsensusCheckpoint
from perstack.engine.groups import unwrapped
from perstack.ports.history import FeedBatch, History
from perstack.services.consensus import ConsensusService

NO_DATABASE_POLL_S: Final = 0.5
INBOX_POLL_S: Final = 0.15
_QUEUED: Final = 1_000


@dataclass(frozen=True, slots=True)
class Passed:
    """Some time has passed in which nothing happened."""


@dataclass(frozen=True, slots=True)
class InboxSeen:
    """All pending consensus checkpoints and the latest decided ones."""

    checkpoints: tuple[ConsensusCheckpoint, ...]


Happening = FeedBatch | InboxSeen | Passed


@dataclass(frozen=True, slots=True)
class Followed:
    """What is followed; `has_database` says whether anything can wait for a decision at all."""

    history: History
    consensus: ConsensusService
    has_database: Callable[[], bool]


@asynccontextmanager
async def following(
    followed: Followed, *, silence_s: float
) -> AsyncGenerator[AsyncIterator[Happening]]:
    """Give what happens, for as long as the block runs; `Passed` after each silent `silence_s`.

    Raises:
        StorageError: history or database cannot be read.
    """
    send, receive = anyio.create_memory_object_stream[Happening](_QUEUED)
    with unwrapped():
        async with receive, send, anyio.create_task_group() as group:
            group.start_soon(_follow_history, followed, send, name="follow:history")
            group.start_soon(_follow_inbox, followed, send, name="follow:inbox")
            yield _happenings(receive, silence_s)
            group.cancel_scope.cancel()


async def _happenings(
    receive: MemoryObjectReceiveStream[Happening], silence_s: float
) -> AsyncGenerator[Happening]:
    while True:
        happened: Happening = Passed()
        with anyio.move_on_after(silence_s):
            happened = await receive.receive()
        yield happened


async def _follow_history(followed: Followed, send: MemoryObjectSendStream[Happening]) -> None:
    async with aclosing(followed.history.follow()) as batches:
        async for batch in batches:
            await send.send(batch)


async def _follow_inbox(followed: Followed, send: MemoryObjectSendStream[Happening]) -> None:
    while not followed.has_database():  # noqa: ASYNC110  another process may make it
        await anyio.sleep(NO_DATABASE_POLL_S)
    async with aclosing(followed.consensus.watch(poll_s=INBOX_POLL_S)) as inboxes:
        async for inbox in inboxes:
            await send.send(InboxSeen((*inbox.pending, *inbox.decided)))
