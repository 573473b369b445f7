"""Contents by their digest: `blobs/ab/cdef…`, each written once, whole or not at all.

A file is one letter and the content: `0` as it is, `z` deflated where that pays. A lock keeps
whoever removes contents (`sweep`) apart from whoever counts on them.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import secrets
import time
import zlib
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from perstack.errors import ConflictError, CorruptRecordError, NotFoundError
from perstack.storage.files import Files, explained, make_folders, write_all

LOCK_WITHIN_S: Final = 20.0
_LOCK_POLL_S: Final = 0.02
_SYNC_EACH_UP_TO: Final = 32
_PAYS_BELOW: Final = 0.9
_SMALL: Final = 128


def digest_of(content: bytes) -> str:
    """Return the SHA-256, as 64 hexadecimal digits."""
    return hashlib.sha256(content).hexdigest()


class Blobs:
    """The contents below one folder. All methods block. `writes` counts those that were new."""

    def __init__(self, files: Files, folder: Path, *, below: Path) -> None:
        self._files = files
        self._below = below
        self.folder = folder
        self.writes = 0

    def path(self, digest: str) -> Path:
        """Where a content lies."""
        return self.folder / digest[:2] / digest[2:]

    def has(self, digest: str) -> bool:
        """Tell whether the content is stored; an empty file is what a power failure left."""
        try:
            return self.path(digest).stat().st_size > 0
        except FileNotFoundError:
            return False

    def get(self, digest: str) -> bytes:
        """Return a content.

        Raises:
            NotFoundError: it is not stored.
            CorruptRecordError: it is not what was stored.
        """
        path = self.path(digest)
        with explained("read", path):
            try:
                stored = self._files.read(path)
            except FileNotFoundError as error:
                raise NotFoundError(f"the content {digest[:12]} is not stored any more") from error
        try:
            content = zlib.decompress(stored[1:]) if stored[:1] == b"z" else stored[1:]
        except zlib.error:
            content = b""
        if digest_of(content) != digest:
            raise CorruptRecordError(
                f"{path} is damaged: it is not the content of its name",
                hint="restore the file from a backup, or remove it",
            )
        return content

    def writing(self) -> Writing:
        """Return what stores contents, all of them durable once `finish` has returned."""
        return Writing(self._files, self)

    def make(self) -> None:
        """Make the folder."""
        make_folders(self._files, self.folder, below=self._below)

    @contextmanager
    def held(self, *, alone: bool, stopped: Callable[[], bool] = lambda: False) -> Generator[None]:
        """Hold the lock: `alone` to remove contents, or else together with others who add.

        Raises:
            ConflictError: it was not to be had in 20 s, or `stopped` said so before.
            StorageError: the lock's file cannot be opened.
        """
        self.make()
        path = self.folder / "lock"
        with explained("lock", path):
            fd = self._files.open(path, os.O_RDWR | os.O_CREAT)
        try:
            _lock(fd, fcntl.LOCK_EX if alone else fcntl.LOCK_SH, stopped)
            yield
        finally:
            self._files.close(fd)

    def all(self) -> Iterator[tuple[str, Path]]:
        """Yield the digests of all contents and where they lie."""
        for folder in _folders(self.folder):
            for path in folder.iterdir():
                if len(path.name) == 62:
                    yield folder.name + path.name, path

    def leftovers(self) -> Iterator[Path]:
        """Yield what processes that were killed left behind; only for whoever is `alone`."""
        for folder in (self.folder, *_folders(self.folder)):
            yield from folder.glob("*.tmp")


class Writing:
    """Stores contents for one snapshot: under their names only once they are on the disk."""

    def __init__(self, files: Files, blobs: Blobs) -> None:
        self._files = files
        self._blobs = blobs
        # By where each will lie: the file that has its content until `finish`.
        self._fresh: dict[Path, Path] = {}
        self._known: set[str] = set()

    def begin(self) -> None:
        """Take nothing for stored any more that was before; for whoever holds the lock again."""
        self.give_up()

    def give_up(self) -> None:
        """Remove what was stored since the last `finish`; never raises."""
        for fresh in self._fresh.values():
            with suppress(OSError):
                self._files.remove(fresh)
        self._fresh.clear()
        self._known.clear()

    def put(self, content: bytes) -> str:
        """Store a content, if it is not, and return its digest. It can be read after `finish`.

        Raises:
            OSError: it could not be stored.
        """
        digest = digest_of(content)
        if digest in self._known or self._blobs.has(digest):
            self._known.add(digest)
            return digest
        path = self._blobs.path(digest)
        with suppress(FileExistsError):
            self._files.make_folder(path.parent)
        fresh = path.with_name(f"{secrets.token_hex(8)}.tmp")
        fd = self._files.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL)
        try:
            write_all(self._files, fd, _packed(content))
            if len(self._fresh) < _SYNC_EACH_UP_TO:
                self._files.sync(fd)
        except BaseException:
            with suppress(OSError):
                self._files.remove(fresh)
            raise
        finally:
            self._files.close(fd)
        self._fresh[path] = fresh
        self._known.add(digest)
        self._blobs.writes += 1
        return digest

    def finish(self) -> None:
        """Return once everything is on the disk, each content whole under its name.

        Raises:
            OSError: it may not be.
        """
        if len(self._fresh) > _SYNC_EACH_UP_TO:
            os.sync()  # one for all costs less than a thousand for one each
        folders = {path.parent for path in self._fresh}
        while self._fresh:
            path, fresh = next(iter(self._fresh.items()))
            self._files.rename(fresh, path)
            del self._fresh[path]
        for folder in folders:
            self._files.sync_folder(folder)


def _packed(content: bytes) -> bytes:
    if len(content) > _SMALL:
        deflated = zlib.compress(content, 1)
        if len(deflated) < _PAYS_BELOW * len(content):
            return b"z" + deflated
    return b"0" + content


def _folders(folder: Path) -> list[Path]:
    try:
        return [each for each in folder.iterdir() if len(each.name) == 2]
    except FileNotFoundError:
        return []


def _lock(fd: int, how: int, stopped: Callable[[], bool]) -> None:
    deadline = time.monotonic() + LOCK_WITHIN_S
    while True:
        try:
            fcntl.flock(fd, how | fcntl.LOCK_NB)
        except OSError as error:
            if time.monotonic() > deadline or stopped():
                raise ConflictError(
                    "stored files are in use by another process", hint="try again in a moment"
                ) from error
            time.sleep(_LOCK_POLL_S)
        else:
            return
