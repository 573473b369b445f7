"""A folder of the user's alone, whose files are believed to be nobody's but ours only below it.

No link inside the folder is followed, so that nothing is read or written outside of it whatever
somebody has put there.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from perstack.config.file_locks import is_taken
from perstack.errors import CorruptRecordError, StorageError
from perstack.storage.files import explained
from perstack.storage.new_file import new_file

_LOCK: Final = "lock"
_LOCK_WITHIN_S: Final = 5.0
_ALONE: Final = 0o700
_READ: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


class OwnFolder:
    """Small files in `path`, which is made when first written to. Every method blocks."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def read(self, *parts: str, most: int) -> bytes | None:
        """Return what is in a file, None if there is none.

        Raises:
            CorruptRecordError: it holds more than `most` bytes, or is no file but a link or such.
            StorageError: it cannot be read.
        """
        path = self.path.joinpath(*parts)
        try:
            if any(_is_foreign(folder) for folder in self._between(path)):
                raise _no_file(path)
            with explained("read", path):
                data = _content(path, most + 1)
        except StorageError as error:
            return _absent(path, error)
        if data is None or len(data) > most:
            raise _no_file(path)
        return data

    def write(self, *parts: str, text: str) -> None:
        """Put `text` into a file, which is there whole or not at all.

        Raises:
            StorageError: it cannot be written; what was there is intact.
        """
        path = self.path.joinpath(*parts)
        self._make()
        for folder in self._between(path):
            with explained("create", folder):
                with suppress(FileExistsError):
                    folder.mkdir(mode=_ALONE)
                if _is_foreign(folder):
                    raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))
        with explained("replace", path):
            _clear(path)
        with new_file(path, replaces=True) as file:
            file.write(text)

    @contextmanager
    def alone(self) -> Generator[None]:
        """Let no other process write meanwhile; where none can be kept out, go on.

        Raises:
            StorageError: another one has been writing for 5 s, or the folder cannot be made.
        """
        self._make()
        path = self.path / _LOCK
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        with explained("lock", path):
            fd = os.open(path, flags, 0o600)
        try:
            if not is_taken(fd, within_s=_LOCK_WITHIN_S):
                raise StorageError(
                    f"{path} is held by another process", hint="try again in a moment"
                )
            yield
        finally:
            os.close(fd)

    def _make(self) -> None:
        with explained("create", self.path):
            self.path.mkdir(mode=_ALONE, parents=True, exist_ok=True)
            if stat.S_IMODE(self.path.stat().st_mode) != _ALONE:
                self.path.chmod(_ALONE)

    def _between(self, path: Path) -> list[Path]:
        """Return the folders that lead from this one to a file in it."""
        inside = [folder for folder in path.parents if folder.is_relative_to(self.path)]
        return inside[:-1][::-1]


def _is_foreign(folder: Path) -> bool:
    """Tell whether something stands there that is no folder, a link to one included."""
    try:
        return not stat.S_ISDIR(folder.lstat().st_mode)
    except OSError:
        return False


def _content(path: Path, most: int) -> bytes | None:
    """Return the first bytes of a regular file, None of anything else."""
    fd = os.open(path, _READ)
    try:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            return None
        with os.fdopen(fd, "rb", closefd=False) as file:
            return file.read(most)
    finally:
        os.close(fd)


def _clear(path: Path) -> None:
    """Remove a link, a pipe or such that stands where a file belongs."""
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):
        path.unlink(missing_ok=True)


def _absent(path: Path, error: StorageError) -> None:
    cause = error.__cause__
    if isinstance(cause, FileNotFoundError):
        return
    if isinstance(cause, OSError) and cause.errno in (errno.ELOOP, errno.ENXIO):
        raise _no_file(path) from error
    raise error


def _no_file(path: Path) -> CorruptRecordError:
    return CorruptRecordError(
        f"{path} is not what was kept there: it is no regular file, or too large",
        hint="remove it; it is downloaded again when it is needed",
    )
