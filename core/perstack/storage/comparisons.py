"""Comparisons in files, below `perstack` in the workspace.

comparisons/{id}/comparison.json   the record, replaced in one go
comparisons/{id}/lock              held by the process that runs it
comparisons/{id}/stop              there once somebody asked for a stop
comparisons/{id}/snapshots, blobs  the files at the start, and of each contestant at its end
comparisons/{id}/{label}/          where a contestant works, with its own `perstack` inside
"""

from __future__ import annotations

import fcntl
import os
import shutil
import stat
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

from pydantic import ValidationError

from perstack.domain.comparisons import ComparisonId, Contest
from perstack.domain.ids import check_path_id
from perstack.errors import (
    ConflictError,
    CorruptRecordError,
    NotFoundError,
    PerstackError,
    StorageError,
)
from perstack.ports.comparisons import Stored
from perstack.ports.snapshots import SnapshotStore
from perstack.ports.system import Clock
from perstack.storage.files import Files, explained, make_folders, replace_file, storage_error
from perstack.storage.history.lock import JobLock
from perstack.storage.history.removing import bytes_below
from perstack.storage.snapshots.store import FileSnapshots

FOLDER: Final = "comparisons"
RECORD: Final = "comparison.json"
_LOCK: Final = "lock"
_STOP: Final = "stop"
_LOOKS: Final = 4
_MOMENT_S: Final = 0.02
_LARGEST: Final = 16 * 1024 * 1024
_LISTS: Final = "perstack compare --list shows those that are there"


class FileComparisons:
    """Implements `ports.comparisons.ComparisonStore`."""

    def __init__(self, workspace: Path, *, clock: Clock, files: Files | None = None) -> None:
        self._workspace = workspace.absolute()
        self._root = self._workspace / "perstack" / FOLDER
        self._clock = clock
        self._files = files or Files()
        self._locks: dict[ComparisonId, JobLock] = {}
        self._read: dict[Path, tuple[int, Contest]] = {}

    # ---------------------------------------------------------------- running one

    def begin(self, contest: Contest) -> None:
        """Make the comparison's folder and hold it until `release`; `save` makes it one that is.

        Raises:
            ConflictError: there is one with this id.
            StorageError: it could not be made.
        """
        folder = self._of(contest.id)
        if folder.exists():
            raise ConflictError(f"there is a comparison {contest.id} already")
        make_folders(self._files, folder, below=self._workspace)
        lock = JobLock(self._files, folder / _LOCK)
        _acquire(lock)
        self._locks[contest.id] = lock

    def save(self, contest: Contest) -> None:
        """Replace the record in one go, durably.

        Raises:
            StorageError: it could not be written.
        """
        data = contest.model_dump_json(indent=2).encode()
        replace_file(self._files, self._of(contest.id) / RECORD, data)

    def release(self, comparison_id: ComparisonId) -> None:
        """Hold it no longer; idempotent."""
        lock = self._locks.pop(comparison_id, None)
        if lock is not None:
            lock.release()

    def ask_stop(self, comparison_id: ComparisonId) -> None:
        """Ask the process that runs it to stop all contestants at a checkpoint.

        Raises:
            ConflictError: no process runs it.
            StorageError: it cannot be asked.
        """
        if not self.get(comparison_id).alive:
            raise ConflictError(f"no process runs comparison {comparison_id}")
        path = self._of(comparison_id) / _STOP
        with explained("write", path):
            self._files.close(self._files.open(path, os.O_WRONLY | os.O_CREAT))

    def is_asked_to_stop(self, comparison_id: ComparisonId) -> bool:
        """Tell whether somebody asked for that."""
        return (self._of(comparison_id) / _STOP).exists()

    # ---------------------------------------------------------------- looking

    def get(self, comparison_id: ComparisonId) -> Stored:
        """Return one.

        Raises:
            NotFoundError: there is none.
            StorageError: it cannot be read (`CorruptRecordError`: it is damaged).
        """
        folder = self._of(comparison_id)
        # In this order: who ended meanwhile has saved the end before the lock was free.
        alive = _is_held(folder / _LOCK)
        try:
            contest = self._contest(folder / RECORD)
        except FileNotFoundError as error:
            raise NotFoundError(f"no comparison {comparison_id}", hint=_LISTS) from error
        if contest.id != comparison_id:
            raise CorruptRecordError(f"{folder / RECORD} is that of another comparison")
        return Stored(contest, alive)

    def list(self) -> Sequence[Stored]:
        """Return all that can be read, newest first."""
        found: list[Stored] = []
        for name in self._names():
            with suppress(PerstackError):
                found.append(self.get(name))
        return sorted(found, key=lambda one: one.contest.started_at, reverse=True)

    def version(self) -> str:
        """Return what is another once any of them changed; cheap."""
        said: list[str] = []
        for name in sorted(self._names()):
            folder = self._root / name
            with suppress(OSError):
                changed = os.lstat(folder / RECORD).st_mtime_ns
                said.append(f"{name}:{changed}:{_is_held(folder / _LOCK):d}")
        return " ".join(said)

    def folder(self, comparison_id: ComparisonId, label: str) -> Path:
        """Return where a contestant works."""
        return self._of(comparison_id) / check_path_id("contestant", label)

    def files(self, comparison_id: ComparisonId) -> SnapshotStore:
        """Return where the files at the start and at each end are kept."""
        return FileSnapshots(
            self._workspace, clock=self._clock, files=self._files, folder=self._of(comparison_id)
        )

    # ---------------------------------------------------------------- changing

    def make_folder(self, comparison_id: ComparisonId, label: str) -> Path:
        """Make a contestant's folder.

        Programs that look for a git repository above it find an empty one there, and never that
        of the workspace.

        Raises:
            StorageError: it could not be made.
        """
        folder = self.folder(comparison_id, label)
        make_folders(self._files, folder, below=self._workspace)
        if any((above / ".git").exists() for above in (self._workspace, *self._workspace.parents)):
            _make_repository(folder / ".git")
        return folder

    def remove(self, comparison_id: ComparisonId) -> int:
        """Remove one with its folders and jobs; return how many bytes they were.

        Raises:
            NotFoundError: there is none.
            ConflictError: a process runs it.
            StorageError: not all of it could be removed.
        """
        folder = self._of(comparison_id)
        if not folder.is_dir():
            raise NotFoundError(f"no comparison {comparison_id}", hint=_LISTS)
        lock = JobLock(self._files, folder / _LOCK)
        try:
            _acquire(lock)
        except ConflictError as error:
            raise ConflictError(
                f"a process runs comparison {comparison_id}",
                hint=f"stop it first: perstack compare --stop {comparison_id}",
            ) from error
        try:
            with explained("remove", folder):
                _make_writable(folder)
                size = bytes_below(folder)
                # The record goes last: what could not be removed can be seen, and removed again.
                for each in sorted(folder.iterdir(), key=lambda path: path.name == RECORD):
                    _remove(each)
                folder.rmdir()
        finally:
            lock.release()
        return size

    # ---------------------------------------------------------------- where

    def _of(self, comparison_id: ComparisonId) -> Path:
        if self._root.is_symlink():
            raise StorageError(f"{self._root} is a link: comparisons are kept in a real folder")
        return self._root / check_path_id("comparison id", comparison_id)

    def _names(self) -> list[ComparisonId]:
        with suppress(OSError):
            if not self._root.is_symlink():
                return [ComparisonId(path.name) for path in self._root.iterdir()]
        return []

    def _contest(self, path: Path) -> Contest:
        """Return what the record says.

        Raises:
            FileNotFoundError: there is none.
            StorageError: it cannot be read (`CorruptRecordError`: it is damaged).
        """
        changed = _changed(path)
        known = self._read.get(path)
        if known is not None and known[0] == changed:
            return known[1]
        with explained("read", path):
            data = self._files.read(path)
        try:
            contest = Contest.model_validate_json(data)
        except ValidationError as error:
            raise CorruptRecordError(f"{path} is not the record of a comparison") from error
        self._read[path] = changed, contest
        return contest


