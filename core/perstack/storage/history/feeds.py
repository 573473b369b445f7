"""What a follower has seen of each job and run, and reading what is new since."""

from __future__ import annotations

import logging
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from perstack.domain.events import Delta, Event
from perstack.domain.ids import JobId, RunId
from perstack.domain.jobs import Job
from perstack.errors import NotFoundError, StorageError
from perstack.ports.history import FeedBatch, Presence, RunIdentity
from perstack.ports.system import Clock
from perstack.storage.files import explained
from perstack.storage.history.layout import is_path_id
from perstack.storage.history.live import Header, Line, read_header, read_lines
from perstack.storage.history.presence import HEADER_BYTES, drives
from perstack.storage.history.reading import Reader, describe_damage, scan
from perstack.storage.history.records import Heads, JobRecord

# What a long run left is read in pieces: all of it at once would be held twice, and seen late.
PIECE_BYTES: Final = 1 << 18
_TELLING: Final = 2

_log = logging.getLogger(__name__)


@dataclass(slots=True)
class Batch:
    """A `FeedBatch` being filled."""

    presences: list[Presence] = field(default_factory=list[Presence])
    events: list[Event] = field(default_factory=list[Event])
    deltas: list[Delta] = field(default_factory=list[Delta])
    damaged: list[tuple[RunId, str]] = field(default_factory=list[tuple[RunId, str]])

    def freeze(self, *, caught_up: bool) -> FeedBatch | None:
        """Return the batch, None if there is nothing in it."""
        if not (self.presences or self.events or self.deltas or self.damaged):
            return None
        return FeedBatch(
            tuple(self.presences),
            tuple(self.events),
            tuple(self.deltas),
            tuple(self.damaged),
            caught_up,
        )


class RunFeed:
    """How far a run's log was read."""

    def __init__(self, reader: Reader, job_id: JobId, run_id: RunId) -> None:
        self._reader = reader
        self._job_id = job_id
        self._run_id = run_id
        self._path = reader.layout.events(job_id, run_id)
        self._identity: RunIdentity | None = None
        self._bytes = 0
        self._seq = 0
        self._damage: str | None = None
        self.behind = False
        """Whether there was more than one read takes."""

    def read(self, batch: Batch, *, settled_head: int | None) -> None:
        """Add the next new events, and what is wrong with the log if that is news.

        While a process writes, the log may end within a record and `settled_head` is None; else
        it is the last record known to be on the disk, -1 for none.
        """
        self.behind = False
        try:
            damage = self._read_new(batch, settled_head)
        except NotFoundError:
            return  # the program ended before the run was there, or it was removed
        except StorageError as error:
            damage = error.message
        if damage is not None and damage != self._damage:
            batch.damaged.append((self._run_id, damage))
        self._damage = damage

    def _read_new(self, batch: Batch, settled_head: int | None) -> str | None:
        identity = self._known_identity()
        with explained("read", self._path):
            try:
                data = self._new_bytes()
            except FileNotFoundError:
                data = b""
        found = scan(data, identity, path=self._path, first_seq=self._seq)
        batch.events.extend(found.events)
        self._seq += len(found.events)
        self._bytes += found.good_bytes
        if found.error is not None:
            self.behind = False
            return found.error.message
        if settled_head is None or self.behind:
            return None
        return describe_damage(
            self._run_id, stored=self._seq, torn_bytes=found.torn_bytes, head=settled_head
        )

    def _new_bytes(self) -> bytes:
        """Return a piece of whole records, or all there is if the first one fills a piece."""
        files = self._reader.files
        piece = files.read_piece(self._path, start=self._bytes, size=PIECE_BYTES)
        if len(piece) < PIECE_BYTES:
            return piece
        whole = piece[: piece.rfind(b"\n") + 1]
        # A damaged record counts as one that is being written while it is the last of what is read.
        if whole.count(b"\n") < _TELLING:
            return files.read(self._path, start=self._bytes)
        self.behind = True
        return whole

    def _known_identity(self) -> RunIdentity:
        if self._identity is None:
            setting = self._reader.setting(self._job_id, self._run_id)
            self._identity = RunIdentity(self._job_id, self._run_id, setting.expert_key)
        return self._identity


@dataclass(frozen=True, slots=True)
class LiveLook:
    """A live file as found: its header, the lines that are new, and its time of last change."""

    header: Header | None
    lines: tuple[Line, ...]
    end: int
    changed_ms: int


