"""The agents of review loops and coordinators, as records that anybody can see and stop."""

from __future__ import annotations

from typing import Final

from perstack.domain.agents import Agent, AgentStatus, DriverProcess
from perstack.domain.expert import Expert
from perstack.domain.ids import AgentId, ExpertKey, SessionId
from perstack.errors import ConflictError, NotFoundError
from perstack.ports.agents import AgentMove
from perstack.ports.stores import Stores
from perstack.ports.system import Clock, Ids
from perstack.services.agents import AgentService
from perstack.services.handle import Handle
from perstack.services.processes import own_process

_READY: Final[tuple[AgentStatus, ...]] = ("idle", "completed", "failed")


class AgentCrew:
    """Implements `ports.crew.Crew`. `ids` gives UUIDs.

    `process_id` is that of the desk, which beats for what this process has at work.
    """

    def __init__(
        self,
        stores: Handle[Stores],
        *,
        agents: AgentService,
        clock: Clock,
        ids: Ids,
        process_id: str | None = None,
    ) -> None:
        self._stores = stores
        self._agents = agents
        self._clock = clock
        self._ids = ids
        self._process: DriverProcess | None = None
        if process_id is not None:
            self._process = own_process(process_id, now_ms=clock.now_ms())

    async def take_on(
        self,
        agent_type: str,
        *,
        name: str,
        owner: str,
        session_id: SessionId | None = None,
    ) -> AgentId:
        """Make an idle agent of that type, in place of one that the owner left under that name.

        Raises:
            UsageError: `Unknown agent type: …`.
            ConflictError: an agent of somebody else has that name.
        """
        await self._agents.types.learn(agent_type)
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
        try:
            await self._stores.ask(lambda stores: stores.agents.add(agent))
        except ConflictError:
            # A process that died here, before anybody knew the agent's id, left it behind.
            if not await self._let_go_of(name, owner):
                raise
            await self._stores.ask(lambda stores: stores.agents.add(agent))
        return agent.id

    async def begin(self, agent_id: AgentId) -> None:
        """Write that this process drives it, before anything is given to it.

        Raises:
            NotFoundError: it is gone.
        """
        await self._beat()
        process_id = None if self._process is None else self._process.id
        move = AgentMove("running", self._clock.now_ms(), process_id=process_id)
        if not await self._stores.ask(lambda s: s.agents.move(agent_id, move, expected=_READY)):
            raise NotFoundError("Agent not found", hint="it was stopped meanwhile")

    async def keep(self, agent_id: AgentId) -> bool:
        """Say that this process lives; False when others took it, and the agent, for dead.

        Raises:
            StorageError: it cannot be written.
        """
        await self._beat()
        agent = await self._stores.ask(lambda stores: stores.agents.get(agent_id))
        return not agent.lost

    async def end(self, agent_id: AgentId) -> None:
        """Write that nobody drives it; nothing when it is gone."""
        move = AgentMove("idle", self._clock.now_ms())
        await self._stores.ask(lambda s: s.agents.move(agent_id, move, expected=("running",)))

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

    async def _beat(self) -> None:
        process = self._process
        if process is not None:
            alive = process.model_copy(update={"beat_at": self._clock.now_ms()})
            await self._stores.ask(lambda stores: stores.agents.beat(alive))

    async def _let_go_of(self, name: str, owner: str) -> bool:
        left = await self._stores.ask(lambda stores: stores.agents.find_by_name(name))
        if left is None or left.parent_id != owner:
            return False
        await self.let_go(left.id)
        return True
