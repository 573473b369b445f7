"""What services ask of the store of consensus checkpoints."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol

from pydantic import JsonValue

from perstack.domain.consensus import ConsensusCheckpoint, ConsensusStatus, Decision, Review
from perstack.domain.ids import ConsensusId, JobId, RunId, StandingId
from perstack.domain.standing import StandingApproval

AuditEvent = Literal[
    "created",
    "approved",
    "rejected",
    "expired",
    "subtask_rejected",
    "review_started",
    "reviewed",
    "standing_approved",
    "standing_revoked",
]


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """What happened to a checkpoint, by whom. `at` in Unix milliseconds."""

    event: AuditEvent
    actor: str
    actor_type: Literal["agent", "human", "system"]
    at: int
    details: Mapping[str, JsonValue] = field(default_factory=dict[str, JsonValue])


@dataclass(frozen=True, slots=True)
class CheckpointPage:
    """Some checkpoints, and how many there are in all."""

    checkpoints: tuple[ConsensusCheckpoint, ...]
    total: int


@dataclass(frozen=True, slots=True)
class ReviewClaim:
    """Who reviews: `holder` is one process, whose claim counts until `until_ms` (Unix ms)."""

    holder: str
    until_ms: int
    reviewer: str
    model: str | None = None


class ConsensusStore(Protocol):
    """Consensus checkpoints and their audit log, shared by all processes of a workspace."""

    async def create(self, checkpoint: ConsensusCheckpoint) -> None:
        """Write a pending checkpoint and its audit entry; again with the same content: nothing.

        Raises:
            ConflictError: one with that id but another run or other subtasks exists.
        """
        ...

    async def get(self, consensus_id: ConsensusId) -> ConsensusCheckpoint:
        """Return it.

        Raises:
            NotFoundError: no such checkpoint.
        """
        ...

    async def list(
        self, *, statuses: Sequence[ConsensusStatus] = (), limit: int = 100
    ) -> Sequence[ConsensusCheckpoint]:
        """Return those with any of `statuses` (all when empty), newest first."""
        ...

    async def page(
        self, *, statuses: Sequence[ConsensusStatus], limit: int, offset: int
    ) -> CheckpointPage:
        """Return those with any of `statuses`, oldest first, and how many there are."""
        ...

    async def find_by_run(self, run_id: RunId) -> Sequence[ConsensusCheckpoint]:
        """Return the run's checkpoints, newest first."""
        ...

    async def decide(
        self,
        consensus_id: ConsensusId,
        decision: Decision,
        *,
        now_ms: int,
        standing: Sequence[StandingApproval] = (),
    ) -> ConsensusCheckpoint:
        """Decide a pending, unexpired checkpoint with one conditional update.

        Where no run waits, the approved subtasks become tasks in the same transaction. `standing`
        is written in it, too.

        Raises:
            NotFoundError: no such checkpoint.
            UsageError: a subtask to reject is unknown, or an approval would keep none.
            ConflictError: it was decided or has expired; the message says by whom and when.
        """
        ...

    async def expire_due(self, *, now_ms: int, auto_reject: bool) -> Sequence[ConsensusCheckpoint]:
        """Expire (or, with `auto_reject`, reject) what is pending and overdue; return those."""
        ...

    async def list_standing(self, job_id: JobId | None = None) -> Sequence[StandingApproval]:
        """Return a job's standing approvals, or all, newest first; also those taken back."""
        ...

    async def revoke_standing(
        self, standing_id: StandingId, *, by: str, now_ms: int
    ) -> StandingApproval:
        """Take a standing approval back; again does nothing.

        Raises:
            NotFoundError: there is no such one.
        """
        ...

    async def claim_review(
        self, consensus_id: ConsensusId, claim: ReviewClaim, *, now_ms: int
    ) -> ConsensusCheckpoint | None:
        """Claim the review of a pending checkpoint, and return it; None when it is not to be had.

        It is not once a review has found something, nor while another's claim counts.

        Raises:
            NotFoundError: no such checkpoint.
        """
        ...

    async def renew_review(self, consensus_id: ConsensusId, holder: str, *, until_ms: int) -> bool:
        """Keep a claim; False when it is lost, or the checkpoint is not pending any more."""
        ...

    async def finish_review(self, consensus_id: ConsensusId, holder: str, review: Review) -> bool:
        """Write down what the holder found and give the claim up; False as for `renew_review`."""
        ...

    async def find_ids(self, prefix: str) -> Sequence[ConsensusId]:
        """Return at most two ids that begin with `prefix`: enough to tell one from several."""
        ...

    async def audit(self, consensus_id: ConsensusId) -> Sequence[AuditEntry]:
        """Return what happened to a checkpoint, in order; empty when there is no such one."""
        ...

    async def version(self) -> str:
        """Return a value that is another one whenever anything changed. Cheap: made for polling."""
        ...

    async def aclose(self) -> None:
        """Close the connection."""
        ...


class Gate(Protocol):
    """Where the engine leaves risky work and waits."""

    async def propose(self, checkpoint: ConsensusCheckpoint) -> None:
        """Write the checkpoint for reviewers to see; again with the same id does nothing."""
        ...

    async def wait(self, consensus_id: ConsensusId) -> ConsensusCheckpoint:
        """Return the checkpoint once it was decided or has expired.

        Raises:
            NotFoundError: it was never proposed.
        """
        ...

    async def show(self, consensus_id: ConsensusId) -> ConsensusCheckpoint:
        """Return the checkpoint as it stands.

        Raises:
            NotFoundError: it was never proposed.
        """
        ...

    async def standing_of(self, job_id: JobId) -> Sequence[StandingApproval]:
        """Return the standing approvals of a job; also those taken back."""
        ...

    async def withdraw(self, consensus_id: ConsensusId, why: str) -> None:
        """Close a checkpoint that nothing waits at any more; a decision stays as it is."""
        ...
