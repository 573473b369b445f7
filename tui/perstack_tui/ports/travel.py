"""Looking at a job as it was at a checkpoint, and going on from there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

from perstack.domain.ids import CheckpointId, JobId, RunId
from perstack.domain.usage import Cost, Usage


@dataclass(frozen=True, slots=True)
class Moment:
    """A checkpoint of a run, of any job of the workspace."""

    job_id: JobId
    run_id: RunId
    checkpoint_id: CheckpointId


@dataclass(frozen=True, slots=True)
class MessageView:
    """A message of the model's conversation, in full. `text` is raw: make it inert to paint it.

    `title` is short: `assistant`, `writeTextFile CHANGELOG.md`. `is_error` is a tool's.
    """

    id: str
    kind: Literal["instruction", "user", "assistant", "tool"]
    title: str
    text: str
    is_error: bool = False


@dataclass(frozen=True, slots=True)
class FileView:
    """A file as a snapshot has it. Without a `digest` it is listed only, and `why` says so."""

    path: str
    size: int
    digest: str | None = None
    why: str | None = None


@dataclass(frozen=True, slots=True)
class MomentView:
    """All that is known of a checkpoint. `files` is None where no snapshot was taken.

    `usage` and `cost` are the run's up to here; `context` a fraction from 0 to 1.
    """

    moment: Moment
    step_number: int
    timestamp: int
    messages: tuple[MessageView, ...]
    usage: Usage
    cost: Cost
    context: float | None
    files: tuple[FileView, ...] | None


@dataclass(frozen=True, slots=True)
class FileChange:
    """How a file differs between two moments. Line counts are None for what is no text.

    `on_disk`: it is now neither as before nor as after, but as somebody left it since.
    """

    path: str
    change: Literal["added", "removed", "modified"]
    added: int | None = None
    removed: int | None = None
    on_disk: bool = False


@dataclass(frozen=True, slots=True)
class Comparison:
    """From one moment to another. `messages` are those that only the later one has.

    `unlike` is how many messages of the earlier one the later does not begin with. `files` is None
    where either has no snapshot. Usage and cost are differences, which may be negative.
    """

    before: Moment
    after: Moment
    messages: tuple[MessageView, ...]
    unlike: int
    files: tuple[FileChange, ...] | None
    tokens: int
    usd: float


@dataclass(frozen=True, slots=True)
class RestorePlan:
    """What restoring would do. `kept` were changed on the disk since and stay unless marked."""

    written: tuple[str, ...]
    removed: tuple[str, ...]
    kept: tuple[str, ...]
    missing: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ForkWish:
    """How to fork: with what the user says, in a copy of the files as they were, newly defined.

    `workspace` None makes a folder beside this one's `perstack/`; `newest_definition` takes the
    Expert as defined now instead of as it was.
    """

    text: str | None = None
    copy_files: bool = True
    workspace: Path | None = None
    newest_definition: bool = False


class Travel(Protocol):
    """All raise NotFoundError for a moment that is not recorded, CorruptRecordError for damage."""

    async def look(self, moment: Moment) -> MomentView:
        """Return the moment."""
        ...

    async def compare(self, before: Moment, after: Moment) -> Comparison:
        """Compare two moments of any runs and jobs of the workspace."""
        ...

    async def file_diff(self, before: Moment, after: Moment, path: str) -> Sequence[str]:
        """Return a unified diff of a file between two moments, line by line without newlines."""
        ...

    async def file_text(self, moment: Moment, path: str) -> str:
        """Return a file as it was, with replacement characters for what is no UTF-8."""
        ...

    async def plan_restore(self, moment: Moment) -> RestorePlan:
        """Return what restoring the moment's files would do."""
        ...

    async def restore(self, moment: Moment, *, also: Sequence[str] = ()) -> RestorePlan:
        """Restore files, after a snapshot of what is there; of those kept, only `also`.

        Raises:
            ConflictError: a process drives a job of the workspace.
        """
        ...

    async def why_not_resume(self, moment: Moment) -> str | None:
        """Return why the job cannot go on from there (a delegate's run, say), None if it can."""
        ...

    async def resume(self, moment: Moment, text: str | None = None) -> JobId:
        """Go on with the job from the moment, in this process; later checkpoints stay, a branch.

        Raises:
            ConflictError: a process drives it, or it cannot go on from there.
        """
        ...

    async def fork(self, moment: Moment, wish: ForkWish) -> JobId:
        """Start a new job from the moment; nothing that is there is overwritten.

        From a delegate's moment the new job is that delegate's alone.
        """
        ...
