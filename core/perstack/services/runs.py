"""Starting jobs and going on with them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

from anyio import to_thread
from pydantic import ValidationError

from perstack.domain.base import Model
from perstack.domain.expert import Expert
from perstack.domain.ids import ExpertKey, JobId, RunId, ToolCallId, check_path_id
from perstack.domain.jobs import ForkPoint, InteractiveAnswer, Job
from perstack.engine.control import StopControl
from perstack.engine.job import JobDriver, new_job
from perstack.engine.plan import Deps, JobOutcome, Listener, Plan
from perstack.engine.recall import Recalled, Spent, find_point, recall, spent
from perstack.engine.run import Opening
from perstack.errors import (
    ConflictError,
    LimitError,
    NotFoundError,
    UnknownExpertError,
    UsageError,
)
from perstack.ports.frontend import Continuation
from perstack.ports.history import DrivenJob, History, RunLog
from perstack.projection.run_state import RunState, initial, start_from

SHORTEST_PREFIX: Final = 4
_AFRESH: Final = ("completed", "stoppedByError", "stoppedByExceededMaxSteps")


class _JsonAnswer(Model):
    tool_call_id: ToolCallId
    tool_name: str
    skill_name: str
    text: str


@dataclass(frozen=True, slots=True)
class _Taken:
    """A run about to be driven. `log` is None when a new run has to be begun."""

    state: RunState
    opening: Opening
    log: RunLog | None


class Runs:
    """Drives jobs in this process; each holds its job's lock while it does."""

    def __init__(self, history: History, deps: Deps) -> None:
        self._history = history
        self._deps = deps

    async def start(
        self,
        plan: Plan,
        expert_key: ExpertKey,
        query: str,
        *,
        listener: Listener,
        control: StopControl,
        job_id: JobId | None = None,
    ) -> JobOutcome:
        """Run a new job until it stops.

        Raises:
            UnknownExpertError: the plan has no such Expert.
            ConflictError: a job with that id exists.
            StorageError: the history cannot be written.
        """
        expert = _expert(plan, expert_key)
        job_id = job_id or JobId(self._deps.ids.new())
        check_path_id("job id", job_id)
        run_id = RunId(self._deps.ids.new())
        job = new_job(
            job_id,
            run_id,
            expert.key,
            max_steps=plan.settings.max_steps,
            now_ms=self._deps.clock.now_ms(),
        )
        async with self._history.create_job(job) as held:
            driver = JobDriver(plan, self._deps, held, listener, control)
            opening = Opening(query=query)
            log = driver.new_log(run_id, expert, opening)
            outcome = await driver.drive_coordinator(expert, log, initial(), opening)
        return JobOutcome(job_id, run_id, expert.key, outcome)

    async def go_on(
        self, plan: Plan, wanted: Continuation, *, listener: Listener, control: StopControl
    ) -> JobOutcome:
        """Go on with a job until it stops.

        Raises:
            NotFoundError: no such job or checkpoint.
            ConflictError: a process drives the job, or the question was answered already.
            UsageError: the job cannot go on with what was given.
            LimitError: the job has used up its steps.
        """
        found = await self._find_job(wanted)
        async with self._history.drive_job(found.id) as held:
            job = held.job
            used = await spent(self._history, job.id)
            if wanted.own_definitions:
                plan = await self._with_own_definitions(plan, job.id)
            _check(plan, wanted, job, used.steps)
            expert = _expert(plan, job.coordinator_expert_key)
            driver = JobDriver(plan, self._deps, held, listener, control, spent=used)
            taken = await self._take_up(wanted, held, used)
            log = taken.log or driver.new_log(RunId(self._deps.ids.new()), expert, taken.opening)
            outcome = await driver.drive_coordinator(expert, log, taken.state, taken.opening)
        return JobOutcome(job.id, log.run_id, expert.key, outcome)

    async def _find_job(self, wanted: Continuation) -> Job:
        if wanted.job_id is not None:
            return await self._named(wanted.job_id)
        found = await self._history.find_latest_job()
        if found is None:
            raise NotFoundError(
                "No jobs found in this workspace", hint="start one: perstack run <expert> <query>"
            )
        return found

    async def _with_own_definitions(self, plan: Plan, job_id: JobId) -> Plan:
        for setting in await self._history.list_runs(job_id):
            if setting.experts is not None:
                return replace(plan, experts=setting.experts)
        return plan

    async def _named(self, job_id: JobId) -> Job:
        """Return the job of that id, or the only one whose id begins like that."""
        try:
            return await self._history.get_job(job_id)
        except NotFoundError:
            jobs = await self._history.list_jobs() if len(job_id) >= SHORTEST_PREFIX else ()
            found = [job for job in jobs if job.id.startswith(job_id)]
            if len(found) != 1:
                raise
            return found[0]

    async def _take_up(self, wanted: Continuation, held: DrivenJob, used: Spent) -> _Taken:
        job = held.job
        if wanted.checkpoint_id is not None:
            point, state = await find_point(self._history, job.id, wanted.checkpoint_id)
            return _forked(wanted, point, state)
        try:
            recalled = await recall(self._history, job.id, job.coordinator_run_id)
        except NotFoundError:
            return _begun_again(wanted, job)
        state = recalled.state
        if state.status == "completed" and job.status == "running":
            await to_thread.run_sync(held.save, _completed(job, recalled, used))
        if state.status in _AFRESH and state.checkpoint_id is not None:
            point = ForkPoint(run_id=job.coordinator_run_id, checkpoint_id=state.checkpoint_id)
            return _forked(wanted, point, state)
        _, log = held.reopen_run(job.coordinator_run_id)
        try:
            return _Taken(state, _in_place(wanted, recalled), log)
        except BaseException:
            log.close()
            raise


