"""/api/v1/agents: who is there, and having them work; `agent_resources` is what they use."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import APIRouter, Depends
from pydantic import Field, JsonValue
from starlette.requests import Request

from perstack.domain.agent_views import (
    AgentDetail,
    AgentList,
    Execution,
    Spawned,
    StatusUpdated,
    TypeList,
    agent_detail,
    agent_list,
    type_list,
)
from perstack.domain.base import Model
from perstack.domain.ids import SessionId
from perstack.services.agent_execution import PROMPT_LENGTH
from perstack.services.named_models import program_or_refuse
from perstack.serving.rest.context import Principal, Services, needs
from perstack.serving.rest.envelope import Envelope, ok
from perstack.serving.rest.parameters import ID_LENGTH, AgentPath, Body, SessionQuery
from perstack.serving.rest.patience import while_wanted
from perstack.serving.rest.routes import agent_resources

router = APIRouter(prefix="/agents", tags=["agents"])
READS = Depends(needs("agents", "read"))
Writer = Annotated[Principal, Depends(needs("agents", "write"))]


class SpawnBody(Body):
    """What to spawn."""

    type: Annotated[str, Field(min_length=1, max_length=600)]
    """A type of agent, as /agents/types lists them"""
    name: Annotated[str | None, Field(min_length=1, max_length=100)] = None
    session_id: Annotated[SessionId | None, Field(min_length=1, max_length=ID_LENGTH)] = None
    metadata: dict[str, JsonValue] | None = None


class StatusBody(Body):
    """A new status; "stopped" stops it."""

    status: Literal["idle", "running", "completed", "failed", "stopped"]


class ExecuteBody(Body):
    """What an agent is to do."""

    task: Annotated[str, Field(min_length=1, max_length=PROMPT_LENGTH)]
    provider: Annotated[str | None, Field(min_length=1, max_length=200)] = None
    """The provider in use, or claude-code, gemini-cli or codex; another one is refused"""
    model: Annotated[str | None, Field(min_length=1, max_length=200)] = None
    """Another model of the provider"""
    context: Annotated[str | None, Field(max_length=PROMPT_LENGTH)] = None
    """What stands before the task"""


class ChatBody(Body):
    """What is said to an agent."""

    message: Annotated[str, Field(min_length=1, max_length=PROMPT_LENGTH)]
    context: Annotated[str | None, Field(max_length=PROMPT_LENGTH)] = None
    """What stands before the message"""


class AgentGone(Model):
    """That an agent was stopped."""

    stopped: Literal[True] = True


@router.get("", dependencies=[READS])
async def list_agents(services: Services, session_id: SessionQuery = None) -> Envelope[AgentList]:
    """List the agents that are spawned or at work, oldest first."""
    return ok(agent_list(await services.coordination.agents.roll.here(session_id)))


@router.get("/types", dependencies=[READS])
async def list_types(services: Services) -> Envelope[TypeList]:
    """List what can be spawned, core types first."""
    return ok(type_list(services.coordination.agents.types.list()))


@router.post("", status_code=201)
async def spawn(services: Services, _: Writer, body: SpawnBody) -> Envelope[Spawned]:
    """Make an idle agent."""
    agents = services.coordination.agents
    made = await agents.spawn(
        body.type, name=body.name, session_id=body.session_id, metadata=body.metadata
    )
    return ok(agents.told(made))


@router.get("/{id}", dependencies=[READS])
async def get_agent(services: Services, agent_id: AgentPath) -> Envelope[AgentDetail]:
    """Return what an agent is, does and can do."""
    return ok(agent_detail(await services.coordination.agents.status(agent_id)))


@router.delete("/{id}")
async def stop(services: Services, principal: Writer, agent_id: AgentPath) -> Envelope[AgentGone]:
    """Stop an agent; its work ends at a checkpoint."""
    await services.coordination.agents.stop(agent_id, by=principal.name, allow_self=True)
    return ok(AgentGone())


@router.put("/{id}/status")
async def set_status(
    services: Services, principal: Writer, agent_id: AgentPath, body: StatusBody
) -> Envelope[StatusUpdated]:
    """Set the status of an agent that no run drives."""
    agents = services.coordination.agents
    await agents.update_status(agent_id, body.status, by=principal.name, allow_self=True)
    return ok(StatusUpdated(agent_id=agent_id, status=body.status))


@router.post("/{id}/execute")
async def execute(
    services: Services, _: Writer, request: Request, agent_id: AgentPath, body: ExecuteBody
) -> Envelope[Execution]:
    """Have an agent work; its job stops at a checkpoint when the client goes away."""
    used = services.runtime.project.config.settings.provider.name
    program = program_or_refuse(body.provider, used)
    execution = services.coordination.execution
    return ok(
        await while_wanted(
            request,
            lambda: execution.execute(
                body.task, agent_id, context=body.context, model=body.model, program=program
            ),
        )
    )


@router.post("/{id}/chat")
async def chat(
    services: Services, _: Writer, request: Request, agent_id: AgentPath, body: ChatBody
) -> Envelope[Execution]:
    """Say something to an agent, which goes on with its conversation."""
    execution = services.coordination.execution
    return ok(
        await while_wanted(
            request, lambda: execution.chat(body.message, agent_id, context=body.context)
        )
    )


router.include_router(agent_resources.router)
