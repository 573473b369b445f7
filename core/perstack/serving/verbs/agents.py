"""The verbs of agents: the seed's six."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, JsonValue

from perstack.domain.agent_views import (
    AgentDetails,
    AgentList,
    Spawned,
    StatusUpdated,
    Stopped,
    TypeList,
    agent_list,
    details,
    type_list,
)
from perstack.domain.ids import AgentId, SessionId
from perstack.errors import UnfitError
from perstack.serving.verbs.verb import MOST_ID, Asked, Call, Nothing, Verb


class SpawnAgent(Asked):
    """What to spawn."""

    type: Annotated[str, Field(min_length=1, max_length=600)]
    """Type of agent to spawn: coder, researcher, tester, reviewer, adversarial, architect,
    coordinator, analyst, devops, documentation, security-auditor, or an Expert of the project;
    one of the registry is named with its organisation, version or tag"""
    name: Annotated[str | None, Field(min_length=1, max_length=100)] = None
    """Optional name for the agent"""
    session_id: Annotated[SessionId | None, Field(min_length=1, max_length=MOST_ID)] = None
    """Optional session to associate with"""
    metadata: dict[str, JsonValue] | None = None
    """Optional metadata"""


class ListAgents(Asked):
    """Which agents."""

    session_id: Annotated[SessionId | None, Field(min_length=1, max_length=MOST_ID)] = None
    """Filter by session ID"""


class WhichAgent(Asked):
    """An agent, by id or by name; the id counts where both are given."""

    id: Annotated[AgentId | None, Field(max_length=MOST_ID)] = None
    """Agent ID"""
    name: Annotated[str | None, Field(max_length=100)] = None
    """Agent name (alternative to ID)"""


class UpdateAgentStatus(Asked):
    """A new status."""

    id: Annotated[AgentId, Field(min_length=1, max_length=MOST_ID)]
    """Agent ID"""
    status: Literal["idle", "running", "completed", "failed", "stopped"]
    """Status to set; stopped stops the agent"""


async def spawn(call: Call, asked: SpawnAgent) -> Spawned:
    """Make an idle agent."""
    agents = call.coordination.agents
    made = await agents.spawn(
        asked.type, name=asked.name, session_id=asked.session_id, metadata=asked.metadata
    )
    return agents.told(made)


async def list_(call: Call, asked: ListAgents) -> AgentList:
    """Return the agents that are there."""
    return agent_list(await call.coordination.agents.roll.here(asked.session_id))


async def stop(call: Call, asked: WhichAgent) -> Stopped:
    """Stop one."""
    which = _named(asked)
    # This process may drive jobs; one that a run started is refused all the same.
    return await call.coordination.agents.stop(
        which.id, name=which.name, by=call.client.name, allow_self=True
    )


async def status(call: Call, asked: WhichAgent) -> AgentDetails:
    """Return what one is and can do."""
    return details(await call.coordination.agents.status(asked.id, name=asked.name))


async def types(call: Call, _: Nothing) -> TypeList:
    """Return what can be spawned."""
    return type_list(call.coordination.agents.types.list())


async def update_status(call: Call, asked: UpdateAgentStatus) -> StatusUpdated:
    """Set the status of one that nobody drives."""
    agents = call.coordination.agents
    await agents.update_status(asked.id, asked.status, by=call.client.name, allow_self=True)
    return StatusUpdated(agent_id=asked.id, status=asked.status)


def _named(asked: WhichAgent) -> WhichAgent:
    if asked.id is None and asked.name is None:
        raise UnfitError("Either id or name is required")
    return asked


AGENT_VERBS = (
    Verb(
        "agent_spawn",
        "Create a new agent instance. It is idle until it is given work.",
        SpawnAgent,
        Spawned,
        spawn,
        effect="writes",
        fails_as="success",
    ),
    Verb("agent_list", "List active agents.", ListAgents, AgentList, list_),
    Verb(
        "agent_stop",
        "Stop an agent. Its work ends at a checkpoint and its name is free again.",
        WhichAgent,
        Stopped,
        stop,
        effect="destroys",
        fails_as="success",
    ),
    Verb(
        "agent_status",
        "Get agent details and capabilities.",
        WhichAgent,
        AgentDetails,
        status,
        fails_as="found",
    ),
    Verb("agent_types", "List available agent types.", Nothing, TypeList, types),
    Verb(
        "agent_update_status",
        "Update the status of an agent that no run drives.",
        UpdateAgentStatus,
        StatusUpdated,
        update_status,
        effect="destroys",
        fails_as="success",
        repeatable=True,
    ),
)
