"""What lies in a workspace: one look at each entry, links never followed, nothing read."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from perstack.domain.settings import SnapshotSettings
from perstack.domain.snapshots import EXCLUDED, IGNORED, LARGE, EntryKind
from perstack.errors import LimitError, StorageError
from perstack.storage.snapshots.ignored import GITIGNORE, Ignored

STORAGE: Final = "perstack"


class StoppedError(Exception):
    """The walk was told to end."""


@dataclass(frozen=True, slots=True)
class Stamp:
    """How a file looks from outside; while that stays the same, so has the content."""

    size: int
    mtime_ns: int
    ctime_ns: int
    inode: int
    device: int

    @classmethod
    def of(cls, found: os.stat_result) -> Stamp:
        """Return that of a file."""
        return cls(found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino, found.st_dev)


@dataclass(frozen=True, slots=True)
class Found:
    """An entry of the workspace. With a `why` its content is not to be stored."""

    path: str
    kind: EntryKind
    mode: int
    stamp: Stamp
    why: str | None = None


class Walk:
    """Goes through a workspace. `looks` counts the entries that were looked at."""

    def __init__(
        self,
        root: Path,
        settings: SnapshotSettings,
        ignored: Ignored,
        *,
        storage: Path,
        stopped: Callable[[], bool] = lambda: False,
    ) -> None:
        self._root = os.fspath(root)
        self._settings = settings
        self._ignored = ignored
        self._storage = os.fspath(storage)
        self._stopped = stopped
        self._room = settings.max_total_bytes
        self.looks = 0

    def entries(self) -> Iterator[Found]:
        """Yield what is there; folders only where nothing in them is yielded.

        Raises:
            LimitError: there are more than the settings allow.
            StorageError: the workspace cannot be read.
            StoppedError: `stopped` said so.
        """
        waiting: list[Found | None] = [None]
        while waiting:
            folder = waiting.pop()
            is_empty = True
            for each in self._folder(folder):
                is_empty = False
                if each.kind == "folder" and each.why is None:
                    waiting.append(each)
                else:
                    yield each
            if is_empty and folder is not None:
                yield folder

    def _folder(self, folder: Found | None) -> Iterator[Found]:
        """Yield the entries of a folder, None being the workspace."""
        inside = f"{folder.path}/" if folder is not None else ""
        try:
            with os.scandir(os.path.join(self._root, inside)) as scan:  # noqa: PTH118  fast
                entries = sorted(scan, key=lambda entry: entry.name)
        except OSError as error:
            if folder is None:
                raise StorageError(f"cannot read {self._root}: {error.strerror}") from error
            yield replace(folder, why=error.strerror or "unreadable")
            return
        self._take_rules(inside, entries)
        for entry in entries:
            if self._stopped():
                raise StoppedError
            found = self._entry(inside + entry.name, entry)
            if found is not None:
                yield found

    def _take_rules(self, folder: str, entries: list[os.DirEntry[str]]) -> None:
        found = next((entry for entry in entries if entry.name == GITIGNORE), None)
        try:
            looks = found.stat(follow_symlinks=False) if found is not None else None
        except OSError:
            looks = None
        if looks is not None and not stat.S_ISREG(looks.st_mode):
            looks = None
        path = os.path.join(self._root, folder, GITIGNORE)  # noqa: PTH118
        self._ignored.enter(folder, looks, lambda: read_small(path))

    def _entry(self, path: str, entry: os.DirEntry[str]) -> Found | None:
        try:
            found = entry.stat(follow_symlinks=False)
        except OSError:
            return None  # it has just been removed
        kind = _kind(found.st_mode)
        if kind is None or (kind == "folder" and self._is_storage(path)):
            return None  # a pipe, a socket, a device; or where histories lie
        self._count()
        stamp, mode = Stamp.of(found), stat.S_IMODE(found.st_mode) & 0o777
        return Found(path, kind, mode, stamp, self._why_not(path, kind, stamp))

    def _why_not(self, path: str, kind: EntryKind, stamp: Stamp) -> str | None:
        if self._ignored.is_ignored(f"{path}/" if kind == "folder" else path):
            return IGNORED
        if kind == "folder":
            return None
        if self._ignored.is_excluded(path):
            return EXCLUDED
        if kind == "link":
            return None
        if stamp.size > self._settings.max_file_bytes or stamp.size > self._room:
            return LARGE
        self._room -= stamp.size
        return None

    def _is_storage(self, path: str) -> bool:
        """Tell whether this is where histories lie, this workspace's or another's."""
        if path == STORAGE:
            return True
        return os.path.join(self._root, path) == self._storage  # noqa: PTH118

    def _count(self) -> None:
        self.looks += 1
        if self.looks > self._settings.max_files:
            raise LimitError(
                f"more than {self._settings.max_files:,} files: no snapshots are taken",
                hint="name folders in .gitignore, or raise [snapshots] maxFiles in perstack.toml",
            )


def _kind(mode: int) -> EntryKind | None:
    if stat.S_ISREG(mode):
        return "file"
    if stat.S_ISLNK(mode):
        return "link"
    return "folder" if stat.S_ISDIR(mode) else None


def read_small(path: str, longest: int = 1_000_000) -> bytes | None:
    """Return the beginning of a regular file, None if it cannot be read."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            return None
        return os.read(fd, longest)
    except OSError:
        return None
    finally:
        os.close(fd)
