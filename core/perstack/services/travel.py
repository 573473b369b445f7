"""Looking at jobs as they were at their checkpoints."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from anyio import to_thread

from perstack.domain.events import Event
from perstack.domain.ids import CheckpointId, JobId, RunId
from perstack.domain.jobs import Job
from perstack.domain.settings import SnapshotSettings
from perstack.domain.snapshots import Entry, Manifest, changes
from perstack.domain.travel import (
    Comparison,
    FileChange,
    MessageView,
    Moment,
    MomentView,
)
from perstack.engine.recall import forked
from perstack.errors import LimitError, NotFoundError
from perstack.ports.history import History, StoredRun
from perstack.ports.snapshots import SnapshotStore
from perstack.projection.event_facts import made_checkpoint
from perstack.projection.moments import message_views, moment_view
from perstack.projection.run_state import RunState
from perstack.projection.state_fold import state_at
from perstack.services.file_diffs import counts, text_lines, unified
from perstack.services.looking import JobRuns, find_checkpoint

_RUNS_KEPT: Final = 4
_EVENTS_KEPT: Final = 100_000
_COUNTED: Final = 200
_NO_SNAPSHOT: Final = "no snapshot of the files was taken at this checkpoint"


@dataclass(frozen=True, slots=True)
class Recorded:
    """A moment as the history has it: `events` are the run's up to it."""

    run: StoredRun
    events: tuple[Event, ...]
    state: RunState

    @property
    def settings(self) -> SnapshotSettings:
        """What of the files the run had stored."""
        return self.run.setting.settings.snapshots


@dataclass(frozen=True, slots=True)
class _Held:
    """A run that was read; `ends` is the number of the event that made each checkpoint."""

    run: StoredRun
    ends: Mapping[CheckpointId, int]