def _changed(path: Path) -> int:
    try:
        found = os.lstat(path)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise FileNotFoundError(path) from error
    except OSError as error:
        raise storage_error("read", path, error) from error
    if not stat.S_ISREG(found.st_mode) or found.st_size > _LARGEST:
        raise CorruptRecordError(f"{path} is not the record of a comparison")
    return found.st_mtime_ns


def _acquire(lock: JobLock) -> None:
    """Take the lock; whoever looks whether somebody has it has it for a moment as well.

    Raises:
        ConflictError: a process has it.
        StorageError: as for the lock.
    """
    for _ in range(_LOOKS):
        with suppress(ConflictError):
            lock.acquire()
            return
        time.sleep(_MOMENT_S)
    lock.acquire()


def _is_held(path: Path) -> bool:
    """Tell whether a process, this one or another, holds the lock."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    finally:
        os.close(fd)
    return False


def _make_repository(folder: Path) -> None:
    """Make the least that git takes for a repository: no commit, no branch but the first."""
    with explained("create", folder):
        for name in ("objects", "refs"):
            (folder / name).mkdir(parents=True, exist_ok=True)
        (folder / "HEAD").write_text("ref: refs/heads/main\n", encoding="ascii")


def _make_writable(folder: Path) -> None:
    """Let folders be emptied: package caches, say, are made such that they cannot be."""
    for at, names, _ in os.walk(folder):
        for name in names:
            path = Path(at, name)
            if not path.is_symlink():
                with suppress(OSError):
                    path.chmod(0o700)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink()