class JobFeed:
    """How far a job was read."""

    def __init__(self, reader: Reader, clock: Clock, job_id: JobId) -> None:
        self._reader = reader
        self._clock = clock
        self._job_id = job_id
        self._runs: dict[RunId, RunFeed] = {}
        self._header: Header | None = None
        self._live_bytes = 0
        self._signature: tuple[int, ...] = ()
        self._record: JobRecord | None = None
        self._presence: Presence | None = None
        self._behind: tuple[RunId, ...] = ()
        self._held: list[Delta] = []

    @property
    def behind(self) -> bool:
        """Whether there was more of a run than one read takes."""
        return bool(self._behind)

    @property
    def alive(self) -> bool:
        """Whether a process drove the job when it was last looked at."""
        return self._presence is not None and self._presence.alive

    def refresh(self, batch: Batch) -> None:
        """Add what is new, or the next pieces of it: see `behind`.

        Costs as much as that is, unless the driving process has changed.

        Raises:
            NotFoundError: there is no such job.
            StorageError: its record, or the folder of its runs, cannot be read.
        """
        first, was_alive = self._presence is None, self.alive
        look = self._look()
        record = self._current_record()
        # A file without a header is just being begun anew by whoever drove the job before.
        header = (look.header or self._header) if look else None
        self._note_presence(batch, self._presence_of(record.job, header, look))
        everything = look is None or look.header != self._header or self.alive != was_alive
        lines = look.lines if look else ()
        run_ids = self._run_ids(lines, everything=everything or first)
        self._read_runs(batch, list(dict.fromkeys((*self._behind, *run_ids))), record.heads)
        deltas = [line.d for line in lines if line.d and line.d.job_id == self._job_id]
        self._held.extend(_unfinished(deltas) if first else deltas)
        if not self._behind:  # what is being said now comes after all that was said before
            batch.deltas.extend(self._held)
            self._held.clear()
        self._header, self._live_bytes = header, look.end if look else 0

    def _read_runs(self, batch: Batch, run_ids: list[RunId], heads: Heads) -> None:
        for run_id in run_ids:
            feed = self._runs.get(run_id)
            if feed is None:
                feed = self._runs[run_id] = RunFeed(self._reader, self._job_id, run_id)
            feed.read(batch, settled_head=None if self.alive else heads.get(run_id, -1))
        self._behind = tuple(run_id for run_id in run_ids if self._runs[run_id].behind)

    def _run_ids(self, lines: tuple[Line, ...], *, everything: bool) -> list[RunId]:
        if everything:
            return self._reader.run_ids(self._job_id)
        named = {line.r: None for line in lines if line.r is not None}
        return [run_id for run_id in named if is_path_id(run_id)]

    def _note_presence(self, batch: Batch, presence: Presence) -> None:
        known = self._presence
        if known is None or (known.job, known.alive) != (presence.job, presence.alive):
            batch.presences.append(presence)
        self._presence = presence

    def _presence_of(self, job: Job, header: Header | None, look: LiveLook | None) -> Presence:
        if look is None or header is None:
            return Presence(job, alive=False)
        return Presence(
            job,
            alive=drives(header, look.changed_ms, now_ms=self._clock.now_ms()),
            pid=header.pid,
            host=header.host,
            heartbeat_ms=look.changed_ms,
        )

    def _current_record(self) -> JobRecord:
        """Return the job's record, read again if the file is another one."""
        path = self._reader.layout.record(self._job_id)
        with explained("read", path):
            try:
                found = path.stat()
            except FileNotFoundError as error:
                raise NotFoundError(
                    f"no job {self._job_id}", hint="list the jobs with: perstack jobs"
                ) from error
        signature = (found.st_ino, found.st_size, found.st_mtime_ns)
        if self._record is None or signature != self._signature:
            self._record = self._reader.job(self._job_id)
            self._signature = signature
        return self._record

    def _look(self) -> LiveLook | None:
        """Read what is new in the live file; all of it if it has begun anew."""
        path = self._reader.layout.live_file(self._job_id)
        with explained("read", path):
            try:
                return self._look_into(path)
            except FileNotFoundError:
                return None

    def _look_into(self, path: Path) -> LiveLook:
        with path.open("rb") as file:
            found = os.fstat(file.fileno())
            top = file.read(HEADER_BYTES)
            header = read_header(top)
            known = header == self._header and self._live_bytes <= found.st_size
            start = self._live_bytes if known else top.find(b"\n") + 1
            file.seek(start)
            data = file.read()
        whole = data[: data.rfind(b"\n") + 1]
        lines = tuple(read_lines(whole)) if header else ()
        end = start + len(whole) if header else 0
        return LiveLook(header, lines, end, found.st_mtime_ns // 1_000_000)


def _unfinished(deltas: list[Delta]) -> list[Delta]:
    """Return the pieces of those texts that are still streaming."""
    streams: dict[tuple[RunId, str], list[Delta]] = {}
    for delta in deltas:
        key = (delta.run_id, delta.stream)
        if delta.kind == "start":
            streams[key] = []
        streams.setdefault(key, []).append(delta)
        if delta.kind == "end":
            del streams[key]
    return [delta for stream in streams.values() for delta in stream]
