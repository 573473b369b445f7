"""The history as services see it."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Final

import anyio
from anyio import to_thread

from perstack.domain.ids import JobId, RunId
from perstack.domain.jobs import Job, RunSetting
from perstack.ports.history import DrivenJob, FeedBatch, JobLook, RecordBatch, StoredRun
from perstack.ports.system import Clock, Ids
from perstack.storage.files import Files
from perstack.storage.history.driving import FileDrivenJob, Tools
from perstack.storage.history.follow import follow
from perstack.storage.history.layout import Layout
from perstack.storage.history.record_lines import merged, open_runs
from perstack.storage.history.removing import remove_job

_RECORDS_AT_ONCE: Final = 2048
_JOBS_AT_ONCE: Final = 64


class FileHistory:
    """All jobs of a workspace, in files below its `perstack` folder, or in `folder` (see `layout`).

    Nothing is made before the first job is created or followed. What blocks runs in worker
    threads.
    """

    def __init__(
        self,
        workspace: Path,
        *,
        clock: Clock,
        ids: Ids,
        files: Files | None = None,
        folder: Path | None = None,
    ) -> None:
        layout = Layout(workspace.absolute(), folder.absolute() if folder else None)
        self._tools = Tools(files or Files(), layout, clock, ids)
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
        """Return the job of a user that was driven last."""
        return await to_thread.run_sync(
            lambda: next((job for job in self._reader.jobs() if not job.service), None)
        )

    async def list_jobs(self, *, limit: int = 0) -> Sequence[Job]:
        """Return the jobs, last driven first; `limit` 0 means all. Damaged ones are logged."""
        return await to_thread.run_sync(lambda: list(islice(self._reader.jobs(), limit or None)))

    async def find_jobs(self, prefix: str) -> Sequence[JobId]:
        """Return the ids of the jobs that begin with `prefix`, in no order."""
        return await to_thread.run_sync(self._reader.job_ids, prefix)

    async def find_run(self, run_id: RunId) -> JobId | None:
        """Return the job that has this run, None when none has.

        Raises:
            UsageError: the id cannot name a folder.
        """
        return await to_thread.run_sync(self._reader.job_of, run_id)

    async def look_at_job(self, job_id: JobId) -> JobLook:
        """Return the job and whether a process drives it.

        Raises:
            NotFoundError: no such job.
            CorruptRecordError: its record is damaged.
        """
        look = partial(self._reader.look, job_id, now_ms=self._tools.clock.now_ms())
        return await to_thread.run_sync(look)

    async def look_at_jobs(self) -> AsyncGenerator[Sequence[JobLook], None]:
        """Yield the jobs, last driven first, a few at a time. Damaged ones are logged."""
        looks = self._reader.looks(now_ms=self._tools.clock.now_ms())
        while found := await to_thread.run_sync(lambda: list(islice(looks, _JOBS_AT_ONCE))):
            yield found

    async def delete_job(self, job_id: JobId) -> int:
        """Remove a job that no process drives, with all its runs; return its bytes on the disk.

        Raises:
            NotFoundError: no such job.
            ConflictError: a process drives it.
            StorageError: not all of it could be removed.
        """
        async with self._hold(job_id, new=None):
            return await to_thread.run_sync(remove_job, self._tools.layout, job_id)

    async def list_runs(self, job_id: JobId) -> Sequence[RunSetting]:
        """Return the job's runs in order of start.

        Raises:
            NotFoundError: no such job.
            CorruptRecordError: a run's setting is damaged.
        """
        return await to_thread.run_sync(self._reader.runs, job_id)

    async def read_records(
        self, job_id: JobId, run_ids: Sequence[RunId]
    ) -> AsyncGenerator[RecordBatch, None]:
        """Yield the runs' records a few at a time, by time; a piece of each run is in memory.

        Raises:
            NotFoundError: no such job or run.
            CorruptRecordError: a line has no head, or another's number.
        """
        runs = await to_thread.run_sync(open_runs, self._reader, job_id, run_ids)
        records = merged(runs)
        while found := await to_thread.run_sync(lambda: list(islice(records, _RECORDS_AT_ONCE))):
            yield RecordBatch(found)
        damaged = [(run.identity.run_id, run.damage) for run in runs]
        yield RecordBatch((), tuple((id_, damage) for id_, damage in damaged if damage))

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
