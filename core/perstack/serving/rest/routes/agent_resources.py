"""/api/v1/agents/{id}/…: what an agent uses, what it delivers, and having it wait."""

from __future__ import annotations

from typing import Annotated, Final

from fastapi import APIRouter, Depends
from pydantic import Field

from perstack.domain.resource_views import Paused, ResourceView, Resumed, resource_view
from perstack.domain.resources import Deliverable, DeliverableType
from perstack.serving.rest.context import Principal, Services, needs
from perstack.serving.rest.envelope import Envelope, ok
from perstack.serving.rest.parameters import REASON_LENGTH, AgentPath, Body

router = APIRouter()
READS = Depends(needs("agents", "read"))
Writer = Annotated[Principal, Depends(needs("agents", "write"))]
BY_HAND: Final = "Manual pause via API"


class DeliverableBody(Body):
    """A result."""

    type: DeliverableType
    description: Annotated[str | None, Field(max_length=10_000)] = None
    artifacts: Annotated[
        list[Annotated[str, Field(min_length=1, max_length=4_096)]], Field(max_length=1_000)
    ] = []  # noqa: RUF012  pydantic copies it
    """Paths of what was made"""


class PauseBody(Body):
    """Why an agent is to wait."""

    reason: Annotated[str, Field(min_length=1, max_length=REASON_LENGTH)] = BY_HAND


@router.get("/{id}/resources", dependencies=[READS])
async def get_resources(services: Services, agent_id: AgentPath) -> Envelope[ResourceView]:
    """Return what an agent used since it began."""
    resources = services.coordination.resources
    resources.refuse_if_off()
    agent = await services.coordination.agents.roll.get(agent_id)
    return ok(resource_view(await resources.get_agent_metrics(agent.id)))


@router.post("/{id}/deliverable", status_code=201)
async def deliver(
    services: Services, _: Writer, agent_id: AgentPath, body: DeliverableBody
) -> Envelope[Deliverable]:
    """Record a result; the agent's clock begins anew."""
    resources = services.coordination.resources
    resources.refuse_if_off()
    agent = await services.coordination.agents.roll.get(agent_id)
    return ok(
        await resources.record_deliverable(
            agent.id, body.type, body.description, body.artifacts, allow_self=True
        )
    )


@router.post("/{id}/pause")
async def pause(
    services: Services, _: Writer, agent_id: AgentPath, body: PauseBody | None = None
) -> Envelope[Paused]:
    """Have an agent wait before its next step, and begin nothing, until it is resumed."""
    resources = services.coordination.resources
    resources.refuse_if_off()
    agent = await services.coordination.agents.roll.get(agent_id)
    reason = (body or PauseBody()).reason
    paused = await resources.pause_agent(agent.id, reason)
    # Who is paused already stays so for the reason that was given first.
    return ok(Paused(reason=paused.pause_reason or reason))


@router.post("/{id}/resume")
async def resume(services: Services, principal: Writer, agent_id: AgentPath) -> Envelope[Resumed]:
    """Let an agent go on that somebody or its limits paused; the limits count from here."""
    services.coordination.resources.refuse_if_off()
    orders = services.coordination.agents.orders
    await orders.resume(agent_id, by=principal.name, allow_self=True)
    return ok(Resumed())
