"""What services ask of the store of consensus checkpoints."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from perstack.domain.consensus import ConsensusCheckpoint, ConsensusStatus, Decision
from perstack.domain.ids import ConsensusId, RunId


class ConsensusStore(Protocol):
    """Consensus checkpoints and their audit log, shared by all processes of a workspace."""

    async def create(self, checkpoint: ConsensusCheckpoint) -> None:
        """Write a pending checkpoint and its audit entry."""
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

    async def find_by_run(self, run_id: RunId) -> Sequence[ConsensusCheckpoint]:
        """Return the run's checkpoints, newest first."""
        ...

    async def decide(
        self, consensus_id: ConsensusId, decision: Decision, *, now_ms: int
    ) -> ConsensusCheckpoint:
        """Decide a pending, unexpired checkpoint with one conditional update.

        Raises:
            NotFoundError: no such checkpoint.
            ConflictError: it was decided or has expired; the message says by whom and when.
        """
        ...

    async def expire_due(self, *, now_ms: int, auto_reject: bool) -> Sequence[ConsensusCheckpoint]:
        """Expire (or, with `auto_reject`, reject) what is pending and overdue; return those."""
        ...

    async def aclose(self) -> None:
        """Close the connection."""
        ...
