"""Looking at a job as it was at a checkpoint, and going on from there."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from perstack.domain.ids import JobId
from perstack.domain.travel import (
    Comparison,
    FileChange,
    FileView,
    ForkWish,
    MessageView,
    Moment,
    MomentView,
    RestorePlan,
)

__all__ = [
    "Comparison",
    "FileChange",
    "FileView",
    "ForkWish",
    "MessageView",
    "Moment",
    "MomentView",
    "RestorePlan",
    "Travel",
]


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

    async def wants_text(self, moment: Moment) -> str | None:
        """Return why something has to be said to go on from there, None if nothing has to be."""
        ...

    async def resume(self, moment: Moment, text: str | None = None) -> JobId:
        """Go on with the job from the moment, in this process; later checkpoints stay, a branch.

        Raises:
            ConflictError: a process drives it, or it cannot go on from there.
            UsageError: something has to be said.
        """
        ...

    async def fork(self, moment: Moment, wish: ForkWish) -> JobId:
        """Start a new job from the moment; nothing that is there is overwritten.

        From a delegate's moment the new job is that delegate's alone.
        """
        ...
