"""`perstack agent`: spawn agents, look at them, order them; `agent_work` has them work."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from typing import TYPE_CHECKING, Annotated

import typer

from perstack.cli import agent_options as a
from perstack.cli import agent_steering as steering
from perstack.cli import options as o
from perstack.cli.agent_auto import auto
from perstack.cli.agent_watch import watch
from perstack.cli.agent_work import exec_, run

if TYPE_CHECKING:
    from perstack.domain.agent_views import AgentReport, Spawned, Stopped
    from perstack.domain.agents import Agent, AgentType
    from perstack.services.agents import AgentService

Sessions = Annotated[
    str | None, typer.Option("-s", "--session", metavar="ID", help="Only those of a session.")
]
Words = Annotated[str, typer.Argument(metavar="TEXT", help="What it is told.")]


def agent_app() -> typer.Typer:
    """Return the `agent` commands."""
    app = typer.Typer(
        name="agent",
        help="Spawn agents, have them work, order and stop them.",
        no_args_is_help=True,
        rich_markup_mode=None,
    )
    orders = (pause, resume, steer, steering.model, steering.take, steering.budget, steering.retry)
    verbs = (spawn, list_, status, types, watch, run, exec_, auto, *orders, update_status, stop)
    for command in verbs:
        app.command(name=command.__name__.rstrip("_").replace("_", "-"))(command)
    return app


def spawn(
    type_: a.Type,
    name: a.NewName = None,
    session: a.Session = None,
    show_prompt: a.ShowPrompt = False,
    workspace: o.Workspace = o.HERE,
    config: o.Config = None,
    trust: o.TrustOption = False,
    yes: o.YesOption = False,
    as_json: a.Json = False,
) -> None:
    """Make an idle agent; exec gives it work."""
    import anyio

    from perstack.cli.registry_experts import complete_for_agent
    from perstack.domain.ids import SessionId

    place = a.Place(workspace, config, trust, yes)
    project = anyio.run(partial(complete_for_agent, place.project(or_empty=True), type_, yes=yes))

    async def ask(agents: AgentService) -> tuple[Agent, Spawned]:
        session_id = SessionId(session) if session else None
        made = await agents.spawn(type_, name=name, session_id=session_id)
        return made, agents.told(made)

    made, told = a.with_agents(workspace, project, ask, plugins=True)
    steering.show(as_json, told, lambda: _spawned(made, told.prompt if show_prompt else None))


def list_(
    session: Sessions = None,
    workspace: o.Workspace = o.HERE,
    config: o.Config = None,
    trust: o.TrustOption = False,
    as_json: a.Json = False,
) -> None:
    """List the agents that are spawned or at work, oldest first."""
    from perstack.domain.agent_views import agent_list
    from perstack.domain.ids import SessionId
    from perstack.projection.agent_text import agent_rows
    from perstack.wiring import has_database

    async def ask(agents: AgentService) -> list[Agent]:
        return list(await agents.roll.here(SessionId(session) if session else None))

    project = a.Place(workspace, config, trust).named_project()
    found = a.with_agents(workspace, project, ask) if has_database(workspace) else []
    steering.show(as_json, agent_list(found), lambda: agent_rows(found))


def status(
    agent_id: a.Id = None,
    name: a.Name = None,
    workspace: o.Workspace = o.HERE,
    config: o.Config = None,
    trust: o.TrustOption = False,
    as_json: a.Json = False,
) -> None:
    """Show one agent: what it is, does and can do."""
    from perstack.projection.agent_text import report_lines

    which, place = a.Named.of(agent_id, name), a.Place(workspace, config, trust)
    project = place.usable_project()
    which.refuse_empty(workspace)

    async def ask(agents: AgentService) -> AgentReport:
        return await agents.status(which.id, name=which.name)

    found = a.with_agents(workspace, project, ask, plugins=True)
    steering.show(as_json, found, lambda: report_lines(found))


def types(
    workspace: o.Workspace = o.HERE,
    config: o.Config = None,
    trust: o.TrustOption = False,
    as_json: a.Json = False,
) -> None:
    """List what can be spawned: the built-in types, this project's Experts, those of plugins."""
    from perstack.domain.agent_views import type_list
    from perstack.projection.agent_text import type_rows

    async def ask(agents: AgentService) -> list[AgentType]:
        return list(agents.types.list())

    project = a.Place(workspace, config, trust).usable_project()
    found = a.with_agents(workspace, project, ask, plugins=True)
    steering.show(as_json, type_list(found), lambda: type_rows(found))


