"""The history as services see it."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from itertools import islice
from pathlib import Path

import anyio
from anyio import to_thread

from perstack.domain.ids import JobId, RunId
from perstack.domain.jobs import Job, RunSetting
from perstack.ports.history import DrivenJob, FeedBatch, StoredRun
from perstack.ports.system import Clock, Ids
from perstack.storage.files import Files
from perstack.storage.history.driving import FileDrivenJob, Tools
from perstack.storage.history.follow import follow
from perstack.storage.history.layout import Layout


class FileHistory:
    """All jobs of a workspace, in files below its `perstack` folder (see `layout`).

    Nothing is made before the first job is created or followed. What blocks runs in worker
    threads, but for a held job's own methods, which say so.
    """

    def __init__(
        self, workspace: Path, *, clock: Clock, ids: Ids, files: Files | None = None
    ) -> None:
        self._tools = Tools(files or Files(), Layout(workspace.absolute()), clock, ids)
        self._reader = self._tools.reader

    @asynccontextmanager
    async def create_job(self, job: Job) -> AsyncGenerator[DrivenJob]:
        """Write the job and hold it.

        Raises:
            UsageError: the id cannot name a folder.
            ConflictError: a job with that id exists.
            StorageError: it cannot be written.
        """
        async with self._hold(job.id, new=job) as held:
            yield held

    @asynccontextmanager
    async def drive_job(self, job_id: JobId) -> AsyncGenerator[DrivenJob]:
        """Hold an existing job; while held, a heartbeat says so to other processes.

        Raises:
            UsageError: the id cannot name a folder.
            NotFoundError: no such job.
            ConflictError: another run of this or another process holds it; its pid is named.
            CorruptRecordError: the job's record is damaged.
        """
        async with self._hold(job_id, new=None) as held:
            yield held

    async def get_job(self, job_id: JobId) -> Job:
        """Return the job.

        Raises:
            NotFoundError: no such job.
            CorruptRecordError: its record is damaged.
        """
        return (await to_thread.run_sync(self._reader.job, job_id)).job

    async def find_latest_job(self) -> Job | None:
        """Return the job that was driven last."""
        found = await self.list_jobs(limit=1)
        return found[0] if found else None

    async def list_jobs(self, *, limit: int = 0) -> Sequence[Job]:
        """Return the jobs, last driven first; `limit` 0 means all. Damaged ones are logged."""
        return await to_thread.run_sync(lambda: list(islice(self._reader.jobs(), limit or None)))

    async def list_runs(self, job_id: JobId) -> Sequence[RunSetting]:
        """Return the job's runs in order of start.

        Raises:
            NotFoundError: no such job.
            CorruptRecordError: a run's setting is damaged.
        """
        return await to_thread.run_sync(self._reader.runs, job_id)

    async def read_run(self, job_id: JobId, run_id: RunId) -> StoredRun:
        """Return a run whole. What `damage` can tell is said in `Reader.run`.

        Raises:
            NotFoundError: no such run.
            CorruptRecordError: a record before the last one is damaged.
        """
        return (await to_thread.run_sync(self._reader.run, job_id, run_id)).stored

    def follow(
        self, *, job_id: JobId | None = None, backlog_jobs: int = 50
    ) -> AsyncGenerator[FeedBatch, None]:
        """Yield the backlog (of one job, or of the newest `backlog_jobs`), then what happens.

        A job that does not exist yet is waited for. Ends only when closed.

        Raises:
            UsageError: `job_id` cannot name a folder.
            StorageError: the history cannot be read or watched.
        """
        return follow(self._tools, job_id=job_id, backlog_jobs=backlog_jobs)

    @asynccontextmanager
    async def _hold(self, job_id: JobId, *, new: Job | None) -> AsyncGenerator[FileDrivenJob]:
        held = FileDrivenJob(self._tools, job_id)
        try:
            await to_thread.run_sync(held.take, new)
            async with held.live.beating():
                yield held
        finally:
            with anyio.CancelScope(shield=True):
                await to_thread.run_sync(held.release)
