"""Looking back: finding jobs, runs and checkpoints, and how a job stands."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence, Set
from contextlib import aclosing
from dataclasses import dataclass

from perstack.domain.ids import CheckpointId, JobId, RunId, check_path_id
from perstack.domain.jobs import Job, RunSetting
from perstack.domain.usage import NO_COST, NO_USAGE
from perstack.errors import NotFoundError, StorageError, UsageError
from perstack.ports.history import History, JobLook, StoredRecord
from perstack.projection.event_facts import made_checkpoint, spent_by
from perstack.projection.log_header import JobState, job_state
from perstack.projection.replay import makes_one_of

SHORTEST_PREFIX = 4
_FIRST_SHOWN = 3
_SPENDING = frozenset({"callTools", "retry", "completeRun", "sampleModel", "stopRunByError"})
_INPUTS_END = frozenset(
    {
        "startRun",
        "suspendRun",
        "stopRunByDelegate",
        "stopRunByInteractiveTool",
        "stopRunByExceededMaxSteps",
        "stopRunByExceededBudget",
        "stopRunByError",
        "completeRun",
    }
)


@dataclass(frozen=True, slots=True)
class JobSeen:
    """A job and how it stands. Where its end was not saved, it is counted from its records."""

    job: Job
    state: JobState
    alive: bool
    driven_at: int


class JobRuns:
    """A job's runs; `settings` are in order of start."""

    def __init__(self, settings: Sequence[RunSetting]) -> None:
        self.settings = settings
        self._by_id = {setting.run_id: setting for setting in settings}

    @property
    def ids(self) -> list[RunId]:
        """The runs' ids."""
        return [setting.run_id for setting in self.settings]

    @property
    def points(self) -> frozenset[CheckpointId]:
        """The checkpoints that runs were forked from."""
        parents = (setting.parent for setting in self.settings)
        return frozenset(parent.checkpoint_id for parent in parents if parent is not None)

    def setting(self, run_id: RunId) -> RunSetting | None:
        """Return what a run was started with, None when there is no such run."""
        return self._by_id.get(run_id)

    def parents_first(self) -> list[RunSetting]:
        """Return the runs in order of start, but each after the one it was forked from."""
        order: dict[RunId, RunSetting] = {}
        for setting in self.settings:
            order |= {run_id: self._by_id[run_id] for run_id in self.leading_to(setting.run_id)}
        return list(order.values())

    def leading_to(self, run_id: RunId) -> list[RunId]:
        """Return the runs that this one was forked from, the first first, then itself."""
        line: dict[RunId, None] = {}
        at: RunId | None = run_id
        while at is not None and at in self._by_id and at not in line:
            line[at] = None
            parent = self._by_id[at].parent
            at = parent.run_id if parent is not None else None
        return list(reversed(line))


async def find_job(history: History, wanted: str) -> JobId:
    """Return the job with that id, or the only one whose id begins like that.

    Raises:
        UsageError: it can be no job's id, or several begin like that.
        NotFoundError: none does.
    """
    check_path_id("job id", wanted)
    found = sorted(await history.find_jobs(wanted))
    if wanted in found:
        return JobId(wanted)
    if len(wanted) < SHORTEST_PREFIX or not found:
        raise NotFoundError(f"no job {wanted}", hint="list the jobs with: perstack jobs")
    if len(found) > 1:
        some = ", ".join(found[:_FIRST_SHOWN])
        raise UsageError(
            f"{len(found)} jobs begin with {wanted}", hint=f"write more of the id: {some}"
        )
    return found[0]


async def find_checkpoint(
    history: History, job_id: JobId, run_ids: Sequence[RunId], wanted: CheckpointId
) -> RunId | None:
    """Return the run that made a checkpoint, None when none of these did."""
    async with aclosing(history.read_records(job_id, run_ids)) as batches:
        async for batch in batches:
            for record in batch.records:
                if makes_one_of(record, {wanted}) and made_checkpoint(record.event()) == wanted:
                    return record.run_id
    return None


async def see_job(history: History, look: JobLook) -> JobSeen:
    """Return how a job stands. Reads the records of one that has not ended.

    Raises:
        StorageError: they cannot be read.
    """
    job, waits, paused = look.job, False, False
    if job.status == "running":
        counted = await _counted(history, job)
        job, waits, paused = counted.job, counted.waits, counted.paused
    state = job_state(job, alive=look.alive, waits=waits, paused=paused)
    return JobSeen(job, state, look.alive, look.driven_at)


async def see_jobs(history: History, *, limit: int, states: Set[str]) -> list[JobSeen]:
    """Return the jobs in one of `states` (any when empty), last driven first; `limit` 0: all.

    A job whose records cannot be read stands as it was last saved.
    """
    found: list[JobSeen] = []
    async with aclosing(history.look_at_jobs()) as looks:
        async for some in looks:
            for look in some:
                if not _may_be(look, states):
                    continue
                seen = await see_readable(history, look)
                if states and seen.state not in states:
                    continue
                found.append(seen)
                if len(found) == limit:
                    return found
    return found


def _may_be(look: JobLook, states: Set[str]) -> bool:
    """Tell whether a job may be in one of `states`, before its records are read."""
    if not states or look.job.status == "running":
        return True
    return job_state(look.job, alive=look.alive) in states


async def see_readable(history: History, look: JobLook) -> JobSeen:
    """Return how a job stands; as it was last saved where its records cannot be read."""
    try:
        return await see_job(history, look)
    except (NotFoundError, StorageError):
        return JobSeen(look.job, job_state(look.job, alive=look.alive), look.alive, look.driven_at)


@dataclass(frozen=True, slots=True)
class _Counted:
    job: Job
    waits: bool
    paused: bool


async def _counted(history: History, job: Job) -> _Counted:
    """Count what a job has used, and see whether it waits for a decision, by its records."""
    steps, usage, cost = 0, NO_USAGE, NO_COST
    gates, inputs, paused = Counter[RunId](), Counter[RunId](), set[RunId]()
    run_ids = [setting.run_id for setting in await history.list_runs(job.id)]
    async for batch in history.read_records(job.id, run_ids):
        for record in batch.records:
            steps = max(steps, record.step_number)
            _watch(record, gates, inputs)
            _watch_pauses(record, paused)
            if record.type in _SPENDING:
                used, usd = spent_by(record.event().body)
                if used != NO_USAGE:
                    usage, cost = usage.plus(used), cost.plus(usd)
    update = {"total_steps": max(steps, job.total_steps), "usage": usage, "cost": cost}
    waits = any((gates + inputs).values())
    return _Counted(job.model_copy(update=update), waits, bool(paused))


def _watch_pauses(record: StoredRecord, paused: set[RunId]) -> None:
    """Keep in mind which runs stand still because somebody, or a limit, paused them."""
    if record.type == "pauseRun":
        paused.add(record.run_id)
    elif record.type in ("resumeRun", "startRun") or record.type in _INPUTS_END:
        paused.discard(record.run_id)


def _watch(record: StoredRecord, gates: Counter[RunId], inputs: Counter[RunId]) -> None:
    """Keep count of what waits for a person in each run."""
    run_id = record.run_id
    match record.type:
        case "requestApproval":
            gates[run_id] += 1
        case "resolveApproval":
            # What a standing approval lets pass was never asked for.
            gates[run_id] = max(0, gates[run_id] - 1)
        case "callTools":
            gates[run_id] = 0
        case "requestInput":
            inputs[run_id] += 1
        case "resolveInput":
            inputs[run_id] -= 1
        case _:
            pass
    if record.type in _INPUTS_END:
        inputs[run_id] = 0
