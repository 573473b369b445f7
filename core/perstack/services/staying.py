"""A job that is gone on with stays with the program that executed it, until another is typed."""

from __future__ import annotations

from dataclasses import replace

from perstack.domain.jobs import Job
from perstack.domain.runtimes import USUAL_PERMISSIONS, ProgramName, RuntimeSettings, is_program
from perstack.engine.plan import Plan
from perstack.errors import ConfigError, UsageError
from perstack.ports.history import History


async def begun_on(history: History, job: Job) -> RuntimeSettings | None:
    """Return what executed the job's Experts as its present run began, None without a run."""
    for setting in await history.list_runs(job.id):
        if setting.run_id == job.coordinator_run_id:
            return setting.settings.runtime
    return None


async def stays_with(history: History, job: Job, now: RuntimeSettings) -> ProgramName | None:
    """Return the program that a job stays with, None where `now` counts.

    Going on elsewhere would lose the program's session, and what was approved in it.

    Raises:
        UsageError: a container was around the job, and nobody said that it may come out.
    """
    if now.typed or now.name == "docker":
        return None
    begun = await begun_on(history, job)
    if begun is None:
        return None
    if begun.contained:
        raise UsageError(
            f"job {job.id} ran in a container, and would go on outside of it",
            hint="add --runtime docker; to let it out, --runtime perstack",
        )
    return begun.name if begun.name != now.name and is_program(begun.name) else None


async def staying(history: History, plan: Plan, job: Job) -> Plan:
    """Return the plan with what the job stays with as its runtime. Blocks on the disk.

    Raises:
        UsageError: as `stays_with`; or the program would do things unasked, and nobody accepted it.
    """
    settings = plan.settings
    program = await stays_with(history, job, settings.runtime)
    if program is None:
        return plan
    _check_accepted(plan, program)
    runtime = settings.runtime.model_copy(update={"name": program})
    return replace(plan, settings=settings.model_copy(update={"runtime": runtime}))


def _check_accepted(plan: Plan, program: ProgramName) -> None:
    """Take no history's word for a program that asks nobody: it may be a stranger's.

    Raises:
        UsageError: it was neither typed nor accepted.
    """
    may = plan.settings.runtime.program(program).permissions or USUAL_PERMISSIONS[program]
    if may == "ask":
        return
    try:
        plan.admit({k: e.model_copy(update={"runtime": program}) for k, e in plan.experts.items()})
    except ConfigError as error:
        raise UsageError(
            f"the job was executed by {program}, which does things unasked and was not accepted",
            hint=f"add --runtime {program}; to go on without it, --runtime perstack",
        ) from error
