"""A job while this process drives it."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from anyio import to_thread

from perstack.domain.events import Delta, Event
from perstack.domain.ids import JobId, RunId
from perstack.domain.jobs import Job, RunSetting
from perstack.errors import ConflictError, CorruptRecordError, UsageError
from perstack.ports.history import RunIdentity, StoredRun
from perstack.ports.system import Clock, Ids
from perstack.storage.files import Files, SharedSync, explained, make_folders, replace_file
from perstack.storage.history.codec import encode
from perstack.storage.history.layout import Layout
from perstack.storage.history.live import LiveFile, host_name, read_header
from perstack.storage.history.lock import JobLock
from perstack.storage.history.log import FileRunLog
from perstack.storage.history.reading import Reader
from perstack.storage.history.records import JobRecord, dump_job, dump_setting


@dataclass(frozen=True, slots=True)
class Tools:
    """What driving a job takes."""

    files: Files
    layout: Layout
    clock: Clock
    ids: Ids

    @property
    def reader(self) -> Reader:
        """The reading end."""
        return Reader(self.files, self.layout)


class FileDrivenJob:
    """A job that this process holds the lock of. Several runs may be opened at once."""

    def __init__(self, tools: Tools, job_id: JobId) -> None:
        layout = tools.layout
        self._tools = tools
        self._job_id = job_id
        self._lock = JobLock(tools.files, layout.lock(job_id))
        self._live = LiveFile(
            tools.files, layout.live_file(job_id), clock=tools.clock, ids=tools.ids
        )
        self._record: JobRecord | None = None
        self._logs: dict[RunId, FileRunLog] = {}
        self._runs_sync = SharedSync(tools.files, layout.runs(job_id))
        self._writing = threading.Lock()

    @property
    def job(self) -> Job:
        """The job as last saved."""
        return self._held.job

    @property
    def live(self) -> LiveFile:
        """What followers look at."""
        return self._live

    def take(self, new: Job | None) -> None:
        """Lock the job, having written `new` if there is one, and show that we drive it.

        Raises:
            NotFoundError: there is no such job, and no `new`.
            ConflictError: it is driven by somebody, or `new` exists.
            StorageError: it cannot be read or written.
        """
        if new is None:
            self._tools.reader.job(self._job_id)  # before the lock's file is made
        self._make_folders()
        self._take_lock()
        try:
            self._record = self._open_record(new)
            self._live.open()
        except BaseException:
            self._lock.release()
            raise

    def release(self) -> None:
        """Close all logs, take the live file away and unlock; idempotent."""
        try:
            for log in self._logs.values():
                log.close()
            self._live.close()
        finally:
            self._lock.release()

    async def save(self, job: Job) -> None:
        """Replace the job's record atomically and durably.

        Raises:
            StorageError: it could not be written; the old record is intact.
        """
        await to_thread.run_sync(self._save, job)

    async def create_run(self, setting: RunSetting) -> FileRunLog:
        """Begin a run's history; the run is on the disk when this returns.

        Raises:
            ConflictError: the run exists.
            StorageError: it could not be written.
        """
        return await to_thread.run_sync(self._create_run, setting)

    async def adopt_run(self, setting: RunSetting, events: Sequence[Event]) -> None:
        """Take over a run of another job, with its events' numbers and times.

        Raises:
            ConflictError: the run exists.
            StorageError: it could not be written.
        """
        await to_thread.run_sync(self._adopt_run, setting, events)

    async def reopen_run(self, run_id: RunId) -> tuple[StoredRun, FileRunLog]:
        """Read a run and open it for appending; a torn last record is cut off.

        Raises:
            NotFoundError: no such run.
            CorruptRecordError: a record before the last one is damaged.
            ConflictError: the run is open.
        """
        return await to_thread.run_sync(self._reopen_run, run_id)

    def say(self, delta: Delta) -> None:
        """Show a piece of streaming text to whoever follows; kept nowhere."""
        self._live.add_delta(delta)

    @property
    def _held(self) -> JobRecord:
        if self._record is None:
            raise ConflictError(f"job {self._job_id} is not held")
        return self._record

    # ---------------------------------------------------------------- what waits for the disk

    def _save(self, job: Job) -> None:
        if job.id != self._job_id:
            raise UsageError(f"job {job.id} cannot be saved in the place of job {self._job_id}")
        with self._writing:
            self._write(JobRecord(job, self._known_heads()))
        self._live.add_save()

    def _create_run(self, setting: RunSetting) -> FileRunLog:
        if setting.job_id != self._job_id:
            raise UsageError(f"run {setting.run_id} belongs to job {setting.job_id}")
        tools, run_id = self._tools, setting.run_id
        path = tools.layout.setting(self._job_id, run_id)
        if path.exists():
            raise ConflictError(f"run {run_id} exists already")
        events = tools.layout.events(self._job_id, run_id)
        if events.exists() and events.stat().st_size:
            raise CorruptRecordError(f"{events} holds records, but {path} is missing")
        self._make_run_folder(path.parent)
        log = self._open_log(setting, good_bytes=0, last=None, sync_name=False)
        try:
            replace_file(tools.files, path, dump_setting(setting))  # makes the log's name durable
        except BaseException:
            log.close()
            raise
        self._live.add_event(run_id, -1)
        return log

    def _adopt_run(self, setting: RunSetting, events: Sequence[Event]) -> None:
        path = self._tools.layout.events(self._job_id, setting.run_id)
        if path.parent.exists():
            raise ConflictError(f"run {setting.run_id} exists already")
        self._make_run_folder(path.parent)
        # The events first: what has records and no setting is seen to be half a run.
        replace_file(self._tools.files, path, b"".join(encode(event)[1] for event in events))
        path = self._tools.layout.setting(self._job_id, setting.run_id)
        replace_file(self._tools.files, path, dump_setting(setting))

    def _reopen_run(self, run_id: RunId) -> tuple[StoredRun, FileRunLog]:
        open_log = self._logs.get(run_id)
        if open_log is not None and open_log.is_open:
            raise ConflictError(f"run {run_id} is open already")
        found = self._tools.reader.run(self._job_id, run_id)
        events = found.stored.events
        log = self._open_log(
            found.stored.setting,
            good_bytes=found.good_bytes,
            last=events[-1] if events else None,
            sync_name=True,
        )
        with self._writing:
            if self._held.heads.get(run_id, -1) >= len(events):
                # What is lost is lost: from here on the log is as long as it is.
                heads = {**self._held.heads, run_id: len(events) - 1}
                self._write(JobRecord(self.job, heads))
        return found.stored, log

    def _make_folders(self) -> None:
        tools = self._tools
        for folder in (tools.layout.job(self._job_id), tools.layout.live):
            make_folders(tools.files, folder, below=tools.layout.workspace)

    def _make_run_folder(self, folder: Path) -> None:
        files = self._tools.files
        make_folders(files, folder.parent, below=self._tools.layout.workspace)
        with explained("create", folder):
            with suppress(FileExistsError):
                files.make_folder(folder)
            self._runs_sync.sync()

    def _take_lock(self) -> None:
        try:
            self._lock.acquire()
        except ConflictError as error:
            raise self._taken() from error

    def _taken(self) -> ConflictError:
        path = self._tools.layout.live_file(self._job_id)
        try:
            header = read_header(self._tools.files.read(path))
        except OSError:
            header = None  # the holder has not written it yet, or has just removed it
        who = f"process {header.pid} on {header.host}" if header else "another process"
        here = " (this machine)" if header and header.host == host_name() else ""
        return ConflictError(
            f"job {self._job_id} is driven by {who}{here}",
            hint="wait until it ends, or stop it there",
        )

    def _open_record(self, new: Job | None) -> JobRecord:
        if new is None:
            return self._tools.reader.job(self._job_id)
        if self._tools.layout.record(self._job_id).exists():
            raise ConflictError(f"job {self._job_id} exists already")
        return self._write(JobRecord(new, {}))

    def _write(self, record: JobRecord) -> JobRecord:
        path = self._tools.layout.record(self._job_id)
        replace_file(self._tools.files, path, dump_job(record))
        self._record = record
        return record

    def _known_heads(self) -> dict[RunId, int]:
        heads = dict(self._held.heads)
        for run_id, log in list(self._logs.items()):
            if log.synced_seq >= 0:
                heads[run_id] = log.synced_seq
        return heads

    def _open_log(
        self, setting: RunSetting, *, good_bytes: int, last: Event | None, sync_name: bool
    ) -> FileRunLog:
        log = FileRunLog(
            self._tools.files,
            self._tools.layout.events(self._job_id, setting.run_id),
            RunIdentity(self._job_id, setting.run_id, setting.expert_key),
            clock=self._tools.clock,
            reached=self._live.add_event,
        )
        log.open(good_bytes=good_bytes, last=last, sync_name=sync_name)
        self._logs[setting.run_id] = log
        return log
