"""The agents of review loops and coordinators, as records that anybody can see and stop."""

from __future__ import annotations

from perstack.domain.agents import Agent
from perstack.domain.expert import Expert
from perstack.domain.ids import AgentId, ExpertKey, SessionId
from perstack.errors import NotFoundError
from perstack.ports.stores import Stores
from perstack.ports.system import Clock, Ids
from perstack.services.agents import AgentService
from perstack.services.handle import Handle


class AgentCrew:
    """Implements `ports.crew.Crew`. `ids` gives UUIDs."""

    def __init__(
        self, stores: Handle[Stores], *, agents: AgentService, clock: Clock, ids: Ids
    ) -> None:
        self._stores = stores
        self._agents = agents
        self._clock = clock
        self._ids = ids

    async def take_on(
        self,
        agent_type: str,
        *,
        name: str,
        owner: str,
        session_id: SessionId | None = None,
    ) -> AgentId:
        """Make an idle agent of that type.

        Raises:
            UsageError: `Unknown agent type: …`.
            ConflictError: an agent has that name.
        """
        self._agents.types.expert(agent_type)
        now = self._clock.now_ms()
        agent = Agent(
            id=AgentId(self._ids.new()),
            type=agent_type,
            name=name,
            status="idle",
            origin="spawned",
            session_id=session_id,
            # Its owner may be a loop, which is no agent; what counts is that it has one.
            parent_id=AgentId(owner),
            memory_namespace=f"session:{session_id or owner}",
            created_at=now,
            updated_at=now,
        )
        await self._stores.ask(lambda stores: stores.agents.add(agent))
        return agent.id

    async def let_go(self, agent_id: AgentId) -> None:
        """Stop it; nothing when it is gone."""
        try:
            # A coordinator may itself run below a run; it lets go of nobody's agents but its own.
            await self._agents.stop(agent_id, reason="its work is done", allow_self=True)
        except NotFoundError:
            return

    def to_run(self, agent_type: str) -> ExpertKey | Expert:
        """Return the Expert that agents of a type are, as a request names it.

        Raises:
            UsageError: `Unknown agent type: …`.
        """
        return self._agents.types.to_run(agent_type)

    async def is_gone(self, agent_id: AgentId) -> bool:
        """Say whether it was stopped, or whoever drove it died."""
        try:
            agent = await self._agents.roll.get(agent_id)
        except NotFoundError:
            return True
        return agent.lost or agent.status == "stopped"
