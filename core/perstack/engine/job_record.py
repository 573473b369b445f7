"""Keeps the record of a job true while it is driven."""

from __future__ import annotations

from typing import Final

import anyio

from perstack.domain.ids import ExpertKey, JobId, RunId
from perstack.domain.jobs import Job, JobStatus, SomeLimits
from perstack.engine.budget import Spent
from perstack.engine.plan import Ending
from perstack.ports.history import DrivenJob
from perstack.ports.system import Clock

_STATUS: Final[dict[Ending, JobStatus]] = {
    "completed": "completed",
    "asked": "stoppedByInteractiveTool",
    "limit": "stoppedByMaxSteps",
    "failed": "stoppedByError",
    "stopped": "running",
    "awaiting": "running",
}


class JobRecord:
    """The record of a job that this process drives. `raised` is what it was given beyond its own.

    What a job has come to is kept, whoever no longer wants to hear of it: no write is cut off.
    """

    def __init__(self, held: DrivenJob, clock: Clock, raised: SomeLimits | None) -> None:
        self._held = held
        self._clock = clock
        self.raised = raised

    async def begun(self, run_id: RunId, spent: Spent, max_steps: int) -> None:
        """Say that the job is driven, beginning with that run of it.

        Raises:
            StorageError: it could not be written; so with the others.
        """
        await self._save("running", run_id, spent, max_steps, finished=False)

    async def ended(self, run_id: RunId, spent: Spent, max_steps: int, ending: Ending) -> None:
        """Say how the job stands now that it is driven no more."""
        await self._save(_STATUS[ending], run_id, spent, max_steps, finished=True)

    async def limited(self, max_steps: int) -> None:
        """Say what the job may use from now on."""
        update = {"raised": self.raised, "max_steps": max_steps}
        await self._keep(self._held.job.model_copy(update=update))

    async def _save(
        self, status: JobStatus, run_id: RunId, spent: Spent, max_steps: int, *, finished: bool
    ) -> None:
        job, now_ms = self._held.job, self._clock.now_ms()
        saved = job.model_copy(
            update={
                "status": status,
                "coordinator_run_id": run_id,
                "total_steps": spent.steps,
                "max_steps": max_steps,
                "raised": self.raised,
                "usage": spent.usage,
                "cost": spent.cost,
                "driven_ms": spent.driven_ms,
                "driven_since": None if finished else now_ms,
                "finished_at": max(now_ms, job.started_at) if finished else None,
            }
        )
        await self._keep(saved)

    async def _keep(self, saved: Job) -> None:
        with anyio.CancelScope(shield=True):
            await self._held.save(saved)


def new_job(
    job_id: JobId,
    run_id: RunId,
    expert_key: ExpertKey,
    *,
    max_steps: int,
    now_ms: int,
    service: bool = False,
) -> Job:
    """Return the record of a job that begins at `now_ms` (Unix ms)."""
    return Job(
        id=job_id,
        status="running",
        coordinator_expert_key=expert_key,
        coordinator_run_id=run_id,
        max_steps=max_steps,
        service=service,
        started_at=now_ms,
    )
