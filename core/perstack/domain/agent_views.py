"""What is told of agents, in the seed's shapes and somewhat wider."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

from perstack.domain.agents import Agent, AgentStatus, AgentType
from perstack.domain.base import Model
from perstack.domain.identities import Identity
from perstack.domain.ids import AgentId, JobId, RunId, SessionId
from perstack.domain.moments import Moment


class AgentSummary(Model):
    """An agent as lists name it."""

    id: AgentId
    type: str
    name: str
    status: AgentStatus
    created_at: Moment
    session_id: SessionId | None = None


class AgentList(Model):
    """Agents, oldest first."""

    count: int
    agents: tuple[AgentSummary, ...]


class TypeSummary(Model):
    """An agent type without its instruction."""

    type: str
    name: str
    description: str
    capabilities: tuple[str, ...]


class TypeList(Model):
    """What can be spawned: core types first."""

    count: int
    types: tuple[TypeSummary, ...]


class Spawned(Model):
    """A new agent and the instruction that it has."""

    success: Literal[True] = True
    agent: AgentSummary
    prompt: str


class AgentReport(Model):
    """What one agent is, does and can do."""

    found: Literal[True] = True
    agent: Agent
    capabilities: tuple[str, ...]
    system_prompt: str


class AgentDetail(Agent):
    """An agent with what it can do and the instruction that it has."""

    capabilities: tuple[str, ...]
    system_prompt: str


class AbleAgent(Agent):
    """An agent together with what its type can do."""

    capabilities: tuple[str, ...]


class AgentDetails(Model):
    """What one agent is, does and can do, with its capabilities in both of the seed's places."""

    found: Literal[True] = True
    agent: AbleAgent
    capabilities: tuple[str, ...]
    system_prompt: str


class Stopped(Model):
    """That an agent is stopped. `ordered`: another process ends its work within a second."""

    success: Literal[True] = True
    message: str = "Agent stopped"
    agent_id: AgentId
    ordered: bool = False


class StatusUpdated(Model):
    """That an agent has a status."""

    success: Literal[True] = True
    message: Literal["Status updated"] = "Status updated"
    agent_id: AgentId
    status: AgentStatus


class Ordered(Model):
    """That an agent was told something: the process that drives it obeys within a second."""

    success: Literal[True] = True
    message: str
    agent_id: AgentId
    name: str


class Execution(Model):
    """What came of one prompt. `duration` in milliseconds.

    `ending` is "asked" when it put a question to the user, "awaiting" when a decision is awaited,
    "stopped" when somebody stopped it and "limit" when it used up its steps or its budget: then
    `response` says what is known, and the job can be gone on with.
    """

    agent_id: AgentId
    response: str
    model: str
    duration: int
    ending: Literal["completed", "asked", "limit", "stopped", "awaiting"] = "completed"
    job_id: JobId
    run_id: RunId
    steps: int
    input_tokens: int
    output_tokens: int
    cost_usd: float | None


class IdentityHistory(Model):
    """Who carried an identity: agents, oldest first, and the jobs that they worked at."""

    identity: Identity
    agents: tuple[Agent, ...]
    job_ids: tuple[JobId, ...]


def agent_list(agents: Iterable[Agent]) -> AgentList:
    """Return agents as the seed's `agent_list` answers them."""
    listed = tuple(summary(agent) for agent in agents)
    return AgentList(count=len(listed), agents=listed)


def type_list(types: Iterable[AgentType]) -> TypeList:
    """Return types as the seed's `agent_types` answers them."""
    listed = tuple(
        TypeSummary(
            type=one.type,
            name=one.name,
            description=one.description,
            capabilities=one.capabilities,
        )
        for one in types
    )
    return TypeList(count=len(listed), types=listed)


def agent_detail(report: AgentReport) -> AgentDetail:
    """Return an agent with what it can do."""
    return AgentDetail.model_validate(
        {
            **dict(report.agent),
            "capabilities": report.capabilities,
            "system_prompt": report.system_prompt,
        }
    )


def details(report: AgentReport) -> AgentDetails:
    """Return a report as the seed's `agent_status` answers it."""
    able = {**report.agent.model_dump(by_alias=False), "capabilities": report.capabilities}
    return AgentDetails(
        agent=AbleAgent.model_validate(able),
        capabilities=report.capabilities,
        system_prompt=report.system_prompt,
    )


def summary(agent: Agent) -> AgentSummary:
    """Return an agent as lists name it."""
    return AgentSummary(
        id=agent.id,
        type=agent.type,
        name=agent.name,
        status=agent.status,
        created_at=agent.created_at,
        session_id=agent.session_id,
    )
