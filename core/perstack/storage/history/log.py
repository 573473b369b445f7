"""The writing end of one run's history."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from pathlib import Path
from typing import Final

import anyio
from anyio import to_thread

from perstack.domain.events import Body, Event
from perstack.domain.ids import RunId
from perstack.errors import StorageError
from perstack.ports.history import RunIdentity
from perstack.ports.system import Clock
from perstack.storage.files import Files, storage_error, write_all
from perstack.storage.history.codec import encode

_log = logging.getLogger(__name__)

_CONTINUE: Final = "continue the job: everything up to its last event is kept"


class FileRunLog:
    """Appends records to a file.

    After a failure it takes no more: what followed a record that may be missing would be no
    history. `reached` is called with each record's number once it was written.
    """

    def __init__(
        self,
        files: Files,
        path: Path,
        identity: RunIdentity,
        *,
        clock: Clock,
        reached: Callable[[RunId, int], None],
    ) -> None:
        self._files = files
        self._path = path
        self._identity = identity
        self._clock = clock
        self._reached = reached
        self._fd: int | None = None
        self._bytes = 0
        self._seq = -1
        self._synced_seq = -1
        self._timestamp = 0
        self._failed = False
        self._one_sync = anyio.Lock(fast_acquire=True)

    @property
    def run_id(self) -> RunId:
        """The run."""
        return self._identity.run_id

    @property
    def is_open(self) -> bool:
        """Whether the file is held."""
        return self._fd is not None

    @property
    def synced_seq(self) -> int:
        """The last record known to be on the disk, -1 for none."""
        return self._synced_seq

    def open(self, *, good_bytes: int, last: Event | None, sync_name: bool = True) -> None:
        """Open the file, cut it to `good_bytes`, and go on after `last`.

        With `sync_name` False the caller makes a new file's name durable.

        Raises:
            StorageError: it cannot be opened, cut or synced.
        """
        try:
            self._open_cut(good_bytes, sync_name=sync_name)
        except OSError as error:
            self.close()
            raise storage_error("write", self._path, error) from error
        self._bytes = good_bytes
        if last is not None:
            self._seq = last.seq
            self._timestamp = last.timestamp

    def append(self, body: Body, *, step_number: int) -> Event:
        """Write the next record; time never runs backwards within a run.

        Raises:
            StorageError: it could not be written; earlier records are intact.
        """
        fd = self._writable()
        event, line = encode(
            Event(
                seq=self._seq + 1,
                timestamp=max(self._timestamp, self._clock.now_ms()),
                job_id=self._identity.job_id,
                run_id=self._identity.run_id,
                expert_key=self._identity.expert_key,
                step_number=step_number,
                body=body,
            )
        )
        self._write(fd, line)
        self._seq = event.seq
        self._timestamp = event.timestamp
        self._reached(self.run_id, event.seq)
        return event

    async def sync(self) -> None:
        """Return once everything appended so far is on the disk; calls at one time share the work.

        Raises:
            StorageError: the disk said no, and nothing more can be appended.
        """
        wanted = self._seq
        async with self._one_sync:
            if self._synced_seq >= wanted and not self._failed:
                return
            fd = self._writable()
            reached = self._seq
            await to_thread.run_sync(self._sync, fd)
            self._synced_seq = reached

    def close(self) -> None:
        """Release the file; idempotent."""
        fd, self._fd = self._fd, None
        if fd is None:
            return
        try:
            self._files.close(fd)
        except OSError as error:
            _log.warning("closing %s: %s", self._path, error.strerror)

    def _writable(self) -> int:
        if self._failed:
            raise StorageError(f"cannot write {self._path}: writing failed before", hint=_CONTINUE)
        if self._fd is None:
            raise StorageError(f"cannot write {self._path}: it is closed", hint=_CONTINUE)
        return self._fd

    def _open_cut(self, good_bytes: int, *, sync_name: bool) -> None:
        is_new = not self._path.exists()
        self._fd = self._files.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        if is_new and sync_name:
            self._files.sync_folder(self._path.parent)
        if os.fstat(self._fd).st_size > good_bytes:
            self._files.truncate(self._fd, good_bytes)
            self._files.sync(self._fd)

    def _write(self, fd: int, line: bytes) -> None:
        try:
            write_all(self._files, fd, line)
        except OSError as error:
            self._failed = True
            self._take_back(fd)
            raise storage_error("write", self._path, error) from error
        self._bytes += len(line)

    def _take_back(self, fd: int) -> None:
        """Cut off what was written of a record. Readers drop it otherwise, so it is no matter."""
        try:
            self._files.truncate(fd, self._bytes)
        except OSError as error:
            _log.warning("%s keeps part of a record: %s", self._path, error.strerror)

    def _sync(self, fd: int) -> None:
        try:
            self._files.sync(fd)
        except OSError as error:
            # The system may have dropped what it could not write: a second try proves nothing.
            self._failed = True
            raise storage_error("write", self._path, error) from error
