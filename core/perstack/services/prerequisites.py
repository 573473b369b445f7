"""Whether the programs that a job will be executed by are there, asked before anything starts."""

from __future__ import annotations

from collections.abc import Mapping

from perstack.domain.expert import Expert
from perstack.domain.ids import ExpertKey
from perstack.domain.runtimes import ProgramName, RuntimeName, is_program
from perstack.engine.plan import Deps, Plan
from perstack.errors import ConfigError


async def check_programs(deps: Deps, plan: Plan, expert: Expert) -> None:
    """Refuse a job of which a program could not execute its part. Nothing is left behind.

    Raises:
        ProgramError: a program's prerequisites are not met; says what to do.
        ConfigError: a variable that it is to be given is not set.
    """
    job = plan.settings.runtime.name
    if job == "docker":
        # What is in the container counts, not what is on this machine.
        return
    needed = programs_needed(expert, plan.experts, job)
    if needed:
        _check_variables(plan)
    for name in needed:
        await deps.programs.ready(name, plan.settings, plan.env)


def _check_variables(plan: Plan) -> None:
    """Refuse variables that were typed and are not there: without them a program fails later.

    Those of `perstack.toml` are given where they are set: one file serves several machines.
    """
    if missing := [name for name in plan.settings.runtime.env if not plan.env.get(name)]:
        raise ConfigError(
            f"Missing required environment variables: {', '.join(missing)}",
            hint="set them in the environment or in a file that envPath names",
        )


def programs_needed(
    expert: Expert, experts: Mapping[ExpertKey, Expert], job: RuntimeName
) -> tuple[ProgramName, ...]:
    """Return the programs that execute `expert` or somebody whom it comes to delegate to.

    `job` is what executes those that have no runtime of their own. What a program executes
    delegates to nobody, so that whom it is told of does not count.
    """
    needed: dict[ProgramName, None] = {}
    seen, waiting = {expert.key}, [expert]
    while waiting:
        one = waiting.pop()
        name = one.runtime or job
        if is_program(name):
            needed[name] = None
            continue
        found = [experts[key] for key in one.delegates if key in experts and key not in seen]
        seen.update(each.key for each in found)
        waiting += found
    return tuple(needed)
