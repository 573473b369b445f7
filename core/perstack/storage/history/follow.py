"""Following: the backlog first, then what any process does, as it does it."""

from __future__ import annotations

import logging
import time
from collections.abc import AsyncGenerator
from functools import partial
from itertools import islice
from pathlib import Path
from threading import Event as Flag
from typing import Final

from anyio import CapacityLimiter, to_thread

from perstack.domain.ids import JobId, check_path_id
from perstack.errors import NotFoundError, StorageError
from perstack.ports.history import FeedBatch
from perstack.storage.files import explained, make_folders
from perstack.storage.history.driving import Tools
from perstack.storage.history.feeds import Batch, JobFeed
from perstack.storage.history.layout import LIVE_SUFFIX, is_path_id
from perstack.storage.history.watch import FolderWatch

_LOOK_AGAIN_S: Final = 2.0

_log = logging.getLogger(__name__)


async def follow(
    tools: Tools, *, job_id: JobId | None, backlog_jobs: int
) -> AsyncGenerator[FeedBatch, None]:
    """Yield the backlog, then what happens; see `FileHistory.follow`."""
    follower = Follower(tools, job_id=job_id)
    stop = Flag()
    in_thread = partial(to_thread.run_sync, limiter=CapacityLimiter(1))
    try:
        for known_id in await in_thread(follower.begin, backlog_jobs):
            behind = [known_id]
            while behind:
                batch = await in_thread(partial(follower.read, behind, caught_up=False))
                if batch is not None:
                    yield batch
                behind = follower.behind
        yield FeedBatch(caught_up=True)
        while True:
            # The thread is left behind when we are cancelled, and ends because of `stop`.
            batch = await in_thread(follower.wait, stop, abandon_on_cancel=True)
            if batch is not None:
                yield batch
    finally:
        stop.set()


class Follower:
    """The blocking half of `follow`; called by one thread at a time."""

    def __init__(self, tools: Tools, *, job_id: JobId | None) -> None:
        if job_id is not None:
            check_path_id("job id", job_id)
        self._tools = tools
        self._only = job_id
        self._feeds: dict[JobId, JobFeed] = {}
        self._watch: FolderWatch | None = None
        self._look_again_at = time.monotonic() + _LOOK_AGAIN_S

    def begin(self, backlog_jobs: int) -> list[JobId]:
        """Watch from now on, and return which jobs to read first, newest first.

        Raises:
            StorageError: the folder cannot be made, watched or listed.
        """
        self._watched()
        if self._only is not None:
            return [self._only]
        return [job.id for job in islice(self._tools.reader.jobs(), backlog_jobs)]

    @property
    def behind(self) -> list[JobId]:
        """The jobs of which there was more than one read takes."""
        return [job_id for job_id, feed in self._feeds.items() if feed.behind]

    def read(self, job_ids: list[JobId], *, caught_up: bool) -> FeedBatch | None:
        """Return what is new in these jobs, None if nothing is."""
        batch = Batch()
        for job_id in job_ids:
            self._refresh(job_id, batch)
        return batch.freeze(caught_up=caught_up)

    def wait(self, stop: Flag) -> FeedBatch | None:
        """Wait until something happens or a heartbeat may be overdue, and return what is new."""
        if behind := self.behind:
            return self.read(behind, caught_up=True)
        watch = self._watched()
        alive = [job_id for job_id, feed in self._feeds.items() if feed.alive]
        changed = watch.wait(_LOOK_AGAIN_S if alive else None, stop)
        if stop.is_set():
            return None
        if self._tools.layout.live in changed:
            self._watch = None  # the folder itself was removed: watch the next one
            self._watched()
        elif changed and time.monotonic() < self._look_again_at:
            return self.read(self._ids_of(changed), caught_up=True)
        # A job whose process died makes no event: it is looked at however busy the others are.
        self._look_again_at = time.monotonic() + _LOOK_AGAIN_S
        job_ids = [*self._ids_of(changed), *alive, *self._live_ids()]
        return self.read(list(dict.fromkeys(job_ids)), caught_up=True)

    def _watched(self) -> FolderWatch:
        if self._watch is None:
            layout = self._tools.layout
            make_folders(self._tools.files, layout.live, below=layout.workspace)
            self._watch = FolderWatch(layout.live)
        return self._watch

    def _live_ids(self) -> list[JobId]:
        folder = self._tools.layout.live
        with explained("list", folder):
            try:
                return self._ids_of(set(folder.iterdir()))
            except FileNotFoundError:
                return []

    def _ids_of(self, paths: set[Path]) -> list[JobId]:
        found = [JobId(path.stem) for path in paths if path.suffix == LIVE_SUFFIX]
        return [
            job_id
            for job_id in found
            if is_path_id(job_id) and (self._only is None or job_id == self._only)
        ]

    def _refresh(self, job_id: JobId, batch: Batch) -> None:
        feed = self._feeds.get(job_id)
        if feed is None:
            feed = JobFeed(self._tools.reader, self._tools.clock, job_id)
        try:
            feed.refresh(batch)
        except NotFoundError:
            self._feeds.pop(job_id, None)
        except StorageError as error:
            _log.warning("job %s cannot be followed: %s", job_id, error.message)
        else:
            self._feeds[job_id] = feed
