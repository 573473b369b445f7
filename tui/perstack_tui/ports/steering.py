"""What people do to runs at work, whichever process drives them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from perstack.domain.ids import ExpertKey, JobId, RunId


@dataclass(frozen=True, slots=True)
class BudgetRaise:
    """What a job may use on top of what it was given; None leaves a bound as it is.

    Steps and tokens are counts, `max_cost` is in USD, `max_duration_ms` in milliseconds.
    """

    max_steps: int | None = None
    max_tokens: int | None = None
    max_cost: float | None = None
    max_duration_ms: int | None = None


@dataclass(frozen=True, slots=True)
class Target:
    """A run of a job."""

    job_id: JobId
    run_id: RunId


@dataclass(frozen=True, slots=True)
class ModelChoice:
    """A model that a run could generate with; `note` says what is known of it."""

    name: str
    note: str = ""


class Steering(Protocol):
    """Every call is recorded as an event of the run with who made it.

    All raise ConflictError when nothing drives the run (the hint says how to go on instead),
    NotFoundError when there is no such run, and DeniedError from within a run's own processes.
    """

    async def stop(self, target: Target, *, now: bool = False) -> None:
        """Stop a run and what it delegated at a checkpoint; a coordinator's job stops with it."""
        ...

    async def pause(self, target: Target, reason: str | None = None) -> None:
        """Have a run, and what it delegates, wait at its next step's boundary."""
        ...

    async def resume(self, target: Target) -> None:
        """Let a paused run go on, also one that resource limits paused."""
        ...

    async def say(self, target: Target, text: str) -> None:
        """Have the run's model read `text` with its next generation."""
        ...

    async def retry(self, target: Target) -> None:
        """Have a delegated run that failed done again, while its parent still waits for others.

        Raises:
            ConflictError: it has not failed, or its parent has read the failure already.
        """
        ...

    async def models(self, target: Target) -> Sequence[ModelChoice]:
        """Return the models that are known of the run's provider."""
        ...

    async def change_model(self, target: Target, model: str) -> None:
        """Have the run generate with `model` from its next step on.

        Raises:
            UsageError: the run's provider knows no such model, or a budget needs its price.
        """
        ...

    async def take_definition(self, target: Target, expert_key: ExpertKey) -> str:
        """Have the run use the Expert as defined now from its next step on; return its version.

        Raises:
            UsageError: no such Expert is defined now, or it asks for what a run at work cannot get.
        """
        ...

    async def raise_budget(self, job_id: JobId, more: BudgetRaise) -> None:
        """Let a job use more; one that ended at a limit goes on with that, in this process."""
        ...
