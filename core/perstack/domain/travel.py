"""Looking at a job as it was at a checkpoint, and going on from there: what is seen, as values."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from perstack.domain.ids import CheckpointId, JobId, RunId

if TYPE_CHECKING:
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
    """A file as a snapshot has it. Without a `digest` it is listed only, and `why` says so.

    `as_such`: a link or an empty folder, which is stored without a content.
    """

    path: str
    size: int
    digest: str | None = None
    why: str | None = None
    as_such: bool = False

    @property
    def is_stored(self) -> bool:
        """Whether it can be put back."""
        return self.as_such or self.digest is not None


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

    `workspace` is the folder to make for the copy, None for one beside the job's own. Without
    `copy_files` the fork works in the job's own folder. `newest_definition` takes the Expert as
    defined now instead of as it was. Nothing said, the fork goes on as the run would have.
    """

    text: str | None = None
    copy_files: bool = True
    workspace: Path | None = None
    newest_definition: bool = False
