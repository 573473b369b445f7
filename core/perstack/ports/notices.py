"""Telling a person that something waits for them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol

from perstack.domain.ids import ConsensusId, ExpertKey, JobId, RunId
from perstack.domain.settings import RiskLevel


@dataclass(frozen=True, slots=True)
class Notice:
    """What waits, and of which run, if it is one that waits. `expires_at` in Unix milliseconds."""

    kind: Literal["consensus", "question"]
    job_id: JobId | None
    run_id: RunId | None
    expert_key: ExpertKey
    title: str
    risk: RiskLevel | None = None
    consensus_id: ConsensusId | None = None
    expires_at: int | None = None


class Notifier(Protocol):
    """Calls whatever the user configured."""

    async def notify(self, notice: Notice) -> None:
        """Tell; bounded in time, never raises."""
        ...
