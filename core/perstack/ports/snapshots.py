"""What the engine and services ask of snapshots: a workspace's files at a job's checkpoints."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

from perstack.domain.events import Event
from perstack.domain.ids import JobId, ToolCallId
from perstack.domain.settings import SnapshotSettings
from perstack.domain.snapshots import Entry, KeptFiles, Manifest, Mark


class FileKeeper(Protocol):
    """Keeps the files of one job that is driven."""

    def hear(self, event: Event) -> None:
        """Take note of what was recorded; never blocks, never raises."""
        ...

    async def before_writing(self, calls: Sequence[ToolCallId]) -> None:
        """Return once these calls may change files: the snapshots before them are taken."""
        ...


class Snapshots(Protocol):
    """Keeps the files of the jobs that this process drives."""

    def keep(
        self,
        job_id: JobId,
        workspace: Path,
        settings: SnapshotSettings,
        warn: Callable[[str], None],
    ) -> AbstractAsyncContextManager[FileKeeper]:
        """Keep the files of a job whose lock is held; what is begun is finished on exit, bounded.

        `warn` is called in the event loop with what a person should know.
        """
        ...


class _NoKeeper:
    def hear(self, event: Event) -> None:
        """Nothing is kept."""

    async def before_writing(self, calls: Sequence[ToolCallId]) -> None:
        """Nothing is waited for."""


class _NoSnapshots:
    @asynccontextmanager
    async def keep(
        self,
        job_id: JobId,
        workspace: Path,
        settings: SnapshotSettings,
        warn: Callable[[str], None],
    ) -> AsyncGenerator[FileKeeper]:
        """Keep nothing."""
        yield NO_KEEPER


NO_KEEPER: Final[FileKeeper] = _NoKeeper()
NO_SNAPSHOTS: Final[Snapshots] = _NoSnapshots()


@dataclass(frozen=True, slots=True)
class Restored:
    """What was put back. `kept` changed meanwhile or could not be touched, `missing` is lost."""

    written: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    kept: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Swept:
    """How many stored contents were removed, and their bytes on the disk."""

    blobs: int = 0
    size: int = 0

    def plus(self, other: Swept) -> Swept:
        """Return both together."""
        return Swept(self.blobs + other.blobs, self.size + other.size)


class Recorder(Protocol):
    """Records snapshots in one index. All methods block; one thread at a time."""

    def take(self, points: Sequence[str | None]) -> bool:
        """Record the files as they are now for these checkpoints (None: for no checkpoint).

        Returns False where there were too many files; that is recorded instead.

        Raises:
            StorageError: nothing was recorded.
        """
        ...

    def repeat(self, points: Sequence[str | None]) -> None:
        """Record that nothing has changed since the last `take`.

        Raises:
            StorageError: nothing was recorded.
        """
        ...

    def stop(self) -> None:
        """End a `take` that another thread is in, soon, with nothing recorded."""
        ...

    def close(self) -> None:
        """Write down what makes the next first `take` cheap; never raises."""
        ...


class SnapshotStore(Protocol):
    """All snapshots below one storage folder. All methods block."""

    def recorder(self, job_id: JobId, workspace: Path, settings: SnapshotSettings) -> Recorder:
        """Return what records the snapshots of a job whose lock is held."""
        ...

    def marks(self, job_id: JobId) -> Sequence[Mark]:
        """Return what was recorded of a job, in order; nothing for a job without."""
        ...

    def manifest(self, job_id: JobId, number: int) -> Manifest:
        """Return the files of a mark.

        Raises:
            NotFoundError: no such mark.
            CorruptRecordError: what it needs is damaged or gone.
        """
        ...

    def content(self, digest: str) -> bytes:
        """Return a stored content.

        Raises:
            NotFoundError: it is not stored.
            CorruptRecordError: it is damaged.
        """
        ...

    def look(self, workspace: Path, settings: SnapshotSettings) -> Manifest:
        """Return the files as they are now, storing nothing.

        Raises:
            LimitError: there are too many.
            StorageError: the folder cannot be read.
        """
        ...

    def keep_now(self, workspace: Path, settings: SnapshotSettings, name: str) -> Manifest:
        """Record the files as they are now outside any job, under a name.

        Raises:
            LimitError: there are too many.
            StorageError: nothing was recorded.
        """
        ...

    def kept(self, name: str) -> KeptFiles:
        """Return what `keep_now` recorded.

        Raises:
            NotFoundError: nothing of that name.
            CorruptRecordError: it is damaged.
        """
        ...

    def newest(
        self, workspace: Path, job_ids: Sequence[JobId], *, without: str | None = None
    ) -> Manifest:
        """Return the files as the newest snapshot has them, of these jobs or of `keep_now`.

        `without` is the name of one that does not count.
        """
        ...

    def restore(
        self, workspace: Path, wanted: Mapping[str, Entry | None], seen: Manifest
    ) -> Restored:
        """Put files in place, None: remove; each only if it still is as `seen`, one go each.

        Nothing is written or removed outside the folder, whatever links lie in it.
        """
        ...

    def copy_index(self, source: JobId, target: JobId, last: int) -> None:
        """Give `target` the marks of `source` up to number `last`."""
        ...

    def sweep(self, *, dry_run: bool = False, before: int | None = None) -> Swept:
        """Remove what no index names; what was kept outside jobs before then (Unix ms), too.

        Raises:
            ConflictError: snapshots are being taken all the time.
        """
        ...
