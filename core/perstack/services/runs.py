"""Starting jobs and going on with them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Final

from perstack.config.builtin import with_builtins
from perstack.config.kept import made_whole
from perstack.config.limits import MAX_STEPS
from perstack.domain.expert import Expert
from perstack.domain.ids import ExpertKey, JobId, RunId, check_path_id
from perstack.domain.jobs import ForkPoint, Job, Limits, SomeLimits
from perstack.domain.orders import also_raised, at_least, but_typed
from perstack.domain.orders import raised as raise_
from perstack.domain.steering_events import RaiseBudget
from perstack.engine.budget import Spent, overrun
from perstack.engine.control import StopControl
from perstack.engine.job import JobDriver, Past
from perstack.engine.job_record import new_job
from perstack.engine.opening import Opening
from perstack.engine.plan import Deps, JobOutcome, Listener, Plan
from perstack.engine.recall import Recalled, find_point, recall, spent
from perstack.errors import (
    ConfigError,
    LimitError,
    NotFoundError,
    UnknownExpertError,
    UsageError,
)
from perstack.ports.desk import NOBODY, Carrier
from perstack.ports.frontend import Continuation
from perstack.ports.history import DrivenJob, History
from perstack.projection.run_state import initial
from perstack.services import looking
from perstack.services.answers import check_length
from perstack.services.contained import ContainedJobs
from perstack.services.contained_order import NewJob
from perstack.services.prerequisites import check_programs
from perstack.services.staying import staying
from perstack.services.taking_up import Taken, as_fork, begun_again, in_place

_AFRESH: Final = ("completed", "stoppedByError", "stoppedByExceededMaxSteps")


class Runs:
    """Drives jobs in this process; each holds its job's lock while it does."""

    def __init__(self, history: History, deps: Deps) -> None:
        self._history = history
        self._deps = deps
        self._contained = ContainedJobs(history, deps)

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
            UsageError: the query is blank or too long.
            ConfigError: a budget cannot be kept.
            ProgramError: a program that is to execute it is not ready.
            ConflictError: a job with that id exists.
            StorageError: the history cannot be written.
        """
        check_new(plan.experts, expert_key, query)
        self._check_budget(plan, Spent())
        plan = _with_builtins(plan, expert_key)
        expert = _expert(plan, expert_key)
        plan.admit(plan.experts)
        await check_programs(self._deps, plan, expert)
        job_id = job_id or JobId(self._deps.ids.new())
        check_path_id("job id", job_id)
        if plan.settings.runtime.name == "docker":
            begins = NewJob(expert_key=expert.key, query=query, job_id=job_id)
            return await self._contained.start(plan, begins, listener=listener, control=control)
        run_id = RunId(self._deps.ids.new())
        job = new_job(
            job_id,
            run_id,
            expert.key,
            max_steps=plan.settings.max_steps,
            now_ms=self._deps.clock.now_ms(),
            service=plan.service,
        )
        async with self._history.create_job(job) as held:
            driver = JobDriver(plan, self._deps, held, listener, control)
            opening = Opening(query=query)
            log = await driver.new_log(run_id, expert, opening)
            outcome = await driver.drive_coordinator(expert, log, initial(), opening)
        return JobOutcome(job_id, run_id, expert.key, outcome, driver.meter.spent)

    async def go_on(
        self, plan: Plan, wanted: Continuation, *, listener: Listener, control: StopControl
    ) -> JobOutcome:
        """Go on with a job until it stops.

        Raises:
            NotFoundError: no such job or checkpoint.
            ConflictError: a process drives the job, or the question was answered already.
            UsageError: the job cannot go on with what was given.
            ConfigError: a budget cannot be kept.
            LimitError: the job has used up its steps or a budget.
            ProgramError: a program that is to execute it is not ready.
        """
        if not wanted.is_answer and not (wanted.text or "").strip():
            wanted = replace(wanted, text=None)  # vendors refuse a message that says nothing
        found = await find_job(self._history, wanted)
        if plan.settings.runtime.name == "docker":
            return await self._go_on_contained(plan, found, wanted, listener, control)
        async with self._history.drive_job(found.id) as held:
            job = held.job
            used = await spent(self._history, job)
            if wanted.own_definitions:
                plan = await self._with_own_definitions(plan, job.id)
            plan = _with_builtins(in_own_folder(plan, job), job.coordinator_expert_key)
            if plan.carrier == NOBODY:
                plan = replace(plan, carrier=await self._carrier(job))
            plan.admit(plan.experts)
            plan = await staying(self._history, plan, job)
            plan, raised, beyond = _within(plan, job, wanted)
            _check(plan, wanted, job, used)
            self._check_budget(plan, used)
            expert = _expert(plan, job.coordinator_expert_key)
            await check_programs(self._deps, plan, expert)
            past = Past(used, raised, beyond)
            driver = JobDriver(plan, self._deps, held, listener, control, past)
            taken = await self._take_up(wanted, held, used, listener)
            log = taken.log or await driver.new_log(
                RunId(self._deps.ids.new()), expert, taken.opening
            )
            outcome = await driver.drive_coordinator(expert, log, taken.state, taken.opening)
        return JobOutcome(job.id, log.run_id, expert.key, outcome, driver.meter.spent)

    async def _go_on_contained(
        self, plan: Plan, job: Job, wanted: Continuation, listener: Listener, control: StopControl
    ) -> JobOutcome:
        """Have a container go on with the job, as what may take part in it is accepted here."""
        if wanted.own_definitions:
            plan = await self._with_own_definitions(plan, job.id)
        plan = _with_builtins(plan, job.coordinator_expert_key)
        plan.admit(plan.experts)
        _expert(plan, job.coordinator_expert_key)
        go_on = self._contained.go_on
        return await go_on(plan, job, wanted, listener=listener, control=control)

    def _check_budget(self, plan: Plan, used: Spent) -> None:
        """Refuse a budget in USD where nobody knows what was or will be spent of it."""
        model = self._deps.model
        if plan.settings.budget.max_cost_usd is None:
            return
        if model.price is None:
            raise ConfigError(
                f"what {model.name} costs is not known, so a budget in USD cannot be kept",
                hint=f'state it: [models."{model.name}"] price = {{ input = 0, output = 0 }}',
            )
        if used.cost.partial:
            raise ConfigError(
                "what the job has cost so far is not known, so a budget in USD cannot be kept",
                hint="limit it by --max-tokens or --max-duration instead",
            )

    async def _carrier(self, job: Job) -> Carrier:
        """Return whose work the job was: it stays theirs, whoever has it go on."""
        for setting in await self._history.list_runs(job.id):
            if setting.run_id == job.coordinator_run_id:
                return Carrier(setting.agent_id, setting.session_id, setting.identity_id)
        return NOBODY

    async def _with_own_definitions(self, plan: Plan, job_id: JobId) -> Plan:
        for setting in await self._history.list_runs(job_id):
            if setting.experts is not None:
                own = made_whole(setting.experts, plan.experts)
                # A lock file is of today's definitions.
                same = {
                    key: of
                    for key, of in plan.listed.items()
                    if own.get(key) == plan.experts.get(key)
                }
                return replace(plan, experts=own, listed=same, as_begun=True)
        return plan

    async def _take_up(
        self, wanted: Continuation, held: DrivenJob, used: Spent, listener: Listener
    ) -> Taken:
        job = held.job
        if wanted.checkpoint_id is not None:
            point, found = await find_point(self._history, job.id, wanted.checkpoint_id)
            _warn_of(found.damage, listener)
            taken = as_fork(wanted, point, found.state)
            await _made_sure(held, point.run_id)
            return taken
        try:
            recalled = await recall(self._history, job.id, job.coordinator_run_id)
        except NotFoundError:
            return begun_again(wanted, job)
        _warn_of(recalled.damage, listener)
        state = recalled.state
        if state.status == "completed" and job.status == "running":
            await held.save(_completed(job, recalled, used))
        if state.status in _AFRESH and state.checkpoint_id is not None:
            point = ForkPoint(run_id=job.coordinator_run_id, checkpoint_id=state.checkpoint_id)
            taken = as_fork(wanted, point, state, session=state.session)
            await _made_sure(held, point.run_id)
            return taken
        _, log = await held.reopen_run(job.coordinator_run_id)
        try:
            return Taken(state, in_place(wanted, recalled), log)
        except BaseException:
            log.close()
            raise


def check_new(experts: Mapping[ExpertKey, Expert], key: ExpertKey, query: str) -> None:
    """Refuse what can become no job, before anything is opened for it.

    Raises:
        UnknownExpertError: it is neither one of `experts` nor built in.
        UsageError: the query is blank or too long.
    """
    check_query(query)
    if key not in with_builtins(experts, key):
        raise UnknownExpertError(key, [str(known) for known in experts])


def check_query(query: str) -> None:
    """Refuse what no job can begin with.

    Raises:
        UsageError: it is blank or too long.
    """
    if not query.strip():
        raise UsageError("a new job needs a query", hint='perstack run <expert> "<query>"')
    check_length("a query", query)


async def find_job(history: History, wanted: Continuation) -> Job:
    """Return the job that `wanted` means: the latest, or the one whose id begins as it is given.

    Raises:
        NotFoundError: there is none.
        UsageError: several begin like that.
    """
    if wanted.job_id is not None:
        return await history.get_job(await looking.find_job(history, wanted.job_id))
    found = await history.find_latest_job()
    if found is None:
        raise NotFoundError(
            "No jobs found in this workspace", hint="start one: perstack run <expert> <query>"
        )
    return found


async def _made_sure(held: DrivenJob, run_id: RunId) -> None:
    """Have on the disk what a fork goes back to: a killed process may have left it unsynced."""
    _, log = await held.reopen_run(run_id)
    try:
        await log.sync()
    finally:
        log.close()


def _warn_of(damage: str | None, listener: Listener) -> None:
    if damage is not None:
        listener.on_warning(damage)


def _completed(job: Job, recalled: Recalled, used: Spent) -> Job:
    """What a process killed between its run's last record and the job's would have saved."""
    update = {
        "status": "completed",
        "total_steps": used.steps,
        "usage": used.usage,
        "cost": used.cost,
        "driven_ms": used.driven_ms,
        "driven_since": None,
        "finished_at": recalled.stored.events[-1].timestamp,
    }
    return job.model_copy(update=update)


def _within(
    plan: Plan, job: Job, wanted: Continuation
) -> tuple[Plan, RaiseBudget | None, SomeLimits | None]:
    """Return the plan with what the job may use, what is raised now, and all that was ever raised.

    A limit that was raised counts until somebody types it.
    """
    settings, more = plan.settings, wanted.more
    beyond = but_typed(job.raised, wanted.typed)
    asked = Limits(max_steps=settings.max_steps, budget=settings.budget)
    limits = before = at_least(asked, beyond)
    if more is not None:
        limits = raise_(before, more)
    update = {"max_steps": limits.max_steps, "budget": limits.budget}
    held = replace(plan, settings=settings.model_copy(update=update))
    if more is None or limits == before:
        return held, None, beyond
    from perstack.services.whoami import whoami

    raised = RaiseBudget(by=whoami(), limits=limits)
    return held, raised, also_raised(beyond, more, limits)


def _check(plan: Plan, wanted: Continuation, job: Job, used: Spent) -> None:
    if wanted.text is not None and not wanted.is_answer:
        check_length("a query", wanted.text)
    if wanted.expert_key is not None and wanted.expert_key != job.coordinator_expert_key:
        raise UsageError(
            f"Checkpoint expert key {job.coordinator_expert_key} does not match"
            f" input expert key {wanted.expert_key}"
        )
    if used.steps >= plan.settings.max_steps:
        raise LimitError(
            f"job {job.id} has taken {used.steps} of {plan.settings.max_steps} steps",
            hint=f"raise the limit: --max-steps {min(2 * used.steps, MAX_STEPS[1])}"
            " or maxSteps in perstack.toml",
        )
    if (over := overrun(plan.settings.budget, used)) is not None:
        raise LimitError(f"job {job.id}: {over}", hint=f"raise it: {over.remedy}, or {over.key}")


def in_own_folder(plan: Plan, job: Job) -> Plan:
    """Return the plan for the folder that the job works in: a fork's is not the workspace."""
    if job.workspace is None:
        return plan
    folder = Path(job.workspace)
    if not folder.is_dir():
        raise NotFoundError(
            f"the folder that job {job.id} works in is gone: {folder}",
            hint="fork the job again: perstack fork CHECKPOINT",
        )
    return replace(plan, workspace=folder)


def _with_builtins(plan: Plan, key: ExpertKey) -> Plan:
    experts = with_builtins(plan.experts, key)
    return plan if experts is plan.experts else replace(plan, experts=experts)


def _expert(plan: Plan, key: ExpertKey) -> Expert:
    found = plan.experts.get(key)
    if found is None:
        raise UnknownExpertError(key, [str(known) for known in plan.experts])
    return found
