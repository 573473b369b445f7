"""What services ask of the tables of review loops and workflows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from perstack.domain.ids import SessionId
from perstack.domain.reviews import LoopId, LoopStatus, Review, ReviewLoop
from perstack.domain.workflows import PhaseResult, WorkflowReport, WorkflowRun, WorkflowRunId


@dataclass(frozen=True, slots=True)
class Lease:
    """Who drives a loop or a workflow. `driver` is an id that nobody else has.

    A driver whose last sign of life is older than `lost_before` (Unix ms) is taken for dead.
    """

    driver: str
    now_ms: int
    lost_before: int


class ReviewStore(Protocol):
    """Review loops and their reviews. One process at a time drives a loop."""

    async def add(self, loop: ReviewLoop) -> None:
        """Write a new loop, which nobody drives yet.

        Raises:
            ConflictError: there is one with its id.
        """
        ...

    async def get(self, loop_id: LoopId) -> ReviewLoop:
        """Return a loop with its reviews.

        Raises:
            NotFoundError: `Review loop not found`.
        """
        ...

    async def list(
        self,
        *,
        statuses: Sequence[LoopStatus] = (),
        session_id: SessionId | None = None,
        limit: int = 100,
    ) -> Sequence[ReviewLoop]:
        """Return loops with their reviews, newest first."""
        ...

    async def claim(self, loop_id: LoopId, lease: Lease) -> bool:
        """Take over a loop that has not ended and that no living process drives; say whether."""
        ...

    async def beat(self, loop_id: LoopId, lease: Lease) -> bool:
        """Say that the driver lives; False when the loop has ended or is driven by another."""
        ...

    async def advance(
        self, loop: ReviewLoop, lease: Lease, *, expected: LoopStatus, review: Review | None = None
    ) -> bool:
        """Write the loop as it now stands, with the new review, and say whether that was done.

        It is not when the stored status is no longer `expected`, or another process drives it.
        """
        ...

    async def abort(self, loop_id: LoopId, *, now_ms: int) -> bool:
        """Make a loop that has not ended `aborted`, whoever drives it; say whether it was."""
        ...

    async def release(self, loop_id: LoopId, lease: Lease) -> None:
        """Forget that the driver drives it, so that it can be taken over at once."""
        ...


class WorkflowStore(Protocol):
    """Runs of workflows, the results of their phases and their reports."""

    async def add(self, run: WorkflowRun) -> None:
        """Write a new run, which nobody drives yet.

        Raises:
            ConflictError: there is one with its id.
        """
        ...

    async def get(self, run_id: WorkflowRunId) -> WorkflowRun:
        """Return a run with the results of its phases.

        Raises:
            NotFoundError: `Workflow run not found`.
        """
        ...

    async def list(self, *, limit: int = 100) -> Sequence[WorkflowRun]:
        """Return runs, newest first."""
        ...

    async def claim(self, run_id: WorkflowRunId, lease: Lease) -> bool:
        """Take over a run that no living process drives and that failed or has not ended.

        It is `running` then. Says whether that was possible.
        """
        ...

    async def beat(self, run_id: WorkflowRunId, lease: Lease) -> bool:
        """Say that the driver lives; False when the run has ended or is driven by another."""
        ...

    async def add_result(
        self, run_id: WorkflowRunId, number: int, result: PhaseResult, lease: Lease
    ) -> bool:
        """Write a phase's result as the run's `number`-th (from 0); False as for `beat`."""
        ...

    async def finish(
        self,
        run_id: WorkflowRunId,
        lease: Lease,
        *,
        report: WorkflowReport | None,
        error: str | None,
    ) -> bool:
        """End a run: completed with its report, or failed with the error; False as for `beat`."""
        ...

    async def abort(self, run_id: WorkflowRunId, *, now_ms: int) -> bool:
        """Make a run that has not ended `aborted`, whoever drives it; say whether it was."""
        ...

    async def release(self, run_id: WorkflowRunId, lease: Lease) -> None:
        """Forget that the driver drives it, so that it can be taken over at once."""
        ...
