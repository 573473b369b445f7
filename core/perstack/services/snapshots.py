"""Keeps the files of the jobs that this process drives, beside their steps.

A snapshot is taken once a step's record is on the disk, in a thread, while the model is asked for
the next; the next tool that may change files waits for it. The first is taken just before the
first such tool begins, so that a job which changes nothing costs nothing.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import AsyncGenerator, Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import anyio
from anyio import to_thread

from perstack.domain.events import Event, StartRun, ToolReturned
from perstack.domain.ids import CheckpointId, JobId, ToolCallId
from perstack.domain.settings import SnapshotSettings
from perstack.errors import ConflictError, CorruptRecordError, PerstackError, StorageError
from perstack.ports.snapshots import NO_KEEPER, FileKeeper, Recorder, SnapshotStore
from perstack.projection.event_facts import made_checkpoint

_LOG: Final = logging.getLogger(__name__)

WAIT_AT_MOST_S: Final = 60.0
CLOSE_WITHIN_S: Final = 3.0
STOP_WITHIN_S: Final = 1.0


class SnapshotKeeping:
    """Implements `ports.snapshots.Snapshots` over a store; nothing is opened before it is used."""

    def __init__(self, open_store: Callable[[], SnapshotStore]) -> None:
        self._open_store = open_store

    @asynccontextmanager
    async def keep(
        self,
        job_id: JobId,
        workspace: Path,
        settings: SnapshotSettings,
        warn: Callable[[str], None],
    ) -> AsyncGenerator[FileKeeper]:
        """Keep the files of a job whose lock is held; what is begun is finished on exit, bounded.

        `warn` is called in the event loop with what a person should know.
        """
        if not settings.enabled:
            yield NO_KEEPER
            return
        keeper = JobFiles(lambda: self._open_store().recorder(job_id, workspace, settings), warn)
        try:
            yield keeper
        finally:
            with anyio.CancelScope(shield=True):
                await keeper.aclose()


class JobFiles:
    """The files of one job. One thread at a time takes its snapshots."""

    def __init__(self, open_recorder: Callable[[], Recorder], warn: Callable[[str], None]) -> None:
        self._open_recorder = open_recorder
        self._warn = warn
        self._recorder: Recorder | None = None
        self._thread: ThreadPoolExecutor | None = None
        self._work: Future[None] | None = None
        self._guard = threading.Lock()
        # The checkpoints that no snapshot was recorded for yet, and those that were seen. Once
        # tools may have changed files since, it is too late for them.
        self._points: list[CheckpointId] = []
        self._named: set[CheckpointId] = set()
        self._has_first = False
        self._is_changed = False
        self._writing: set[ToolCallId] = set()
        self._one_waits: anyio.CapacityLimiter | None = None
        self._missed: str | None = None
        self._trouble: str | None = None
        self._told: set[str] = set()

    def hear(self, event: Event) -> None:
        """Take note of what was recorded; never blocks, never raises."""
        body = event.body
        if isinstance(body, StartRun) and body.parent is not None:
            self._named.add(body.parent.checkpoint_id)
        elif isinstance(body, ToolReturned) and body.result.id in self._writing:
            self._writing.discard(body.result.id)
            self._is_changed = True
        point = made_checkpoint(event)
        if point is None or point in self._named:
            return
        self._named.add(point)
        with self._guard:
            self._points.append(point)
        if self._has_first and self._trouble is None:
            self._begin()

    async def before_writing(self, calls: Sequence[ToolCallId]) -> None:
        """Return once these calls may change files; if a snapshot takes too long, all the same."""
        if self._trouble is None and not self._has_first:
            self._has_first = True
            self._is_changed = True
            self._begin()
        await self._waited(WAIT_AT_MOST_S)
        if self._missed is not None and not self._is_busy:
            self._begin()  # once more: what these calls change is too late for it
            await self._waited(WAIT_AT_MOST_S)
        self._writing.update(calls)
        self._is_changed = True
        if not self._is_busy:
            with self._guard:
                self._points.clear()
            self._tell()
            self._missed = None

    async def aclose(self) -> None:
        """Finish what was begun, or give it up when that takes too long."""
        if self._thread is None:
            return
        if self._missed is not None:
            self._begin()
        self._work = self._thread.submit(self._close)
        await self._waited(CLOSE_WITHIN_S)
        if self._is_busy and self._recorder is not None:
            self._recorder.stop()
            # What is not recorded by then is no snapshot; the thread ends at its next look.
            await self._waited(STOP_WITHIN_S)
        self._thread.shutdown(wait=False)
        if self._is_busy:
            self._missed = "it took too long, and the job ends"
        self._tell()

    @property
    def _is_busy(self) -> bool:
        return self._work is not None and not self._work.done()

    def _begin(self) -> None:
        if self._thread is None:
            self._thread = ThreadPoolExecutor(1, thread_name_prefix="snapshots")
        is_changed, self._is_changed = self._is_changed, bool(self._writing)
        self._work = self._thread.submit(self._record, is_changed)

    async def _waited(self, at_most_s: float) -> None:
        """Wait for the snapshot that is being taken, however many runs do so with one thread."""
        if not self._is_busy:
            return
        if self._one_waits is None:
            self._one_waits = anyio.CapacityLimiter(1)
        with anyio.move_on_after(at_most_s):
            await to_thread.run_sync(
                self._wait, at_most_s, abandon_on_cancel=True, limiter=self._one_waits
            )

    def _wait(self, at_most_s: float) -> None:
        if self._work is not None:
            wait([self._work], at_most_s)

    def _tell(self) -> None:
        """Say what went wrong, each thing once."""
        said = None
        if self._trouble is not None:
            said = f"no more snapshots of the files: {self._trouble}"
        elif self._missed is not None:
            said = f"a snapshot of the files was not taken, the next will be tried: {self._missed}"
        if said is not None and said not in self._told:
            self._told.add(said)
            self._warn(said)

    # ---------------------------------------------------------------- in the thread

    def _record(self, is_changed: bool) -> None:
        is_changed = is_changed or self._missed is not None
        with self._guard:
            points, self._points = list(self._points), []
        if self._trouble is not None or not (points or is_changed):
            return
        self._missed = None
        try:
            self._recorded(points, is_changed=is_changed)
        except CorruptRecordError as error:
            self._trouble = str(error)
        except (ConflictError, StorageError, OSError) as error:
            # A full disk, a busy folder: that may pass. The files still are as at these points.
            self._missed = str(error)
            with self._guard:
                self._points[:0] = points
        except PerstackError as error:
            self._trouble = str(error)
        except Exception as bug:  # noqa: BLE001  a snapshot that fails must not fail the run
            _LOG.error("snapshots", exc_info=bug)
            self._trouble = f"internal error: {type(bug).__name__}"

    def _recorded(self, points: Sequence[CheckpointId], *, is_changed: bool) -> None:
        if self._recorder is None:
            self._recorder = self._open_recorder()
        if not is_changed:
            self._recorder.repeat(points)
        elif not self._recorder.take(points or [None]):
            self._trouble = "there are too many (maxFiles of [snapshots])"

    def _close(self) -> None:
        if self._recorder is not None:
            self._recorder.close()
