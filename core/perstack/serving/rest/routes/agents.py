"""/api/v1/agents."""

from __future__ import annotations

from fastapi import APIRouter, Depends

from perstack.domain.agent_views import AgentList, agent_list
from perstack.domain.ids import SessionId
from perstack.serving.rest.context import Services, needs
from perstack.serving.rest.envelope import Envelope, ok

router = APIRouter(prefix="/agents", tags=["agents"])
READS = Depends(needs("agents", "read"))


@router.get("", dependencies=[READS])
async def list_agents(services: Services, sessionId: str | None = None) -> Envelope[AgentList]:  # noqa: N803
    """List the agents that are spawned or at work, oldest first."""
    session = SessionId(sessionId) if sessionId else None
    return ok(agent_list(await services.coordination.agents.roll.here(session)))
