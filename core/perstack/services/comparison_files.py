"""The files of a comparison: a copy of the workspace for each contestant, and how they differ."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from perstack.domain.comparisons import ComparisonId
from perstack.domain.settings import SnapshotSettings
from perstack.domain.snapshots import EXCLUDED, IGNORED, LARGE, Entry, KeptFiles, Manifest, changes
from perstack.domain.travel import FileChange
from perstack.errors import NotFoundError
from perstack.ports.comparisons import ComparisonStore
from perstack.ports.snapshots import SnapshotStore
from perstack.services.copies import copy_large
from perstack.services.file_diffs import MOST_BYTES, counts, text_lines, unified

START: Final = "start"
_END: Final = "end-"
_DIFFED: Final = 200
_NOWHERE: Final = "/dev/null"


@dataclass(frozen=True, slots=True)
class FileDiff:
    """How one file differs. `lines` are those of a unified diff; none for what is no text."""

    change: FileChange
    lines: tuple[str, ...] = ()
    why_not: str | None = None


class ComparisonFiles:
    """The files of one comparison. All methods block."""

    def __init__(self, store: ComparisonStore, comparison_id: ComparisonId) -> None:
        self._store = store
        self._id = comparison_id
        self._files: SnapshotStore = store.files(comparison_id)
        self._start: KeptFiles | None = None

    # ---------------------------------------------------------------- keeping

    def keep_start(self, workspace: Path, settings: SnapshotSettings) -> None:
        """Keep the workspace's files as they are now; `settings` say what is left out.

        Raises:
            LimitError: there are too many.
            StorageError: they cannot be kept.
        """
        self._files.keep_now(workspace, settings, START)

    def copy(self, workspace: Path, label: str) -> int:
        """Make a contestant's folder with the files of the start; return how many it lacks.

        What git ignores and what snapshots leave out is not copied, and is none of them. Links are
        copied as links. What is too large to be kept is copied where it still is as it was.

        Raises:
            StorageError: the folder cannot be made.
        """
        start = self._kept_start().files
        folder = self._store.make_folder(self._id, label)
        wanted = {path: entry for path, entry in start.items() if entry.is_stored}
        done = self._files.restore(folder, wanted, {})
        lost = len(done.kept) + len(done.missing)
        for path, entry in start.items():
            if entry.why == LARGE:
                lost += not copy_large(workspace, folder, path, entry)
            elif entry.why is not None and entry.why not in (IGNORED, EXCLUDED):
                lost += 1
        return lost

    def keep_end(self, label: str) -> int:
        """Keep a contestant's files as it left them; return how many differ from the start.

        Raises:
            LimitError: there are too many.
            StorageError: they cannot be kept.
        """
        folder = self._store.folder(self._id, label)
        settings = self._kept_start().settings
        end = self._files.keep_now(folder, settings, _END + label)
        return len(_paths(self._of_start(), _seen(end)))

    # ---------------------------------------------------------------- looking

    def diffs(self, before: str | None, after: str | None) -> list[FileDiff]:
        """Compare the files of two contestants, None being those of the start.

        Raises:
            NotFoundError: nothing was kept, and the folder is gone.
            StorageError: the files cannot be read (`CorruptRecordError`: are damaged).
            LimitError: there are too many.
        """
        old, new = self._of(before), self._of(after)
        found: list[FileDiff] = []
        for path in _paths(old, new):
            found.append(
                self._diff(
                    path,
                    (before, old.get(path)),
                    (after, new.get(path)),
                    in_full=len(found) < _DIFFED,
                )
            )
        return found

    def _of_start(self) -> Manifest:
        files = self._kept_start().files
        return {path: each for path, each in files.items() if each.is_stored or each.why == LARGE}

    def _kept_start(self) -> KeptFiles:
        if self._start is None:
            self._start = self._files.kept(START)
        return self._start

    def _of(self, label: str | None) -> Manifest:
        """Return a contestant's files as it left them, or as they are while it is at work."""
        if label is None:
            return self._of_start()
        with suppress(NotFoundError):
            return _seen(self._files.kept(_END + label).files)
        folder = self._store.folder(self._id, label)
        if not folder.is_dir():
            raise NotFoundError(f"{label} has no files: its folder was never made, or is gone")
        return _seen(self._files.look(folder, self._kept_start().settings))

    def _diff(
        self,
        path: str,
        before: tuple[str | None, Entry | None],
        after: tuple[str | None, Entry | None],
        *,
        in_full: bool,
    ) -> FileDiff:
        one, other = before[1], after[1]
        kind = "added" if one is None else "removed" if other is None else "modified"
        if not in_full:
            return FileDiff(FileChange(path, kind), why_not=f"one of more than {_DIFFED} files")
        lines = [self._lines(label, path, entry) for label, entry in (before, after)]
        old, new = lines
        if old is None or new is None:
            return FileDiff(FileChange(path, kind), why_not=_no_text(one, other))
        added, removed = counts(old, new)
        return FileDiff(FileChange(path, kind, added, removed), tuple(unified(old, new)))

    def _lines(self, label: str | None, path: str, entry: Entry | None) -> list[str] | None:
        if entry is None:
            return []
        if entry.kind == "link":
            return [f"link to {entry.target}"]
        if entry.digest is None:
            return None
        return text_lines(self._content(label, path, entry.digest))

    def _content(self, label: str | None, path: str, digest: str) -> bytes:
        try:
            return self._files.content(digest)
        except NotFoundError:
            if label is None:
                raise
        # Of one at work nothing is kept yet: its files are read where they lie.
        return _content_below(self._store.folder(self._id, label), path)


def diff_lines(diffs: Sequence[FileDiff], before: str, after: str) -> Iterator[str]:
    """Yield a unified diff, each file named as `before/path` and `after/path`. Raw text."""
    for each in diffs:
        path = each.change.path
        old = _NOWHERE if each.change.change == "added" else f"{before}/{path}"
        new = _NOWHERE if each.change.change == "removed" else f"{after}/{path}"
        if each.why_not is not None:
            yield f"{each.change.change} {path}: not shown, {each.why_not}"
            continue
        yield f"--- {old}"
        yield f"+++ {new}"
        yield from each.lines


def _paths(before: Manifest, after: Manifest) -> list[str]:
    found = changes(before, after)
    return sorted((*found.added, *found.removed, *found.modified))


def _seen(files: Manifest) -> Manifest:
    """Leave out what git ignores: what is built, cached or installed is no work of anybody."""
    return {path: entry for path, entry in files.items() if entry.why != IGNORED}


def _no_text(one: Entry | None, other: Entry | None) -> str:
    sizes = [f"{entry.size:,} bytes" if entry is not None else "none" for entry in (one, other)]
    why = next((entry.why for entry in (one, other) if entry is not None and entry.why), None)
    return f"{why or 'no text, or too long'} ({sizes[0]} before, {sizes[1]} after)"


def _content_below(folder: Path, path: str) -> bytes:
    """Return a file's content, b"" where it is not what it was just now."""
    source = folder / path
    with suppress(OSError):
        if source.parent.resolve().is_relative_to(folder.resolve()):
            fd = os.open(source, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
            with os.fdopen(fd, "rb") as file:
                if stat.S_ISREG(os.fstat(fd).st_mode):
                    return file.read(MOST_BYTES + 1)
    return b""