def pause(
    agent_id: a.Id = None,
    name: a.Name = None,
    reason: a.Reason = None,
    workspace: o.Workspace = o.HERE,
    config: o.Config = None,
    trust: o.TrustOption = False,
    as_json: a.Json = False,
) -> None:
    """Have an agent wait before its next step, until it is resumed."""
    which = a.Named.of(agent_id, name)

    async def ask(agents: AgentService) -> Agent:
        return await agents.orders.pause(which.id, name=which.name, reason=reason)

    told = steering.order(a.Place(workspace, config, trust), which, ask)
    steering.say(as_json, told, "is told to pause before its next step")


def resume(
    agent_id: a.Id = None,
    name: a.Name = None,
    workspace: o.Workspace = o.HERE,
    config: o.Config = None,
    trust: o.TrustOption = False,
    as_json: a.Json = False,
) -> None:
    """Let an agent go on that was paused, by a person or by its resource limits."""
    which = a.Named.of(agent_id, name)

    async def ask(agents: AgentService) -> Agent:
        return await agents.orders.resume(which.id, name=which.name)

    told = steering.order(a.Place(workspace, config, trust), which, ask)
    steering.say(as_json, told, _resumed(told))


def steer(
    text: Words,
    agent_id: a.Id = None,
    name: a.Name = None,
    workspace: o.Workspace = o.HERE,
    config: o.Config = None,
    trust: o.TrustOption = False,
    as_json: a.Json = False,
) -> None:
    """Tell an agent at work something; it reads it before its next step."""
    which = a.Named.of(agent_id, name)

    async def ask(agents: AgentService) -> Agent:
        return await agents.orders.steer(text, which.id, name=which.name)

    told = steering.order(a.Place(workspace, config, trust), which, ask)
    steering.say(as_json, told, "is told before its next step")


def stop(
    agent_id: a.Id = None,
    name: a.Name = None,
    reason: a.Reason = None,
    now: a.Now = False,
    workspace: o.Workspace = o.HERE,
    config: o.Config = None,
    trust: o.TrustOption = False,
    as_json: a.Json = False,
) -> None:
    """Stop an agent: its work ends at a checkpoint, and its name is free again."""
    which, place = a.Named.of(agent_id, name), a.Place(workspace, config, trust)
    project = place.usable_project()
    which.refuse_empty(workspace)

    async def ask(agents: AgentService) -> Stopped:
        return await agents.stop(which.id, name=which.name, reason=reason, now=now)

    stopped = a.with_agents(workspace, project, ask)
    ends = " Its work ends within a second." if stopped.ordered else ""
    steering.show(as_json, stopped, lambda: [f"Agent stopped successfully.{ends}"])


def update_status(
    status: Annotated[
        str, typer.Argument(metavar="STATUS", help="idle, running, completed, failed, stopped.")
    ],
    agent_id: a.Id = None,
    name: a.Name = None,
    workspace: o.Workspace = o.HERE,
    config: o.Config = None,
    trust: o.TrustOption = False,
    as_json: a.Json = False,
) -> None:
    """Set the status of a spawned agent that nobody drives; stopped stops it."""
    from typing import get_args

    from perstack.domain.agent_views import StatusUpdated
    from perstack.domain.agents import AgentStatus
    from perstack.services.bounds import check_word

    which, place = a.Named.of(agent_id, name), a.Place(workspace, config, trust)
    wanted = check_word(status, "STATUS", get_args(AgentStatus))
    project = place.usable_project()
    which.refuse_empty(workspace)

    async def ask(agents: AgentService) -> StatusUpdated:
        found = await agents.roll.get(which.id, name=which.name)
        await agents.update_status(found.id, wanted)
        return StatusUpdated(agent_id=found.id, status=wanted)

    done = a.with_agents(workspace, project, ask)
    steering.show(as_json, done, lambda: ["Status updated."])


def _resumed(agent: Agent) -> str:
    from perstack.services.agent_orders import goes_on_by

    if agent.process_id is None:
        more = "gives it work" if agent.origin == "spawned" else "goes on with its job"
        return f"is paused no more; {goes_on_by(agent)} {more}"
    if agent.paused_at is None:
        return "is at work and not paused; a pause that waits for its next step is taken back"
    return "is told to go on"


def _spawned(made: Agent, prompt: str | None) -> Iterable[str]:
    from perstack.projection.agent_text import agent_lines, prompt_lines

    yield from agent_lines(made)
    if prompt is not None:
        yield from prompt_lines(prompt)
