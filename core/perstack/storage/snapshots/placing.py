"""Putting files in place: each in one go, nothing outside the folder, nothing that changed.

Every folder on the way is opened without following links, so that no link in the workspace, and
none that is put there meanwhile, leads a write out of it.
"""

from __future__ import annotations

import os
import secrets
import stat
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from perstack.domain.snapshots import Entry, Manifest
from perstack.errors import CorruptRecordError, NotFoundError
from perstack.ports.snapshots import Restored
from perstack.storage.files import explained
from perstack.storage.snapshots.blobs import digest_of

_FOLDER: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_PIECE: Final = 1 << 20


class Placing:
    """One restoration into `root`. `content` gives what is stored under a digest."""

    def __init__(self, root: Path, content: Callable[[str], bytes]) -> None:
        self._root = root
        self._content = content

    def restore(self, wanted: Mapping[str, Entry | None], seen: Manifest) -> Restored:
        """Put entries in place, None: remove; each only where the disk is still as `seen`.

        Raises:
            StorageError: the folder cannot be opened.
        """
        written: list[str] = []
        removed: list[str] = []
        kept: list[str] = []
        missing: list[str] = []
        with explained("open", self._root):
            root = os.open(self._root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            # What goes, first, and the deepest first: a file may take a folder's place.
            gone = [path for path, entry in wanted.items() if entry is None]
            for path in sorted(gone, key=_depth, reverse=True):
                done = self._remove(root, path, seen.get(path))
                (removed if done else kept).append(path)
            coming = [(path, entry) for path, entry in wanted.items() if entry is not None]
            for path, entry in sorted(coming, key=lambda each: _depth(each[0])):
                try:
                    done = self._put(root, path, entry, seen.get(path))
                except (NotFoundError, CorruptRecordError):
                    missing.append(path)
                else:
                    (written if done else kept).append(path)
        finally:
            os.close(root)
        return Restored(*(tuple(sorted(each)) for each in (written, removed, kept, missing)))

    def _put(self, root: int, path: str, entry: Entry, seen: Entry | None) -> bool:
        content = self._content(entry.digest) if entry.digest is not None else b""
        with suppress(OSError), _opened_folder(root, path, make=True) as (folder, name):
            if not _is_as_seen(folder, name, seen):
                return False
            if entry.kind == "folder":
                return _make_folder(folder, name, entry.mode)
            with suppress(FileNotFoundError, NotADirectoryError):
                os.rmdir(name, dir_fd=folder)  # an empty folder, or else nothing comes of it
            fresh = f".perstack-{secrets.token_hex(8)}.tmp"
            try:
                if entry.kind == "link":
                    os.symlink(entry.target or "", fresh, dir_fd=folder)
                else:
                    _write(folder, fresh, content, entry.mode)
                os.replace(fresh, name, src_dir_fd=folder, dst_dir_fd=folder)
            except OSError:
                with suppress(OSError):
                    os.unlink(fresh, dir_fd=folder)
                raise
            return True
        return False

    def _remove(self, root: int, path: str, seen: Entry | None) -> bool:
        try:
            with _opened_folder(root, path, make=False) as (folder, name):
                if seen is not None and seen.kind == "folder":
                    os.rmdir(name, dir_fd=folder)
                elif not _is_as_seen(folder, name, seen):
                    return False
                else:
                    os.unlink(name, dir_fd=folder)
        except FileNotFoundError:
            return True
        except OSError:
            return False
        self._remove_empty(root, path)
        return True

    def _remove_empty(self, root: int, path: str) -> None:
        """Remove the folders that nothing is left in; those that are wanted are made again."""
        above = path.rpartition("/")[0]
        while above:
            try:
                with _opened_folder(root, above, make=False) as (folder, name):
                    os.rmdir(name, dir_fd=folder)
            except OSError:
                return
            above = above.rpartition("/")[0]


@contextmanager
def _opened_folder(root: int, path: str, *, make: bool) -> Generator[tuple[int, str]]:
    """Yield the folder of a path, opened, and the last name.

    Raises:
        OSError: a name on the way is no folder, or one that is a link.
    """
    *folders, name = path.split("/")
    at = os.dup(root)
    try:
        for each in folders:
            if make:
                with suppress(FileExistsError):
                    os.mkdir(each, dir_fd=at)
            below = os.open(each, _FOLDER, dir_fd=at)
            os.close(at)
            at = below
        yield at, name
    finally:
        os.close(at)


def _is_as_seen(folder: int, name: str, seen: Entry | None) -> bool:
    """Tell whether a name is still what it was as the workspace was looked at."""
    try:
        found = os.stat(name, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        # What was removed meanwhile cannot be overwritten.
        return True
    if seen is None:
        return stat.S_ISDIR(found.st_mode)
    if stat.S_ISLNK(found.st_mode):
        return seen.kind == "link" and os.readlink(name, dir_fd=folder) == seen.target
    if stat.S_ISDIR(found.st_mode):
        return seen.kind == "folder"
    if not stat.S_ISREG(found.st_mode) or seen.kind != "file":
        return False
    if seen.digest is None:
        return False  # nothing of it is stored: nobody could bring it back
    return found.st_size == seen.size and _digest(folder, name, seen.size) == seen.digest


def _digest(folder: int, name: str, size: int) -> str | None:
    fd = os.open(name, _FILE, dir_fd=folder)
    try:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            return None
        pieces: list[bytes] = []
        while sum(map(len, pieces)) <= size and (piece := os.read(fd, _PIECE)):
            pieces.append(piece)
        return digest_of(b"".join(pieces))
    finally:
        os.close(fd)


def _write(folder: int, name: str, content: bytes, mode: int) -> None:
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    fd = os.open(name, flags, 0o600, dir_fd=folder)
    try:
        left = memoryview(content)
        while left:
            left = left[os.write(fd, left) :]
        os.fchmod(fd, mode)
        os.fsync(fd)
    finally:
        os.close(fd)


def _make_folder(folder: int, name: str, mode: int) -> bool:
    with suppress(FileNotFoundError, IsADirectoryError, PermissionError):
        os.unlink(name, dir_fd=folder)  # a file that was as seen
    with suppress(FileExistsError):
        os.mkdir(name, dir_fd=folder)
    fd = os.open(name, _FOLDER, dir_fd=folder)
    try:
        os.fchmod(fd, mode)
    finally:
        os.close(fd)
    return True


def _depth(path: str) -> int:
    return path.count("/")
