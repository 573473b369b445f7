"""Jobs as they were at their checkpoints."""

from __future__ import annotations

from collections.abc import Sequence

from perstack.domain.ids import JobId
from perstack.errors import ConflictError
from perstack_tui.ports.travel import Comparison, ForkWish, Moment, MomentView, RestorePlan


class FakeTravel:
    """Has nothing yet."""

    async def look(self, moment: Moment) -> MomentView:
        """Return the moment."""
        raise unmade("look")

    async def compare(self, before: Moment, after: Moment) -> Comparison:
        """Compare two moments of any runs and jobs of the workspace."""
        raise unmade("compare")

    async def file_diff(self, before: Moment, after: Moment, path: str) -> Sequence[str]:
        """Return a unified diff of a file between two moments, line by line without newlines."""
        raise unmade("file_diff")

    async def file_text(self, moment: Moment, path: str) -> str:
        """Return a file as it was, with replacement characters for what is no UTF-8."""
        raise unmade("file_text")

    async def plan_restore(self, moment: Moment) -> RestorePlan:
        """Return what restoring the moment's files would do."""
        raise unmade("plan_restore")

    async def restore(self, moment: Moment, *, also: Sequence[str] = ()) -> RestorePlan:
        """Restore files, after a snapshot of what is there; of those kept, only `also`."""
        raise unmade("restore")

    async def why_not_resume(self, moment: Moment) -> str | None:
        """Return why the job cannot go on from there (a delegate's run, say), None if it can."""
        raise unmade("why_not_resume")

    async def resume(self, moment: Moment, text: str | None = None) -> JobId:
        """Go on with the job from the moment, in this process; later checkpoints stay, a branch."""
        raise unmade("resume")

    async def fork(self, moment: Moment, wish: ForkWish) -> JobId:
        """Start a new job from the moment; nothing that is there is overwritten."""
        raise unmade("fork")


def unmade(what: str) -> ConflictError:
    """Return that something is not made yet."""
    return ConflictError(f"{what} is not made yet")
