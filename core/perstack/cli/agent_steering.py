"""`perstack agent model`, `take`, `budget` and `retry`: changing agents at work."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from typing import TYPE_CHECKING, Annotated

import typer

from perstack.cli import agent_options as a
from perstack.cli import options as o

if TYPE_CHECKING:
    from pydantic import BaseModel

    from perstack.domain.agents import Agent
    from perstack.services.agents import AgentService

ModelName = Annotated[
    str, typer.Argument(metavar="MODEL", help="A model of the provider that it has.")
]
MoreSteps = Annotated[
    int | None, typer.Option("--steps", metavar="N", min=1, help="Steps on top of maxSteps.")
]
MoreTokens = Annotated[
    int | None, typer.Option("--tokens", metavar="N", min=1, help="Tokens on top of maxTokens.")
]
MoreCost = Annotated[
    float | None, typer.Option("--cost", metavar="USD", help="USD on top of maxCostUsd.")
]
MoreTime = Annotated[
    int | None,
    typer.Option("--duration", metavar="MS", min=1, help="Milliseconds on top of maxDuration."),
]


def model(
    name_of_model: ModelName,
    agent_id: a.Id = None,
    name: a.Name = None,
    workspace: o.Workspace = o.HERE,
    config: o.Config = None,
    trust: o.TrustOption = False,
    as_json: a.Json = False,
) -> None:
    """Have an agent at work generate with another model from its next step on."""
    which = a.Named.of(agent_id, name)

    async def ask(agents: AgentService) -> Agent:
        return await agents.orders.change_model(name_of_model, which.id, name=which.name)

    told = order(a.Place(workspace, config, trust), which, ask)
    say(as_json, told, "is told to change its model before its next step")


def take(
    agent_id: a.Id = None,
    name: a.Name = None,
    workspace: o.Workspace = o.HERE,
    config: o.Config = None,
    trust: o.TrustOption = False,
    yes: o.YesOption = False,
    as_json: a.Json = False,
) -> None:
    """Have an agent at work go on as its Expert is defined now, from its next step on."""
    which = a.Named.of(agent_id, name)
    place = a.Place(workspace, config, trust, yes)
    project = place.project()

    async def ask(agents: AgentService) -> Agent:
        from perstack.cli.registry_experts import complete_for_agent

        agent = await agents.roll.get(which.id, name=which.name)
        whole = await complete_for_agent(project, agent.type, yes=yes)
        return await agents.orders.take_definition(whole.experts, agent.id)

    told = order(place, which, ask)
    say(as_json, told, "is told to take its definition before its next step")


def budget(
    agent_id: a.Id = None,
    name: a.Name = None,
    steps: MoreSteps = None,
    tokens: MoreTokens = None,
    cost: MoreCost = None,
    duration: MoreTime = None,
    workspace: o.Workspace = o.HERE,
    config: o.Config = None,
    trust: o.TrustOption = False,
    as_json: a.Json = False,
) -> None:
    """Let the job of an agent at work use more than it was given."""
    from pydantic import ValidationError

    from perstack.domain.orders import Raise
    from perstack.errors import UsageError

    which = a.Named.of(agent_id, name)
    try:
        more = Raise(max_steps=steps, max_tokens=tokens, max_cost_usd=cost, max_duration=duration)
    except ValidationError as error:
        raise UsageError("no budget can be raised by that much", hint="name less") from error

    async def ask(agents: AgentService) -> Agent:
        return await agents.orders.raise_budget(more, which.id, name=which.name)

    told = order(a.Place(workspace, config, trust), which, ask)
    say(as_json, told, "is told that its job may use more")


def retry(
    agent_id: a.Id = None,
    name: a.Name = None,
    workspace: o.Workspace = o.HERE,
    config: o.Config = None,
    trust: o.TrustOption = False,
    as_json: a.Json = False,
) -> None:
    """Have a delegation that failed done again, by the agent that delegated it."""
    which = a.Named.of(agent_id, name)

    async def ask(agents: AgentService) -> Agent:
        return await agents.orders.retry(which.id, name=which.name)

    told = order(a.Place(workspace, config, trust), which, ask)
    say(as_json, told, "is to be done again")


# ------------------------------------------------------------------ shared with `agent`


def order(place: a.Place, which: a.Named, ask: Callable[[AgentService], Awaitable[Agent]]) -> Agent:
    """Return the agent that was ordered something."""
    project = place.named_project()
    which.refuse_empty(place.workspace)
    return a.with_agents(place.workspace, project, ask)


def show(as_json: bool, view: BaseModel, lines: Callable[[], Iterable[str]]) -> None:
    """Print a view as JSON or as lines."""
    from perstack.cli.printing import print_lines

    print_lines([a.json_of(view)] if as_json else lines())


def say(as_json: bool, told: Agent, words: str) -> None:
    """Print that an agent was ordered something."""
    from perstack.domain.agent_views import Ordered
    from perstack.projection.inert import inert

    view: Ordered = Ordered(message=f"Agent {words}", agent_id=told.id, name=told.name)
    show(as_json, view, lambda: [f"{inert(told.name, newlines=False)} {words}."])
