"""Steering of runs, through the agents' orders that every process takes."""

from __future__ import annotations

from collections.abc import Mapping

from perstack.domain.ids import ExpertKey, JobId
from perstack.errors import ConflictError
from perstack_tui.local.jobs import LocalJob
from perstack_tui.ports.steering import BudgetRaise, Target


class LocalSteering:
    """Implements `ports.steering.Steering`."""

    def __init__(self, jobs: Mapping[JobId, LocalJob]) -> None:
        self._jobs = jobs

    async def stop(self, target: Target, *, now: bool = False) -> None:
        """Stop a run and what it delegated at a checkpoint."""
        job = self._jobs.get(target.job_id)
        if job is None:
            raise ConflictError(
                "another process runs this job", hint="stop it where it runs, with ctrl+c"
            )
        job.control.stop("user", now=now)

    async def pause(self, target: Target, reason: str | None = None) -> None:
        """Have a run wait at its next step's boundary."""
        raise _unmade("pausing")

    async def resume(self, target: Target) -> None:
        """Let a paused run go on."""
        raise _unmade("resuming")

    async def say(self, target: Target, text: str) -> None:
        """Have the run's model read `text` with its next generation."""
        raise _unmade("saying something")

    async def retry(self, target: Target) -> None:
        """Have a delegated run that failed done again."""
        raise _unmade("retrying")

    async def change_model(self, target: Target, model: str) -> None:
        """Have the run generate with `model` from its next step on."""
        raise _unmade("changing the model")

    async def take_definition(self, target: Target, expert_key: ExpertKey) -> str:
        """Have the run use the Expert as defined now."""
        raise _unmade("taking the new definition")

    async def raise_budget(self, job_id: JobId, more: BudgetRaise) -> None:
        """Let a job use more."""
        raise _unmade("raising the budget")


def _unmade(what: str) -> ConflictError:
    return ConflictError(f"{what} is not made yet")
