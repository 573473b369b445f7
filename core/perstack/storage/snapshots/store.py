"""All snapshots below one storage folder.

jobs/{jobId}/snapshots.jsonl      those of a job, at its checkpoints
snapshots/{name}.jsonl            one outside any job: of before and after a restoration
blobs/ab/cdef…                    contents and manifests
blobs/lock, blobs/seen-…          who adds or removes; what was read of a workspace before
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

from pydantic import ValidationError

from perstack.domain.ids import JobId, check_path_id
from perstack.domain.settings import SnapshotSettings
from perstack.domain.snapshots import Entry, KeptFiles, Manifest, Mark
from perstack.errors import ConflictError, CorruptRecordError, LimitError, NotFoundError
from perstack.ports.snapshots import Restored, Swept
from perstack.ports.system import Clock
from perstack.storage.files import Files, explained, make_folders, replace_file
from perstack.storage.history.layout import Layout
from perstack.storage.snapshots.blobs import Blobs, digest_of
from perstack.storage.snapshots.index import SnapshotIndex
from perstack.storage.snapshots.placing import Placing
from perstack.storage.snapshots.recorder import FileRecorder
from perstack.storage.snapshots.seen import load_seen, seen_path, seen_paths
from perstack.storage.snapshots.survey import Survey

INDEX: Final = "snapshots.jsonl"
_READERS_KEPT: Final = 8


class FileSnapshots:
    """Implements `ports.snapshots.SnapshotStore`."""

    def __init__(
        self, workspace: Path, *, clock: Clock, files: Files | None = None, folder: Path | None
    ) -> None:
        self._files = files or Files()
        self._layout = Layout(workspace.absolute(), folder.absolute() if folder else None)
        self._clock = clock
        self._guard = threading.Lock()
        self._readers: OrderedDict[Path, SnapshotIndex] = OrderedDict()
        self.blobs = Blobs(
            self._files, self._layout.storage / "blobs", below=self._layout.workspace
        )

    # ---------------------------------------------------------------- recording

    def recorder(self, job_id: JobId, workspace: Path, settings: SnapshotSettings) -> FileRecorder:
        """Return what records the snapshots of a job whose lock is held."""
        return self._recorder(self._of_job(job_id), workspace, settings)

    def keep_now(self, workspace: Path, settings: SnapshotSettings, name: str) -> Manifest:
        """Record the files as they are now outside any job, under a name.

        Raises:
            LimitError: there are too many.
            StorageError: nothing was recorded.
        """
        index = self._outside(name)
        make_folders(self._files, index.parent, below=self._layout.workspace)
        if index.exists():
            raise ConflictError(f"a snapshot {name} exists already")
        recorder = self._recorder(index, workspace, settings)
        manifest = recorder.record([str(workspace)], note=settings.model_dump(mode="json"))
        recorder.close()
        if manifest is None:
            raise LimitError("there are too many files for a snapshot")
        return manifest

    def look(self, workspace: Path, settings: SnapshotSettings) -> Manifest:
        """Return the files as they are now, storing nothing.

        Raises:
            LimitError: there are too many.
            StorageError: the folder cannot be read.
        """
        survey = Survey(workspace, settings, storage=self._layout.storage)
        survey.known = load_seen(self._files, seen_path(self.blobs.folder, workspace))
        return survey.run(digest_of)

    def _recorder(self, index: Path, workspace: Path, settings: SnapshotSettings) -> FileRecorder:
        survey = Survey(workspace, settings, storage=self._layout.storage)
        return FileRecorder(self._files, self.blobs, index, survey, self._clock)

    # ---------------------------------------------------------------- reading

    def marks(self, job_id: JobId) -> Sequence[Mark]:
        """Return what was recorded of a job, in order.

        Raises:
            CorruptRecordError: the index is damaged.
        """
        return self._reader(self._of_job(job_id)).marks()

    def manifest(self, job_id: JobId, number: int) -> Manifest:
        """Return the files of a mark.

        Raises:
            NotFoundError: no such mark.
            CorruptRecordError: what it needs is damaged or gone.
        """
        return self._reader(self._of_job(job_id)).manifest(number)

    def kept(self, name: str) -> KeptFiles:
        """Return what `keep_now` recorded.

        Raises:
            NotFoundError: nothing of that name.
            CorruptRecordError: it is damaged.
        """
        path = self._outside(name)
        index = self._index(path)
        marks = index.marks()
        if not marks:
            raise NotFoundError(
                f"neither a checkpoint nor a snapshot has this name: {name}",
                hint="perstack log --verbose lists the checkpoints of a job",
            )
        files = index.manifest(0)
        try:
            settings = SnapshotSettings.model_validate(index.note())
        except ValidationError as error:
            raise CorruptRecordError(f"{path} does not say what was left out") from error
        return KeptFiles(Path(marks[0].point or ""), files, settings)

    def newest(
        self, workspace: Path, job_ids: Sequence[JobId], *, without: str | None = None
    ) -> Manifest:
        """Return the files as the newest snapshot has them; nothing where there is none.

        Raises:
            CorruptRecordError: an index is damaged.
        """
        best: tuple[int, Path, int] | None = None
        outside = [path for path in self._all_outside() if path.stem != without]
        of_jobs = [self._of_job(job_id) for job_id in job_ids]
        for path in (*of_jobs, *outside):
            mark = self._index(path).last_taken()
            if mark is None or (path in outside and mark.point != str(workspace)):
                continue
            if best is None or mark.at >= best[0]:
                best = mark.at, path, mark.number
        return self._reader(best[1]).manifest(best[2]) if best is not None else {}

    def content(self, digest: str) -> bytes:
        """Return a stored content.

        Raises:
            NotFoundError: it is not stored.
            CorruptRecordError: it is damaged.
        """
        return self.blobs.get(digest)

    # ---------------------------------------------------------------- changing

    def restore(
        self, workspace: Path, wanted: Mapping[str, Entry | None], seen: Manifest
    ) -> Restored:
        """Put files in place, None: remove; each only if it still is as `seen`.

        Raises:
            StorageError: the folder cannot be opened.
        """
        return Placing(workspace, self.blobs.get).restore(wanted, seen)

    def copy_index(self, source: JobId, target: JobId, last: int) -> None:
        """Give `target` the marks of `source` up to number `last`.

        Raises:
            StorageError: they cannot be copied.
        """
        path = self._of_job(source)
        with self.blobs.held(alone=False):
            with explained("read", path):
                lines = self._files.read(path).splitlines(keepends=True)
            replace_file(self._files, self._of_job(target), b"".join(lines[: last + 1]))

    def sweep(self, *, dry_run: bool = False, before: int | None = None) -> Swept:
        """Remove what no index names; what was kept outside jobs before then (Unix ms), too.

        Raises:
            ConflictError: snapshots are being taken all the time.
            CorruptRecordError: an index is damaged: nobody knows what it names.
        """
        if not self.blobs.folder.is_dir():
            return Swept()
        with self.blobs.held(alone=True):
            old = [path for path in self._all_outside() if self._is_older(path, before)]
            named = self._named(frozenset(old))
            swept = Swept()
            with explained("remove", self.blobs.folder):
                if not dry_run:
                    for path in (*seen_paths(self.blobs.folder), *old, *self.blobs.leftovers()):
                        self._files.remove(path)
                for digest, path in self.blobs.all():
                    if digest not in named:
                        swept = swept.plus(Swept(1, path.stat().st_size))
                        if not dry_run:
                            self._files.remove(path)
            return swept

    def _named(self, without: frozenset[Path]) -> set[str]:
        indexes = [*self._layout.jobs.glob(f"*/{INDEX}"), *self._all_outside()]
        return {
            digest
            for path in indexes
            if path not in without
            for digest in self._index(path).digests()
        }

    def _is_older(self, path: Path, before: int | None) -> bool:
        if before is None:
            return False
        marks = self._index(path).marks()
        return not marks or marks[-1].at < before

    # ---------------------------------------------------------------- where

    def _index(self, path: Path) -> SnapshotIndex:
        return SnapshotIndex(self._files, path, digest_of, self.blobs.get)

    def _reader(self, path: Path) -> SnapshotIndex:
        """Return an index that remembers what it read; those that were used last are kept."""
        with self._guard:
            index = self._readers.pop(path, None) or self._index(path)
            self._readers[path] = index
            while len(self._readers) > _READERS_KEPT:
                self._readers.popitem(last=False)
            return index

    def _of_job(self, job_id: JobId) -> Path:
        return self._layout.job(job_id) / INDEX

    def _outside(self, name: str) -> Path:
        return self._layout.storage / "snapshots" / f"{check_path_id('snapshot', name)}.jsonl"

    def _all_outside(self) -> list[Path]:
        with suppress(FileNotFoundError):
            return list((self._layout.storage / "snapshots").glob("*.jsonl"))
        return []