class TravelService:
    """Moments of all jobs whose history `workspace` has."""

    def __init__(self, history: History, snapshots: SnapshotStore, workspace: Path) -> None:
        self.history = history
        self.snapshots = snapshots
        self.workspace = workspace.absolute()
        self._runs: OrderedDict[tuple[JobId, RunId], _Held] = OrderedDict()

    # ---------------------------------------------------------------- finding

    async def find(self, checkpoint_id: str, job_id: JobId | None = None) -> Moment:
        """Return the moment of a checkpoint, of this job, or of the oldest that has it.

        Raises:
            NotFoundError: no job has it.
        """
        point = CheckpointId(checkpoint_id)
        jobs = [job_id] if job_id else await self._oldest_first()
        for each in jobs:
            runs = JobRuns(await self.history.list_runs(each))
            found = await find_checkpoint(self.history, each, runs.ids, point)
            if found is not None:
                return Moment(each, found, point)
        raise NotFoundError(
            f"checkpoint not found: {checkpoint_id}",
            hint="perstack log --verbose lists the checkpoints of a job",
        )

    async def _oldest_first(self) -> list[JobId]:
        # A fork has its past from an older job, whose own it is.
        jobs = sorted(await self.history.list_jobs(), key=lambda job: job.started_at)
        return [job.id for job in jobs]

    async def recorded(self, moment: Moment) -> Recorded:
        """Return a moment as the history has it.

        Raises:
            NotFoundError: it is not recorded.
            CorruptRecordError: the history is damaged.
        """
        held = await self._run(moment)
        start = await forked(self.history, moment.job_id, held.run.setting.parent)

        def fold() -> Recorded:
            events = held.run.events[: held.ends[moment.checkpoint_id] + 1]
            return Recorded(held.run, events, state_at(events, moment.checkpoint_id, start=start))

        if moment.checkpoint_id not in held.ends:
            raise NotFoundError(
                f"checkpoint not found: {moment.checkpoint_id}",
                hint="perstack log lists the checkpoints of a job",
            )
        return await to_thread.run_sync(fold)

    async def files(self, moment: Moment) -> Manifest | None:
        """Return the files at a moment, None where no snapshot was taken.

        Raises:
            CorruptRecordError: the snapshot is damaged.
        """

        def read() -> Manifest | None:
            for mark in self.snapshots.marks(moment.job_id):
                if mark.point == moment.checkpoint_id:
                    if mark.why is not None:
                        return None
                    return self.snapshots.manifest(moment.job_id, mark.number)
            return None

        return await to_thread.run_sync(read)

    async def folder(self, job_id: JobId) -> Path:
        """Return the folder that a job works in."""
        return folder_of(await self.history.get_job(job_id), self.workspace)

    # ---------------------------------------------------------------- going on

    async def why_not_resume(self, moment: Moment) -> str | None:
        """Return why the job cannot go on from there, None if it can.

        Raises:
            NotFoundError: it is not recorded.
        """
        run = (await self._run(moment)).run
        if run.setting.delegated_by is not None:
            return "only the coordinator's checkpoints can be resumed: fork this one instead"
        look = await self.history.look_at_job(moment.job_id)
        return "a process works on the job: stop it first, or fork" if look.alive else None

    async def asks(self, moment: Moment) -> bool:
        """Tell whether a question to the user waits there."""
        state = (await self.recorded(moment)).state
        return state.status == "stoppedByInteractiveTool" and bool(state.pending_interactive)

    async def has_ended(self, moment: Moment) -> bool:
        """Tell whether the run was done, so that it goes on only when something is said."""
        return (await self.recorded(moment)).state.status == "completed"

    # ---------------------------------------------------------------- looking

    async def look(self, moment: Moment) -> MomentView:
        """Return the moment.

        Raises:
            NotFoundError: it is not recorded.
            CorruptRecordError: the history or the snapshot is damaged.
        """
        found = await self.recorded(moment)
        files = await self.files(moment)
        last = found.events[-1]
        return await to_thread.run_sync(
            moment_view, moment, found.state, last.timestamp, last.step_number, files
        )

    async def compare(self, before: Moment, after: Moment) -> Comparison:
        """Compare two moments of any runs and jobs.

        Raises:
            NotFoundError, CorruptRecordError: as for `look`.
        """
        old, new = await self.recorded(before), await self.recorded(after)
        old_files, new_files = await self.files(before), await self.files(after)
        folder = await self.folder(after.job_id)
        is_here = folder == await self.folder(before.job_id)

        def work() -> Comparison:
            mine, theirs = (tuple(message_views(of.state.messages)) for of in (old, new))
            same = 0
            while same < min(len(mine), len(theirs)) and _is_same(mine[same], theirs[same]):
                same += 1
            files = None
            if old_files is not None and new_files is not None:
                now = self._now(folder, new.settings) if is_here else None
                files = tuple(self._changes(old_files, new_files, now))
            return Comparison(
                before=before,
                after=after,
                messages=theirs[same:],
                unlike=len(mine) - same,
                files=files,
                tokens=new.state.usage.total_tokens - old.state.usage.total_tokens,
                usd=new.state.cost.usd - old.state.cost.usd,
            )

        return await to_thread.run_sync(work)

    async def file_diff(self, before: Moment, after: Moment, path: str) -> Sequence[str]:
        """Return a unified diff of a file, or a line that says why there is none.

        Raises:
            NotFoundError: neither moment has the file, or a snapshot.
            CorruptRecordError: a snapshot is damaged.
        """
        old, new = await self.files_taken(before), await self.files_taken(after)

        def work() -> Sequence[str]:
            one, other = old.get(path), new.get(path)
            if one is None and other is None:
                raise NotFoundError(f"no file {path!a} at either checkpoint")
            if one == other:
                return []
            lines = [self._lines(entry) for entry in (one, other)]
            if lines[0] is None or lines[1] is None:
                return [_no_text(one, other)]
            return list(unified(lines[0], lines[1]))

        return await to_thread.run_sync(work)

    async def file_text(self, moment: Moment, path: str) -> str:
        """Return a file as it was, with replacement characters for what is no UTF-8.

        Raises:
            NotFoundError: it was not there, or is listed only.
            CorruptRecordError: a snapshot is damaged.
        """
        entry = (await self.files_taken(moment)).get(path)
        if entry is None:
            raise NotFoundError(f"no file {path!a} at this checkpoint")
        if entry.digest is None:
            why = f"link to {entry.target}" if entry.target else entry.why or "a folder"
            raise NotFoundError(f"{path!a} is not stored: {why}")
        content = await to_thread.run_sync(self.snapshots.content, entry.digest)
        return content.decode("utf-8", "replace")

    # ---------------------------------------------------------------- pieces

    async def _run(self, moment: Moment) -> _Held:
        """Return a run that has the moment: once recorded it stays, so it need not be read anew."""
        key = (moment.job_id, moment.run_id)
        held = self._runs.pop(key, None)
        if held is None or moment.checkpoint_id not in held.ends:
            run = await self.history.read_run(*key)
            held = _Held(run, await to_thread.run_sync(_ends, run.events))
        self._runs[key] = held
        while len(self._runs) > 1 and (
            len(self._runs) > _RUNS_KEPT or self._events_held() > _EVENTS_KEPT
        ):
            self._runs.popitem(last=False)
        return held

    def _events_held(self) -> int:
        return sum(len(held.run.events) for held in self._runs.values())

    async def files_taken(self, moment: Moment) -> Manifest:
        """Return the files at a moment.

        Raises:
            NotFoundError: it is not recorded, or no snapshot was taken.
            CorruptRecordError: the snapshot is damaged.
        """
        await self._run(moment)
        found = await self.files(moment)
        if found is None:
            raise NotFoundError(_NO_SNAPSHOT, hint="files change with tools that write; see docs")
        return found

    def _now(self, folder: Path, settings: SnapshotSettings) -> Manifest | None:
        try:
            return self.snapshots.look(folder, settings)
        except LimitError:
            return None

    def _changes(
        self, before: Manifest, after: Manifest, now: Manifest | None
    ) -> Sequence[FileChange]:
        found = changes(before, after)
        made: list[FileChange] = []
        for path in sorted((*found.added, *found.removed, *found.modified)):
            one, other = before.get(path), after.get(path)
            since = now is not None and now.get(path) not in (one, other)
            lines = [self._lines(each) for each in (one, other)] if len(made) < _COUNTED else []
            added = removed = None
            if lines and lines[0] is not None and lines[1] is not None:
                added, removed = counts(lines[0], lines[1])
            kind = "added" if one is None else "removed" if other is None else "modified"
            made.append(FileChange(path, kind, added, removed, on_disk=since))
        return made

    def _lines(self, entry: Entry | None) -> list[str] | None:
        """Return the lines of a file, none of one that is not there, None for what is no text."""
        if entry is None:
            return []
        if entry.kind == "link":
            return [f"link to {entry.target}"]
        return None if entry.digest is None else text_lines(self.snapshots.content(entry.digest))


def folder_of(job: Job, workspace: Path) -> Path:
    """Return the folder that a job works in."""
    return Path(job.workspace) if job.workspace is not None else workspace


def _is_same(one: MessageView, other: MessageView) -> bool:
    # What a conversation begins with names the folder, and is another's with a new definition.
    return one.id == other.id or one.kind == other.kind == "instruction"


def _ends(events: Sequence[Event]) -> dict[CheckpointId, int]:
    """Return where each checkpoint was made: first, since a stop names the last one again."""
    found: dict[CheckpointId, int] = {}
    for at, event in enumerate(events):
        if (made := made_checkpoint(event)) is not None:
            found.setdefault(made, at)
    return found


def _no_text(one: Entry | None, other: Entry | None) -> str:
    sizes = [f"{entry.size:,} bytes" if entry is not None else "none" for entry in (one, other)]
    why = next((entry.why for entry in (one, other) if entry is not None and entry.why), None)
    return f"not shown ({why or 'no text, or too long'}): {sizes[0]} before, {sizes[1]} after"
