"""Agents that work for a while in somebody's name: of a review loop, of a coordinator."""

from __future__ import annotations

from typing import Protocol

from perstack.domain.expert import Expert
from perstack.domain.ids import AgentId, ExpertKey, SessionId


class Crew(Protocol):
    """Takes agents on and lets them go.

    They do not count as spawned: who takes them on has bounds of its own.
    """

    async def take_on(
        self,
        agent_type: str,
        *,
        name: str,
        owner: str,
        session_id: SessionId | None = None,
    ) -> AgentId:
        """Make an idle agent of that type, for the loop or the agent with the id `owner`.

        One that the same owner left under that name is let go first.

        Raises:
            UsageError: there is no such type.
            ConflictError: an agent of somebody else has that name.
            LimitError: there are too many agents.
        """
        ...

    async def begin(self, agent_id: AgentId) -> None:
        """Say that this process has it at work now; should the process die, it is gone.

        Raises:
            NotFoundError: it is gone.
        """
        ...

    async def keep(self, agent_id: AgentId) -> bool:
        """Say that this process lives and still has it at work; to be said every few seconds.

        Returns:
            False when the process was taken for dead meanwhile, and the agent is gone for that.
        """
        ...

    async def end(self, agent_id: AgentId) -> None:
        """Say that it is idle again; nothing when it is gone."""
        ...

    async def let_go(self, agent_id: AgentId) -> None:
        """Stop it, and whatever it still does; nothing when it is gone."""
        ...

    def to_run(self, agent_type: str) -> ExpertKey | Expert:
        """Return the Expert that agents of a type are, as a request names it.

        Raises:
            UsageError: there is no such type.
        """
        ...

    async def is_gone(self, agent_id: AgentId) -> bool:
        """Say whether it was stopped, or whoever drove it died."""
        ...
