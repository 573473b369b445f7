"""What the engine and services ask of the history: append-only, durable, followed by anyone."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Protocol

from perstack.domain.events import Body, Delta, Event
from perstack.domain.ids import ExpertKey, JobId, RunId
from perstack.domain.jobs import Job, RunSetting


class RunLog(Protocol):
    """The writing end of one run's history; one writer at a time."""

    @property
    def run_id(self) -> RunId:
        """The run."""
        ...

    def append(self, body: Body, *, step_number: int) -> Event:
        """Stamp (`seq`, timestamp) and write; survives the process's death, not the machine's.

        Raises:
            StorageError: it could not be written; earlier records are intact.
        """
        ...

    async def sync(self) -> None:
        """Return once everything appended is on the disk.

        Raises:
            StorageError: the disk said no.
        """
        ...

    def close(self) -> None:
        """Release the file; idempotent."""
        ...


@dataclass(frozen=True, slots=True)
class StoredRun:
    """A run as read back. `damage` says what was wrong with its last record and was dropped."""

    setting: RunSetting
    events: tuple[Event, ...]
    damage: str | None = None


class DrivenJob(Protocol):
    """A job that this process holds the lock of."""

    @property
    def job(self) -> Job:
        """The job as last saved."""
        ...

    def save(self, job: Job) -> None:
        """Replace the job's record atomically and durably."""
        ...

    def create_run(self, setting: RunSetting) -> RunLog:
        """Begin a run's history.

        Raises:
            ConflictError: the run exists.
        """
        ...

    def reopen_run(self, run_id: RunId) -> tuple[StoredRun, RunLog]:
        """Read a run and open it for appending; a torn last record is cut off.

        Raises:
            NotFoundError: no such run.
            CorruptRecordError: a record before the last one is damaged.
        """
        ...

    def say(self, delta: Delta) -> None:
        """Show a piece of streaming text to whoever follows; kept nowhere."""
        ...


@dataclass(frozen=True, slots=True)
class Presence:
    """A job and whether a process drives it now. `heartbeat_ms` is Unix ms, None if nobody does."""

    job: Job
    alive: bool
    pid: int | None = None
    host: str | None = None
    heartbeat_ms: int | None = None


@dataclass(frozen=True, slots=True)
class FeedBatch:
    """What happened since the last batch, events in order within each run.

    `caught_up` is True from the batch on that completes the backlog.
    """

    presences: tuple[Presence, ...] = ()
    events: tuple[Event, ...] = ()
    deltas: tuple[Delta, ...] = ()
    damaged: tuple[tuple[RunId, str], ...] = ()
    caught_up: bool = False


class History(Protocol):
    """All jobs of a workspace. Reads may be made by any process at any time."""

    def create_job(self, job: Job) -> AbstractAsyncContextManager[DrivenJob]:
        """Write the job and hold it.

        Raises:
            ConflictError: a job with that id exists.
        """
        ...

    def drive_job(self, job_id: JobId) -> AbstractAsyncContextManager[DrivenJob]:
        """Hold an existing job; while held, a heartbeat says so to other processes.

        Raises:
            NotFoundError: no such job.
            ConflictError: another run of this or another process holds it; its pid is named.
        """
        ...

    async def get_job(self, job_id: JobId) -> Job:
        """Return the job.

        Raises:
            NotFoundError: no such job.
            CorruptRecordError: its record is damaged.
        """
        ...

    async def find_latest_job(self) -> Job | None:
        """Return the job that was driven last."""
        ...

    async def list_jobs(self, *, limit: int = 0) -> Sequence[Job]:
        """Return the jobs, last driven first; `limit` 0 means all."""
        ...

    async def list_runs(self, job_id: JobId) -> Sequence[RunSetting]:
        """Return the job's runs in order of start."""
        ...

    async def read_run(self, job_id: JobId, run_id: RunId) -> StoredRun:
        """Return a run whole.

        Raises:
            NotFoundError: no such run.
            CorruptRecordError: a record before the last one is damaged.
        """
        ...

    def follow(
        self, *, job_id: JobId | None = None, backlog_jobs: int = 50
    ) -> AsyncGenerator[FeedBatch, None]:
        """Yield the backlog (of one job, or of the newest `backlog_jobs`), then what happens.

        Ends only when closed. Nothing is polled while nothing happens but heartbeats.
        """
        ...


@dataclass(frozen=True, slots=True)
class RunIdentity:
    """Whose events a log holds."""

    job_id: JobId
    run_id: RunId
    expert_key: ExpertKey
