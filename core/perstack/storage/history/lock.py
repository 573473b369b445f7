"""A job is driven by one process at a time: a file lock that ends with the process."""

from __future__ import annotations

import fcntl
import logging
import os
import threading
from pathlib import Path
from typing import Final

from perstack.errors import ConflictError
from perstack.storage.files import Files, explained

_log = logging.getLogger(__name__)

# Some file systems grant a lock again to the process that has it, so we keep count ourselves.
_held: Final[set[Path]] = set()
_guard: Final = threading.Lock()


class JobLock:
    """The lock of one job. Its file is never removed: that would let two in."""

    def __init__(self, files: Files, path: Path) -> None:
        self._files = files
        self._path = path.absolute()
        self._fd: int | None = None

    def acquire(self) -> None:
        """Take the lock, and note in the file's time when that was.

        Raises:
            ConflictError: this or another process has it.
            StorageError: the file cannot be opened or locked.
        """
        with _guard:
            if self._path in _held:
                raise ConflictError("this process drives the job already")
            with explained("lock", self._path):
                self._fd = self._open_locked()
            _held.add(self._path)

    def release(self) -> None:
        """Give the lock back; idempotent."""
        with _guard:
            if self._fd is None:
                return
            _held.discard(self._path)
            fd, self._fd = self._fd, None
            try:
                self._files.close(fd)
            except OSError as error:  # it is closed all the same
                _log.warning("closing %s: %s", self._path, error.strerror)

    def _open_locked(self) -> int:
        fd = self._files.open(self._path, os.O_RDWR | os.O_CREAT)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self._files.touch(fd)
        except BaseException as error:
            self._files.close(fd)
            if isinstance(error, BlockingIOError):
                raise ConflictError("another process drives the job") from error
            raise
        return fd
