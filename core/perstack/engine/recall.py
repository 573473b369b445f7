"""A run's state from its history, through the checkpoints it was forked from."""

from __future__ import annotations

from dataclasses import dataclass

from perstack.domain.ids import CheckpointId, JobId, RunId
from perstack.domain.jobs import ForkPoint, Job
from perstack.domain.usage import NO_COST, NO_USAGE
from perstack.engine.budget import Spent
from perstack.engine.elapsed import Span, covered_ms, working_spans
from perstack.errors import CorruptRecordError, NotFoundError, UsageError
from perstack.ports.history import History, StoredRun
from perstack.projection.event_facts import made_checkpoint, spent_by
from perstack.projection.run_state import RunState, start_from
from perstack.projection.state_fold import fold_all, state_at


@dataclass(frozen=True, slots=True)
class Recalled:
    """A run as its history tells it, at its end or at one of its checkpoints."""

    stored: StoredRun
    state: RunState

    @property
    def damage(self) -> str | None:
        """What of the history's end was lost, None when nothing was."""
        return self.stored.damage


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
    """Return what a run forked at `point` begins with, None when it is no fork.

    Raises:
        NotFoundError: a run or a checkpoint that it goes back to is not there.
        CorruptRecordError: a history is damaged, or a run is its own ancestor.
    """
    ancestors: dict[RunId, tuple[StoredRun, ForkPoint]] = {}
    while point is not None:
        if point.run_id in ancestors:
            raise CorruptRecordError(f"run {point.run_id} of job {job_id} goes back to itself")
        stored = await history.read_run(job_id, point.run_id)
        ancestors[point.run_id] = stored, point
        point = stored.setting.parent
    state: RunState | None = None
    for stored, point in reversed(ancestors.values()):
        state = start_from(state_at(stored.events, point.checkpoint_id, start=state))
    return state


async def find_point(
    history: History, job_id: JobId, checkpoint_id: CheckpointId
) -> tuple[ForkPoint, Recalled]:
    """Find one of the coordinator's checkpoints, and the run as it was there.

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
        point = ForkPoint(run_id=setting.run_id, checkpoint_id=checkpoint_id)
        return point, Recalled(stored, state)
    raise NotFoundError(
        f"checkpoint not found: {checkpoint_id}",
        hint=f"perstack log --job {job_id} lists the job's checkpoints",
    )


async def spent(history: History, job: Job) -> Spent:
    """Return what the job has used.

    The job's record says it, unless a process was killed while it drove the job and saved no sums:
    then the histories of all its runs do.
    """
    if job.finished_at is not None and job.driven_since is None:
        return Spent(job.total_steps, job.usage, job.cost, job.driven_ms)
    steps, usage, cost = job.total_steps, NO_USAGE, NO_COST
    spans: list[Span] = []
    for setting in await history.list_runs(job.id):
        stored = await history.read_run(job.id, setting.run_id)
        spans += working_spans(stored.events, since=job.driven_since or job.started_at)
        for event in stored.events:
            steps = max(steps, event.step_number)
            used, usd = spent_by(event.body)
            if used != NO_USAGE:
                usage, cost = usage.plus(used), cost.plus(usd)
    return Spent(steps, usage, cost, job.driven_ms + covered_ms(spans))
