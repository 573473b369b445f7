"""What the engine and services ask of the history: append-only, durable, followed by anyone."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Protocol

from pydantic import JsonValue

from perstack.domain.events import Body, Delta, Event
from perstack.domain.ids import ExpertKey, JobId, RunId
from perstack.domain.jobs import Job, RunSetting


class RunLog(Protocol):
    """The writing end of one run's history; one writer at a time."""

    @property
    def run_id(self) -> RunId:
        """The run."""
        ...

    @property
    def synced_seq(self) -> int:
        """The last record that is known to be on the disk, -1 for none."""
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

    async def save(self, job: Job) -> None:
        """Replace the job's record atomically and durably."""
        ...

    async def create_run(self, setting: RunSetting) -> RunLog:
        """Begin a run's history.

        Raises:
            ConflictError: the run exists.
        """
        ...

    async def adopt_run(self, setting: RunSetting, events: Sequence[Event]) -> None:
        """Take over a run of another job, with its events' numbers and times.

        Raises:
            ConflictError: the run exists.
            StorageError: it could not be written.
        """
        ...

    async def reopen_run(self, run_id: RunId) -> tuple[StoredRun, RunLog]:
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


class StoredRecord(Protocol):
    """An event as it lies on the disk: who and when are known, the rest is read when asked for.

    The checksum is looked at by `event`.
    """

    @property
    def job_id(self) -> JobId:
        """The job."""
        ...

    @property
    def run_id(self) -> RunId:
        """The run."""
        ...

    @property
    def expert_key(self) -> ExpertKey:
        """The Expert that ran."""
        ...

    @property
    def seq(self) -> int:
        """Its number within the run, from 0."""
        ...

    @property
    def timestamp(self) -> int:
        """Unix ms."""
        ...

    @property
    def step_number(self) -> int:
        """The step."""
        ...

    @property
    def type(self) -> str:
        """The type of the event's body."""
        ...

    def event(self) -> Event:
        """Return the event.

        Raises:
            CorruptRecordError: the record is damaged.
        """
        ...

    def peek(self) -> Mapping[str, JsonValue]:
        """Return the record's JSON, which nothing was checked of.

        Raises:
            CorruptRecordError: it is no JSON object.
        """
        ...

    def mentions(self, text: str) -> bool:
        """Tell whether the record's JSON holds these characters anywhere."""
        ...


@dataclass(frozen=True, slots=True)
class RecordBatch:
    """Some records of a job, by time, and what was wrong with the ends of runs that are read."""

    records: Sequence[StoredRecord]
    damaged: tuple[tuple[RunId, str], ...] = ()


@dataclass(frozen=True, slots=True)
class JobLook:
    """A job as last saved, whether a process drives it now, and when it was last driven (ms)."""

    job: Job
    alive: bool
    driven_at: int


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

    async def find_jobs(self, prefix: str) -> Sequence[JobId]:
        """Return the ids of the jobs that begin with `prefix`, in no order."""
        ...

    async def find_run(self, run_id: RunId) -> JobId | None:
        """Return the job that has this run, None when none has."""
        ...

    async def look_at_job(self, job_id: JobId) -> JobLook:
        """Return the job and whether a process drives it.

        Raises:
            NotFoundError: no such job.
            CorruptRecordError: its record is damaged.
        """
        ...

    def look_at_jobs(self) -> AsyncGenerator[Sequence[JobLook], None]:
        """Yield the jobs, last driven first, a few at a time."""
        ...

    async def delete_job(self, job_id: JobId) -> int:
        """Remove a job that no process drives, with all its runs; return its bytes on the disk.

        Raises:
            NotFoundError: no such job.
            ConflictError: a process drives it.
            StorageError: not all of it could be removed.
        """
        ...

    async def list_runs(self, job_id: JobId) -> Sequence[RunSetting]:
        """Return the job's runs in order of start."""
        ...

    def read_records(
        self, job_id: JobId, run_ids: Sequence[RunId]
    ) -> AsyncGenerator[RecordBatch, None]:
        """Yield the runs' records a few at a time, by time and within each run as recorded.

        However long the runs are, only a piece of each is in memory. Where two records have one
        time, the run that stands first in `run_ids` comes first.

        Raises:
            NotFoundError: no such job or run.
            CorruptRecordError: a record is damaged beyond what `event` would find.
        """
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
