"""Changing files so that a crash at any moment leaves the old content or the new.

`Files` is the one seam to the operating system: tests replace it to make each call fail, or to
end the program before it.
"""

from __future__ import annotations

import errno
import logging
import os
import sys
import threading
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from perstack.errors import StorageError

_log = logging.getLogger(__name__)

_FULL: Final = "free some space, then continue the job: everything up to its last event is kept"
_READ_ONLY: Final = "make the folder writable, then continue the job"
_MANY_FILES: Final = "raise the limit on open files (ulimit -n), then continue the job"
_HINTS: Final[dict[int, str]] = {
    errno.ENOSPC: _FULL,
    errno.EDQUOT: _FULL,
    errno.EROFS: _READ_ONLY,
    errno.EACCES: _READ_ONLY,
    errno.EPERM: _READ_ONLY,
    errno.EMFILE: _MANY_FILES,
    errno.ENFILE: _MANY_FILES,
    errno.ELOOP: "replace the symbolic link by a real file or folder",
    errno.ENOLCK: "keep the workspace on a file system that can lock files",
    errno.ENOTSUP: "keep the workspace on a file system that can lock files",
    errno.EIO: "check the disk, then continue the job",
}


class Files:
    """The system calls that make, change and remove files. All of them may raise `OSError`."""

    def open(self, path: Path, flags: int) -> int:
        """Open without following a link at the end of `path`; a new file is the user's alone."""
        return os.open(path, flags | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)

    def close(self, fd: int) -> None:
        """Close."""
        os.close(fd)

    def write(self, fd: int, data: bytes | memoryview) -> int:
        """Write some of `data` and return how many bytes."""
        return os.write(fd, data)

    def sync(self, fd: int) -> None:
        """Return once the file's content is on the disk."""
        if sys.platform == "darwin":
            os.fsync(fd)
        else:
            os.fdatasync(fd)

    def sync_folder(self, path: Path) -> None:
        """Return once the names in the folder are on the disk."""
        fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)

    def truncate(self, fd: int, length: int) -> None:
        """Cut to `length` bytes."""
        os.ftruncate(fd, length)

    def rename(self, source: Path, target: Path) -> None:
        """Move over `target` in one go."""
        source.replace(target)

    def make_folder(self, path: Path) -> None:
        """Make one folder, the user's alone."""
        path.mkdir(mode=0o700)

    def touch(self, fd: int) -> None:
        """Set the time of last change to now."""
        os.utime(fd)

    def remove(self, path: Path) -> None:
        """Remove a file."""
        path.unlink()

    def read(self, path: Path, *, start: int = 0) -> bytes:
        """Return the file's content from byte `start`."""
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        with os.fdopen(fd, "rb", buffering=0) as file:
            file.seek(start)
            return file.read()

    def read_piece(self, path: Path, *, start: int, size: int) -> bytes:
        """Return at most `size` bytes of the file from byte `start`, b"" at its end."""
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            return os.pread(fd, size, start)
        finally:
            os.close(fd)


class SharedSync:
    """Syncs one folder, once for all threads that ask while a sync before theirs goes on."""

    def __init__(self, files: Files, folder: Path) -> None:
        self._files = files
        self._folder = folder
        self._guard = threading.Lock()
        self._one = threading.Lock()
        self._asked = 0
        self._done = 0

    @property
    def asked(self) -> int:
        """How often a sync was asked for."""
        return self._asked

    def sync(self) -> None:
        """Return once the names that the folder has now are on the disk.

        Raises:
            OSError: they may not be.
        """
        with self._guard:
            self._asked += 1
            mine = self._asked
        with self._one:
            if self._done >= mine:
                return
            with self._guard:
                reached = self._asked
            self._files.sync_folder(self._folder)
            self._done = reached


@contextmanager
def explained(verb: str, path: Path) -> Generator[None]:
    """Turn an `OSError` into a `StorageError` that names `path` and says what helps."""
    try:
        yield
    except OSError as error:
        raise storage_error(verb, path, error) from error


def storage_error(verb: str, path: Path, error: OSError) -> StorageError:
    """Return the error that says that `verb` ("write") failed on `path`, and what helps."""
    reason = error.strerror or type(error).__name__
    return StorageError(f"cannot {verb} {path}: {reason}", hint=_HINTS.get(error.errno or 0))


def write_all(files: Files, fd: int, data: bytes) -> None:
    """Write all of `data`, in one call unless the system takes less.

    Raises:
        OSError: only some of it may have been written.
    """
    written = files.write(fd, data)
    while written < len(data):
        rest = files.write(fd, memoryview(data)[written:])
        if rest == 0:
            raise OSError(errno.EIO, "nothing more could be written")
        written += rest


def make_folders(files: Files, path: Path, *, below: Path) -> None:
    """Make `path` and its missing parents, durably. `below` is not made.

    Raises:
        StorageError: a folder could not be made.
    """
    missing = [folder for folder in (path, *path.parents) if folder.is_relative_to(below)]
    for folder in reversed(missing):
        if folder == below or folder.is_dir():
            continue
        with explained("create", folder):
            with suppress(FileExistsError):
                files.make_folder(folder)
            files.sync_folder(folder.parent)


def replace_file(files: Files, path: Path, data: bytes) -> None:
    """Put `data` in place of the file, durably; only one process may do so at a time.

    Raises:
        StorageError: it could not be written; the old content is intact, or wholly replaced.
    """
    fresh = path.with_name(path.name + ".tmp")
    with explained("write", path):
        try:
            _write_file(files, fresh, data)
            files.rename(fresh, path)
        except OSError:
            _discard(files, fresh)
            raise
        files.sync_folder(path.parent)


def _write_file(files: Files, path: Path, data: bytes) -> None:
    fd = files.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    try:
        write_all(files, fd, data)
        files.sync(fd)
    finally:
        files.close(fd)


def _discard(files: Files, path: Path) -> None:
    try:
        files.remove(path)
    except FileNotFoundError:
        return
    except OSError as error:
        _log.warning("cannot remove %s: %s", path, error.strerror)
