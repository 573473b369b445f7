"""`perstack agent auto`: what is to be done says who does it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from perstack.cli import agent_options as a
from perstack.cli import options as o
from perstack.cli.agent_work import Context, overrides, text_of

if TYPE_CHECKING:
    from perstack.config.typed import Overrides
    from perstack.domain.dispatch import DispatchDecision
    from perstack.project import Project

Description = Annotated[
    str, typer.Argument(metavar="DESCRIPTION", help="What is to be done; @FILE reads it.")
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Only say who would do it.")]
Confirm = Annotated[bool, typer.Option("--confirm", help="Ask before it begins.")]


def auto(
    description: Description,
    dry_run: DryRun = False,
    confirm: Confirm = False,
    context: Context = None,
    name: a.NewName = None,
    session: a.Session = None,
    provider: o.Provider = None,
    model: o.Model = None,
    max_steps: o.MaxSteps = None,
    show_prompt: a.ShowPrompt = False,
    workspace: o.Workspace = o.HERE,
    config: o.Config = None,
    trust: o.TrustOption = False,
    yes: o.YesOption = False,
    as_json: a.Json = False,
) -> None:
    """Have a model choose the agent type for a task, then spawn such an agent and give it that.

    Exit codes: as agent run; 1 when --confirm was answered with no.
    """
    from perstack.cli.agent_driving import Job, Spawn, drive
    from perstack.domain.ids import SessionId

    place, task = a.Place(workspace, config, trust, yes), text_of(description, "File")
    over = overrides(provider, model, max_steps)
    before = None if context is None else text_of(context, "Context file")
    chosen = _choose(place, task, over)
    if not as_json or dry_run:
        _show(chosen, as_json=as_json)
    if dry_run:
        return
    if confirm and not _agrees(chosen):
        raise typer.Exit(1)
    who = Spawn(chosen.agent_type, name, SessionId(session) if session else None)
    work = Job(
        place,
        who,
        prompt=task,
        context=before,
        over=over,
        show_prompt=show_prompt,
        as_json=as_json,
    )
    raise typer.Exit(drive(work))


def _choose(place: a.Place, task: str, over: Overrides) -> DispatchDecision:
    """Return who is to do it.

    Raises:
        UsageError: the dispatcher is not enabled.
    """
    import anyio

    from perstack.errors import UsageError
    from perstack.project import open_project

    place.check()
    project = open_project(place.workspace, place.config, over, trust=place.trust)
    project.admit(project.config.experts)
    decision = anyio.run(_ask, project, task)
    if isinstance(decision, str):
        raise UsageError(decision, hint="[smartDispatcher] enabled = true, or: perstack agent run")
    return decision


async def _ask(project: Project, task: str) -> DispatchDecision | str:
    from perstack.coordination import open_coordination
    from perstack.engine.groups import unwrapped
    from perstack.runtime import open_runtime

    with unwrapped():
        async with open_runtime(project) as runtime, open_coordination(runtime) as made:
            outcome = await made.tasks.dispatch(task)
    return outcome.decision or outcome.error or "nobody was chosen"


def _show(chosen: DispatchDecision, *, as_json: bool) -> None:
    from perstack.cli.printing import print_lines
    from perstack.projection.agent_text import decision_lines

    print_lines([a.json_of(chosen)] if as_json else decision_lines(chosen))


def _agrees(chosen: DispatchDecision) -> bool:
    from perstack.projection.inert import inert

    return typer.confirm(
        f"Have {inert(chosen.agent_type, newlines=False)} do it?", default=False, err=True
    )
