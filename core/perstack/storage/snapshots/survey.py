"""From what lies in a workspace to a manifest: only what looks different is read."""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from perstack.domain.settings import SnapshotSettings
from perstack.domain.snapshots import LARGE, Entry
from perstack.storage.snapshots.ignored import Ignored
from perstack.storage.snapshots.walk import Found, Stamp, StoppedError, Walk

# Two changes within a tick of the file system's clock look alike from outside.
_FINE_TICK_NS: Final = 50_000_000
_COARSE_TICK_NS: Final = 3_000_000_000
_SECOND_NS: Final = 1_000_000_000
_PIECE: Final = 1 << 20
BEING_WRITTEN: Final = "changed while it was read"


@dataclass(frozen=True, slots=True)
class Known:
    """What a file was when it was read, and what its content was."""

    stamp: Stamp
    entry: Entry


class Survey:
    """A workspace that is looked at again and again. `reads` counts the files that were read."""

    def __init__(self, root: Path, settings: SnapshotSettings, *, storage: Path) -> None:
        self.root = root
        self.known: dict[str, Known] = {}
        self.reads = 0
        self.looks = 0
        self.is_stopped = False
        self._settings = settings
        self._storage = storage
        self._ignored = Ignored(settings.exclude)

    def run(self, put: Callable[[bytes], str]) -> dict[str, Entry]:
        """Return the files as they are; `put` is given each content that is not known yet.

        Raises:
            LimitError: there are too many.
            StorageError: the folder cannot be read.
            OSError: `put` could not store something.
            StoppedError: somebody set `is_stopped`.
        """
        walk = Walk(
            self.root,
            self._settings,
            self._ignored,
            storage=self._storage,
            stopped=lambda: self.is_stopped,
        )
        known: dict[str, Known] = {}
        manifest: dict[str, Entry] = {}
        for found in walk.entries():
            manifest[found.path] = self._entry(found, known, put)
        self.known = known
        self.looks += walk.looks
        return manifest

    def _entry(self, found: Found, known: dict[str, Known], put: Callable[[bytes], str]) -> Entry:
        before = self.known.get(found.path)
        if found.why is not None or found.kind == "folder":
            made = Entry(found.kind, found.mode, 0, why=found.why)
            if found.kind == "file":
                made = Entry("file", found.mode, found.stamp.size, why=found.why)
            return made if before is None or before.entry != made else before.entry
        if before is not None and before.stamp == found.stamp and before.entry.mode == found.mode:
            known[found.path] = before
            return before.entry
        looked_at = time.time_ns()
        if found.kind == "link":
            return self._link(found)
        entry = self._file(found, put)
        if before is not None and before.entry == entry:
            entry = before.entry
        if entry.is_stored and _has_settled(found.stamp, looked_at):
            known[found.path] = Known(found.stamp, entry)
        return entry

    def _link(self, found: Found) -> Entry:
        try:
            target = os.readlink(self.root / found.path)  # noqa: PTH115  half surrogates stay
        except OSError as error:
            return Entry("link", found.mode, why=error.strerror or "unreadable")
        return Entry("link", 0o777, len(target), target=target)

    def _file(self, found: Found, put: Callable[[bytes], str]) -> Entry:
        stamp, why = found.stamp, BEING_WRITTEN
        for _ in range(2):
            self.reads += 1
            try:
                content, after = _read(self.root / found.path, self._most, lambda: self.is_stopped)
            except OSError as error:
                why = error.strerror or "unreadable"
                break
            if content is None:
                why = LARGE
                break
            if after == stamp:
                return Entry("file", found.mode, len(content), digest=put(content))
            stamp = after
        return Entry("file", found.mode, found.stamp.size, why=why)

    @property
    def _most(self) -> int:
        return self._settings.max_file_bytes


def _has_settled(stamp: Stamp, looked_at: int) -> bool:
    """Tell whether any later change would show."""
    is_coarse = stamp.ctime_ns % _SECOND_NS == 0
    return stamp.ctime_ns + (_COARSE_TICK_NS if is_coarse else _FINE_TICK_NS) < looked_at


def _read(path: Path, most: int, stopped: Callable[[], bool]) -> tuple[bytes | None, Stamp]:
    """Return a file's content, None for too much of it, and how it looks after that."""
    fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        found = os.fstat(fd)
        if not stat.S_ISREG(found.st_mode):
            return None, Stamp.of(found)
        pieces: list[bytes] = []
        size = 0
        while piece := os.read(fd, _PIECE):
            pieces.append(piece)
            size += len(piece)
            if size > most:
                return None, Stamp.of(found)
            if stopped():
                raise StoppedError
        return b"".join(pieces), Stamp.of(os.fstat(fd))
    finally:
        os.close(fd)
