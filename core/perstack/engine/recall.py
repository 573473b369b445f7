"""A run's state from its history, through the checkpoints it was forked from."""

from __future__ import annotations

from dataclasses import dataclass

from perstack.domain.ids import CheckpointId, JobId, RunId
from perstack.domain.jobs import ForkPoint
from perstack.domain.usage import NO_COST, NO_USAGE, Cost, Usage
from perstack.errors import NotFoundError, UsageError
from perstack.ports.history import History, StoredRun
from perstack.projection.run_state import (
    RunState,
    fold_all,
    made_checkpoint,
    spent_by,
    start_from,
    state_at,
)


@dataclass(frozen=True, slots=True)
class Recalled:
    """A run as its history tells it. `damage` says what of its end was lost."""

    stored: StoredRun
    state: RunState


async def recall(history: History, job_id: JobId, run_id: RunId) -> Recalled:
    """Return the run at the end of its history.

    Raises:
        NotFoundError: no such run.
        CorruptRecordError: its history, or one it was forked from, is damaged.
    """
    stored = await history.read_run(job_id, run_id)
    start = await forked(history, job_id, stored.setting.parent)
    return Recalled(stored, fold_all(stored.events, start=start))


async def forked(history: History, job_id: JobId, point: ForkPoint | None) -> RunState | None:
    """Return what a run forked at `point` begins with, None when it is no fork."""
    if point is None:
        return None
    stored = await history.read_run(job_id, point.run_id)
    start = await forked(history, job_id, stored.setting.parent)
    return start_from(state_at(stored.events, point.checkpoint_id, start=start))


async def find_point(
    history: History, job_id: JobId, checkpoint_id: CheckpointId
) -> tuple[ForkPoint, RunState]:
    """Find one of the coordinator's checkpoints, and the state there.

    Raises:
        NotFoundError: no run of the job made it.
        UsageError: a delegated run made it; those cannot be resumed from.
    """
    for setting in await history.list_runs(job_id):
        stored = await history.read_run(job_id, setting.run_id)
        if not any(made_checkpoint(event) == checkpoint_id for event in stored.events):
            continue
        if setting.delegated_by is not None:
            raise UsageError(
                f"checkpoint {checkpoint_id} belongs to the delegated Expert {setting.expert_key}",
                hint="resume from a checkpoint of the coordinator: see perstack log",
            )
        start = await forked(history, job_id, setting.parent)
        state = state_at(stored.events, checkpoint_id, start=start)
        return ForkPoint(run_id=setting.run_id, checkpoint_id=checkpoint_id), state
    raise NotFoundError(
        f"checkpoint not found: {checkpoint_id}",
        hint=f"perstack log --job {job_id} lists the job's checkpoints",
    )


@dataclass(frozen=True, slots=True)
class Spent:
    """What a job has used: steps, and the tokens of all its runs' generations and their cost."""

    steps: int = 0
    usage: Usage = NO_USAGE
    cost: Cost = NO_COST


async def spent(history: History, job_id: JobId) -> Spent:
    """Return what the job has used, by its runs' histories: a killed process saved no sum."""
    steps, usage, cost = 0, NO_USAGE, NO_COST
    for setting in await history.list_runs(job_id):
        stored = await history.read_run(job_id, setting.run_id)
        for event in stored.events:
            steps = max(steps, event.step_number)
            used, usd = spent_by(event.body)
            if used != NO_USAGE:
                usage, cost = usage.plus(used), cost.plus(usd)
    return Spent(steps, usage, cost)
