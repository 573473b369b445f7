"""What was recorded since a moment, for clients whose place in the feed is gone."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from typing import Final

import anyio
import anyio.lowlevel

from perstack.domain.events import Event
from perstack.errors import PerstackError
from perstack.ports.history import History, JobLook, StoredRecord
from perstack.projection.perstack_json import PerstackJson
from perstack.serving.feed.news import PAST, News, Position
from perstack.serving.feed.rows import Data

MOST_RECORDS: Final = 10_000
OLDEST_MS: Final = 24 * 3_600_000
# An event is told a little after it was recorded, and perhaps after others that were later.
SLACK_MS: Final = 5_000
_AT_ONCE: Final = 100
_READERS: Final = 2


class TooMuchError(Exception):
    """More was recorded than is told again."""


class Past:
    """Reads histories; two clients at a time, the others wait."""

    def __init__(self, history: History) -> None:
        self._history = history
        self._reading = anyio.Semaphore(_READERS)

    async def since(self, at_ms: int) -> AsyncGenerator[Sequence[News], None]:
        """Yield the events that were recorded since then, in order within each run.

        Raises:
            TooMuchError: there are more than `MOST_RECORDS`; nothing was yielded.
        """
        async with self._reading:
            records = await self._records(at_ms - SLACK_MS)
        for start in range(0, len(records), _AT_ONCE):
            yield [told for one in records[start : start + _AT_ONCE] for told in _told(one)]
            await anyio.lowlevel.checkpoint()

    async def _records(self, at_ms: int) -> list[StoredRecord]:
        found: list[StoredRecord] = []
        async with aclosing(self._history.look_at_jobs()) as pages:
            async for looks in pages:
                for look in looks:
                    if not look.alive and look.driven_at < at_ms:
                        return found
                    await self._add(look, at_ms, found)
        return found

    async def _add(self, look: JobLook, at_ms: int, found: list[StoredRecord]) -> None:
        try:
            runs = [run.run_id for run in await self._history.list_runs(look.job.id)]
            async with aclosing(self._history.read_records(look.job.id, runs)) as batches:
                async for batch in batches:
                    found += (one for one in batch.records if one.timestamp >= at_ms)
                    if len(found) > MOST_RECORDS:
                        raise TooMuchError
        except PerstackError:
            return  # It was removed meanwhile, or is damaged: following it says so.


def _told(record: StoredRecord) -> list[News]:
    try:
        event = record.event()
    except PerstackError:
        return []
    position = Position(event.timestamp, PAST, event.seq)
    return [News(str(position), 0, event_type(event), event.timestamp, event_data(event))]


def event_type(event: Event) -> str:
    """Return the type under which an event of a run is told."""
    return f"run:{event.body.type}"


def event_data(event: Event) -> Data:
    """Return an event as Perstack's JSON, with its job, run and number."""
    data = dict(PerstackJson(full=False).event(event))
    return {**data, "jobId": event.job_id, "runId": event.run_id, "seq": event.seq}
