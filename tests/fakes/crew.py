"""A `Crew` that remembers whom it took on and let go."""

from __future__ import annotations

from itertools import count

from perstack.domain.expert import Expert
from perstack.domain.ids import AgentId, ExpertKey, SessionId
from perstack.errors import ConflictError, LimitError, NotFoundError, UsageError


class FakeCrew:
    """Implements `Crew`; `here` are the names of the agents at work, by id.

    Without `types` every type is known.
    """

    def __init__(self, *, limit: int = 100, types: tuple[str, ...] = ()) -> None:
        self._limit = limit
        self._types = types
        self._numbers = count(1)
        self._owners: dict[AgentId, str] = {}
        self.here: dict[AgentId, str] = {}
        self.taken: list[tuple[str, str, SessionId | None]] = []

    async def take_on(
        self,
        agent_type: str,
        *,
        name: str,
        owner: str,
        session_id: SessionId | None = None,
    ) -> AgentId:
        assert owner
        self.to_run(agent_type)
        for there, named in list(self.here.items()):
            if named == name and self._owners[there] == owner:
                await self.let_go(there)
            elif named == name:
                raise ConflictError(f"Agent with name '{name}' already exists")
        if len(self.here) >= self._limit:
            raise LimitError("Maximum number of concurrent agents reached")
        agent_id = AgentId(f"agent{next(self._numbers)}")
        self.here[agent_id] = name
        self._owners[agent_id] = owner
        self.taken.append((agent_type, name, session_id))
        return agent_id

    async def begin(self, agent_id: AgentId) -> None:
        if agent_id not in self.here:
            raise NotFoundError("Agent not found")

    async def keep(self, agent_id: AgentId) -> bool:
        return agent_id in self.here

    async def end(self, agent_id: AgentId) -> None:
        pass

    async def let_go(self, agent_id: AgentId) -> None:
        self.here.pop(agent_id, None)

    def to_run(self, agent_type: str) -> ExpertKey | Expert:
        if self._types and agent_type not in self._types:
            raise UsageError(f"Unknown agent type: {agent_type}")
        return ExpertKey(agent_type)

    async def is_gone(self, agent_id: AgentId) -> bool:
        return agent_id not in self.here
