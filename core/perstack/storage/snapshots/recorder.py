"""Records the snapshots of one job, or of a workspace outside any job."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

from perstack.domain.snapshots import Entry
from perstack.errors import LimitError, StorageError
from perstack.ports.system import Clock
from perstack.storage.files import Files, explained
from perstack.storage.snapshots.blobs import Blobs
from perstack.storage.snapshots.index import SnapshotIndex
from perstack.storage.snapshots.seen import load_seen, save_seen, seen_path
from perstack.storage.snapshots.survey import Survey
from perstack.storage.snapshots.walk import StoppedError

_log = logging.getLogger(__name__)


class FileRecorder:
    """Implements `ports.snapshots.Recorder`: contents first, then the line that names them."""

    def __init__(
        self, files: Files, blobs: Blobs, index: Path, survey: Survey, clock: Clock
    ) -> None:
        self.survey = survey
        self._files = files
        self._blobs = blobs
        self._clock = clock
        self._writing = blobs.writing()
        self._index = SnapshotIndex(files, index, self._writing.put, blobs.get)
        self._seen = seen_path(blobs.folder, survey.root)
        self._is_first = True
        self._too_many: str | None = None

    def take(self, points: Sequence[str | None]) -> bool:
        """Record the files as they are now; False where there are too many.

        Raises:
            ConflictError: contents are being removed all the time.
            StorageError: nothing was recorded.
        """
        return self.record(points) is not None

    def record(
        self, points: Sequence[str | None], *, note: object = None
    ) -> dict[str, Entry] | None:
        """Do what `take` does, and return the files. A `note` may be any JSON."""
        if self._too_many is not None:
            return None
        with self._blobs.held(alone=False, stopped=lambda: self.survey.is_stopped):
            if self._is_first:
                self.survey.known = load_seen(self._files, self._seen)
                self._is_first = False
            self._writing.begin()
            try:
                return self._survey(points, note)
            except BaseException:
                # What was stored for nothing may be removed: nothing of it counts as known.
                self._index.forget()
                self._writing.give_up()
                self.survey.known = {}
                raise

    def repeat(self, points: Sequence[str | None]) -> None:
        """Record that nothing has changed since the last `take`.

        Raises:
            StorageError: nothing was recorded.
        """
        if self._too_many is not None:
            self._index.append_why(self._too_many, points, at=self._clock.now_ms())
            return
        self._index.append(self._index.prepare(None), points, at=self._clock.now_ms())

    def stop(self) -> None:
        """End a `take` of another thread soon."""
        self.survey.is_stopped = True

    def close(self) -> None:
        """Remember what was read."""
        if self._is_first or self._too_many is not None:
            return
        try:
            with self._blobs.held(alone=False, stopped=lambda: self.survey.is_stopped):
                save_seen(self._files, self._seen, self.survey.known)
        except (StorageError, OSError) as error:
            _log.warning("what was read of %s is not kept: %s", self.survey.root, error)

    def _survey(self, points: Sequence[str | None], note: object) -> dict[str, Entry] | None:
        now = self._clock.now_ms()
        with explained("store files of", self.survey.root):
            try:
                manifest = self.survey.run(self._writing.put)
            except LimitError as error:
                self._too_many = error.message
                self._index.append_why(error.message, points, at=now)
                return None
            except StoppedError as error:
                raise StorageError("a snapshot was cut off by a stop") from error
            members = self._index.prepare(manifest)
            self._writing.finish()
        if note is not None:
            members = self._index.with_note(members, note)
        self._index.append(members, points, at=now)
        return manifest