def _completed(job: Job, recalled: Recalled, used: Spent) -> Job:
    """What a process killed between its run's last record and the job's would have saved."""
    update = {
        "status": "completed",
        "total_steps": used.steps,
        "usage": used.usage,
        "cost": used.cost,
        "finished_at": recalled.stored.events[-1].timestamp,
    }
    return job.model_copy(update=update)


def _check(plan: Plan, wanted: Continuation, job: Job, taken_steps: int) -> None:
    if wanted.expert_key is not None and wanted.expert_key != job.coordinator_expert_key:
        raise UsageError(
            f"Checkpoint expert key {job.coordinator_expert_key} does not match"
            f" input expert key {wanted.expert_key}"
        )
    if taken_steps >= plan.settings.max_steps:
        raise LimitError(
            f"job {job.id} has taken {taken_steps} of {plan.settings.max_steps} steps",
            hint=f"raise the limit: --max-steps {plan.settings.max_steps * 2}",
        )


def _expert(plan: Plan, key: ExpertKey) -> Expert:
    found = plan.experts.get(key)
    if found is None:
        raise UnknownExpertError(key, [str(known) for known in plan.experts])
    return found


def _begun_again(wanted: Continuation, job: Job) -> _Taken:
    """The process ended before the job's first record: begin with what is said now."""
    if wanted.text is None or wanted.is_answer:
        raise NotFoundError(
            f"No checkpoint found: job {job.id} ended before its first step",
            hint="say what to do: perstack run <expert> <query> --continue",
        )
    return _Taken(initial(), Opening(query=wanted.text), None)


def _forked(wanted: Continuation, point: ForkPoint, state: RunState) -> _Taken:
    answer = _answer(wanted, state)
    if state.status == "completed" and wanted.text is None:
        raise UsageError("the job is completed", hint="say what to do next")
    query = None if answer else wanted.text
    opening = Opening(status=state.status, query=query, answer=answer, parent=point)
    return _Taken(start_from(state), opening, None)


def _in_place(wanted: Continuation, recalled: Recalled) -> Opening:
    state = recalled.state
    if state.status == "init":
        setting = recalled.stored.setting
        said = [text for text in (setting.query, wanted.text) if text]
        return Opening(query="\n\n".join(said) or None, parent=setting.parent)
    answer = _answer(wanted, state)
    query = None if answer else wanted.text
    return Opening(status=state.status, query=query, answer=answer)


def _answer(wanted: Continuation, state: RunState) -> InteractiveAnswer | None:
    pending = state.pending_interactive if state.status == "stoppedByInteractiveTool" else ()
    if not pending:
        if wanted.is_answer:
            raise ConflictError("nothing waits for an answer: it was given, or never asked")
        return None
    if not wanted.is_answer or wanted.text is None:
        call = next(call for call in state.calls if call.tool_call_id == pending[0])
        raise UsageError(
            f"the job waits for an answer to {call.tool_name}",
            hint="give it with -i: perstack run <expert> <answer> --continue -i",
        )
    return _as_answer(wanted.text, state, pending[0])


def _as_answer(text: str, state: RunState, first: ToolCallId) -> InteractiveAnswer:
    try:
        given = _JsonAnswer.model_validate_json(text)
    except ValidationError:
        call = next(call for call in state.calls if call.tool_call_id == first)
        return InteractiveAnswer(
            tool_call_id=first,
            tool_name=call.tool_name,
            skill_name=state.routes[first].skill_name,
            text=text,
        )
    if given.tool_call_id not in state.pending_interactive:
        raise ConflictError(f"call {given.tool_call_id} does not wait for an answer")
    return InteractiveAnswer(**dict(given))
