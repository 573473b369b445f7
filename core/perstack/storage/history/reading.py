"""Reading the history. All functions block and may be called while another process writes."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Final

from perstack.domain.events import Event
from perstack.domain.ids import JobId, RunId
from perstack.domain.jobs import Job, RunSetting
from perstack.errors import CorruptRecordError, NotFoundError, StorageError
from perstack.ports.history import JobLook, RunIdentity, StoredRun
from perstack.storage.files import Files, explained
from perstack.storage.history.codec import parse, unseal
from perstack.storage.history.layout import Layout, is_path_id
from perstack.storage.history.presence import is_driven
from perstack.storage.history.records import JobRecord, load_job, load_setting

_log = logging.getLogger(__name__)

_RESTORE: Final = "restore the file from a backup, or continue another job"


@dataclass(frozen=True, slots=True)
class Scan:
    """The records found in a piece of a log: `good_bytes` of it.

    `torn_bytes` at its end are a record that was not written whole. Or else `error` says what is
    wrong with the record after the good ones, file and line named.
    """

    events: tuple[Event, ...]
    good_bytes: int
    torn_bytes: int
    error: CorruptRecordError | None = None


@dataclass(frozen=True, slots=True)
class RunOnDisk:
    """A run as read back, and how long its log is without the torn end."""

    stored: StoredRun
    good_bytes: int


@dataclass(frozen=True, slots=True)
class Reader:
    """Jobs and runs of one workspace."""

    files: Files
    layout: Layout

    def job(self, job_id: JobId) -> JobRecord:
        """Return the job's record.

        Raises:
            NotFoundError: no such job.
            CorruptRecordError: its record is damaged.
        """
        path = self.layout.record(job_id)
        data = self._content(path)
        if data is None:
            raise NotFoundError(f"no job {job_id}", hint="list the jobs with: perstack jobs")
        return load_job(data, path=path, job_id=job_id)

    def setting(self, job_id: JobId, run_id: RunId) -> RunSetting:
        """Return what the run was started with.

        Raises:
            NotFoundError: no such run.
            CorruptRecordError: its record is damaged.
        """
        path = self.layout.setting(job_id, run_id)
        data = self._content(path)
        if data is None:
            raise NotFoundError(f"no run {run_id} in job {job_id}")
        return load_setting(data, path=path, job_id=job_id, run_id=run_id)

    def run(self, job_id: JobId, run_id: RunId) -> RunOnDisk:
        """Return the run with all its events.

        What was cut off its end is announced in `damage` if it was cut within a record, or if the
        job's record knows of later ones; records that were lost whole since the job was last
        saved leave no trace.

        Raises:
            NotFoundError: no such run.
            CorruptRecordError: a record before the last one is damaged.
        """
        setting = self.setting(job_id, run_id)
        head = self.job(job_id).heads.get(run_id, -1)  # before the log, which may be growing
        path = self.layout.events(job_id, run_id)
        data = self._content(path) or b""
        identity = RunIdentity(job_id, run_id, setting.expert_key)
        found = scan(data, identity, path=path)
        if found.error is not None:
            raise found.error
        damage = describe_damage(
            run_id, stored=len(found.events), torn_bytes=found.torn_bytes, head=head
        )
        return RunOnDisk(StoredRun(setting, found.events, damage), found.good_bytes)

    def run_ids(self, job_id: JobId) -> list[RunId]:
        """Return the ids of the job's runs, in no order."""
        folder = self.layout.runs(job_id)
        with explained("list", folder):
            return [
                RunId(path.name)
                for path in _entries(folder)
                if is_path_id(path.name) and (path / "run-setting.json").exists()
            ]

    def job_ids(self, prefix: str) -> list[JobId]:
        """Return the ids of jobs that begin with `prefix`, in no order."""
        with explained("list", self.layout.jobs):
            return [
                JobId(folder.name)
                for folder in _entries(self.layout.jobs)
                if folder.name.startswith(prefix) and is_path_id(folder.name)
            ]

    def job_of(self, run_id: RunId) -> JobId | None:
        """Return the job that has this run."""
        found = (each for each in self.job_ids("") if self.layout.setting(each, run_id).exists())
        return next(found, None)

    def look(self, job_id: JobId, *, now_ms: int) -> JobLook:
        """Return the job and whether it is driven at `now_ms` (Unix ms).

        Raises:
            NotFoundError: no such job.
            CorruptRecordError: its record is damaged.
        """
        # Before the record: a job that ends in between has then been saved as ended.
        live = self.layout.live_file(job_id)
        alive = is_driven(live, now_ms=now_ms)
        driven_ns = max(_driven_ns(self.layout.job(job_id)), _changed_ns(live))
        return JobLook(self.job(job_id).job, alive, driven_ns // 1_000_000)

    def looks(self, *, now_ms: int) -> Iterator[JobLook]:
        """Yield the jobs, last driven first; those whose record cannot be read are left out."""
        for job in self.jobs():
            live = self.layout.live_file(job.id)
            try:
                alive = is_driven(live, now_ms=now_ms)
                if not alive and job.finished_at is None:
                    yield self.look(job.id, now_ms=now_ms)  # it may just have been saved as ended
                    continue
            except (StorageError, NotFoundError) as error:
                _log.warning("job left out: %s", error.message)
                continue
            driven_ns = max(_driven_ns(self.layout.job(job.id)), _changed_ns(live))
            yield JobLook(job, alive, driven_ns // 1_000_000)

    def runs(self, job_id: JobId) -> list[RunSetting]:
        """Return the settings of the job's runs in order of start.

        Raises:
            NotFoundError: no such job.
            CorruptRecordError: a run's settings are damaged, or gone while its records are there.
        """
        if not self.layout.record(job_id).exists():
            raise NotFoundError(f"no job {job_id}", hint="list the jobs with: perstack jobs")
        self._miss_none(job_id)
        found = [self.setting(job_id, run_id) for run_id in self.run_ids(job_id)]
        return sorted(found, key=lambda setting: (setting.started_at, setting.run_id))

    def _miss_none(self, job_id: JobId) -> None:
        """Refuse a job of which a run is gone, by what its record or the run's own log knows."""
        for run_id, head in self.job(job_id).heads.items():
            setting = self.layout.setting(job_id, run_id)
            if head >= 0 and not setting.exists():
                missing = f"job {job_id} has records of run {run_id}, but {setting} is missing"
                raise CorruptRecordError(missing, hint=_RESTORE)
        runs = self.layout.runs(job_id)
        with explained("list", runs):
            for folder in _entries(runs):
                events, setting = folder / "events.jsonl", folder / "run-setting.json"
                # In this order: the setting is there before the first record is.
                if events.exists() and events.stat().st_size and not setting.exists():
                    missing = f"{events} holds records, but {setting.name} is missing"
                    raise CorruptRecordError(missing, hint=_RESTORE)

    def jobs(self) -> Iterator[Job]:
        """Yield the jobs, last driven first; those whose record cannot be read are left out."""
        for _, group in groupby(self._by_time(), key=lambda pair: pair[0]):
            found = [job for _, job_id in group if (job := self._readable_job(job_id))]
            yield from sorted(found, key=lambda job: (job.started_at, job.id), reverse=True)

    def _by_time(self) -> list[tuple[int, JobId]]:
        """Return the jobs by when they were last driven, with as few looks at each as will do."""
        with explained("list", self.layout.jobs):
            beats = {path.stem: _changed_ns(path) for path in _entries(self.layout.live)}
            found = [
                (max(_driven_ns(folder), beats.get(folder.name, 0)), JobId(folder.name))
                for folder in _entries(self.layout.jobs)
                if is_path_id(folder.name)
            ]
        return sorted(found, reverse=True)

    def _readable_job(self, job_id: JobId) -> Job | None:
        try:
            return self.job(job_id).job
        except NotFoundError:
            return None  # the program ended before the record was written: there is no such job
        except StorageError as error:
            _log.warning("job left out: %s", error.message)
            return None

    def _content(self, path: Path) -> bytes | None:
        with explained("read", path):
            try:
                return self.files.read(path)
            except FileNotFoundError:
                return None


def scan(data: bytes, identity: RunIdentity, *, path: Path, first_seq: int = 0) -> Scan:
    """Read records from `data`, which begins with record number `first_seq`."""
    events: list[Event] = []
    start = 0
    while (end := data.find(b"\n", start)) >= 0:
        document = unseal(data[start:end])
        if document is None and end + 1 == len(data):
            break
        try:
            events.append(_record(document, identity, path=path, seq=first_seq + len(events)))
        except CorruptRecordError as error:
            return Scan(tuple(events), start, 0, error)
        start = end + 1
    return Scan(tuple(events), start, len(data) - start)


def describe_damage(run_id: RunId, *, stored: int, torn_bytes: int, head: int) -> str | None:
    """Return what is wrong with a log of `stored` records and `torn_bytes`, None if nothing is.

    `head` is the last record that is known to have been on the disk, -1 for none.
    """
    missing = head + 1 - stored
    if torn_bytes and missing <= 1:
        return f"last record of run {run_id} was incomplete and was dropped ({torn_bytes} bytes)"
    if missing > 0:
        return (
            f"run {run_id} ends after {stored} records, "
            f"{missing} more had been stored ({torn_bytes} bytes were dropped)"
        )
    return None if stored else f"run {run_id} holds no record"


def _record(document: bytes | None, identity: RunIdentity, *, path: Path, seq: int) -> Event:
    if document is None:
        raise corrupt(path, seq, "the checksum does not fit")
    try:
        event = parse(document, identity)
    except CorruptRecordError as error:
        raise corrupt(path, seq, error.message) from error
    if event.seq != seq:
        raise corrupt(path, seq, f"it is record {event.seq}, expected {seq}")
    return event


def corrupt(path: Path, seq: int, reason: str) -> CorruptRecordError:
    """Return the error that says what is wrong with record number `seq` of a log."""
    return CorruptRecordError(f"{path}, line {seq + 1} is damaged: {reason}", hint=_RESTORE)


def _entries(folder: Path) -> list[Path]:
    try:
        return list(folder.iterdir())
    except FileNotFoundError:
        return []


def _driven_ns(folder: Path) -> int:
    return max(_changed_ns(folder / "lock"), _changed_ns(folder / "job.json"))


def _changed_ns(path: Path) -> int:
    try:
        return path.stat().st_mtime_ns
    except (FileNotFoundError, NotADirectoryError):
        return 0
