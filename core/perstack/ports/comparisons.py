"""What comparing asks of the disk: where comparisons are kept, their folders and their files."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from perstack.domain.comparisons import ComparisonId, Contest
from perstack.ports.snapshots import SnapshotStore


@dataclass(frozen=True, slots=True)
class Stored:
    """A comparison as it is stored; `alive` tells whether a process runs it now."""

    contest: Contest
    alive: bool

    @property
    def shown(self) -> Contest:
        """The comparison as it stands: what a dead process left unfinished is lost."""
        return self.contest if self.alive else self.contest.as_lost()


class ComparisonStore(Protocol):
    """All comparisons of a workspace. All methods block."""

    def begin(self, contest: Contest) -> None:
        """Make the comparison's folder and hold it until `release`; `save` makes it one that is.

        Raises:
            ConflictError: there is one with this id.
            StorageError: it could not be made.
        """
        ...

    def save(self, contest: Contest) -> None:
        """Replace the record in one go, durably.

        Raises:
            StorageError: it could not be written.
        """
        ...

    def release(self, comparison_id: ComparisonId) -> None:
        """Hold it no longer; idempotent."""
        ...

    def get(self, comparison_id: ComparisonId) -> Stored:
        """Return one.

        Raises:
            NotFoundError: there is none.
            StorageError: it cannot be read (`CorruptRecordError`: it is damaged).
        """
        ...

    def list(self) -> Sequence[Stored]:
        """Return all that can be read, newest first."""
        ...

    def version(self) -> str:
        """Return what is another once any of them changed; cheap."""
        ...

    def folder(self, comparison_id: ComparisonId, label: str) -> Path:
        """Return where a contestant works."""
        ...

    def make_folder(self, comparison_id: ComparisonId, label: str) -> Path:
        """Make a contestant's folder.

        Programs that look for a git repository above it find an empty one there, and never that
        of the workspace.

        Raises:
            StorageError: it could not be made.
        """
        ...

    def files(self, comparison_id: ComparisonId) -> SnapshotStore:
        """Return where the files at the start and at each end are kept."""
        ...

    def ask_stop(self, comparison_id: ComparisonId) -> None:
        """Ask the process that runs it to stop all contestants at a checkpoint.

        Raises:
            ConflictError: no process runs it.
            StorageError: it cannot be asked.
        """
        ...

    def is_asked_to_stop(self, comparison_id: ComparisonId) -> bool:
        """Tell whether somebody asked for that."""
        ...

    def remove(self, comparison_id: ComparisonId) -> int:
        """Remove one with its folders and jobs; return how many bytes they were.

        Raises:
            NotFoundError: there is none.
            ConflictError: a process runs it.
            StorageError: not all of it could be removed.
        """
        ...
