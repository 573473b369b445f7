"""The roll of agents: who is there and at work, whichever process drives them."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from functools import partial
from typing import Final

import anyio
from anyio import to_thread

from perstack.domain.agents import Agent, AgentStatus
from perstack.domain.ids import AgentId, RunId, SessionId
from perstack.errors import NotFoundError, UsageError
from perstack.ports.agents import AgentFilter
from perstack.ports.stores import Stores
from perstack.ports.system import Clock
from perstack.services.changes import Changes
from perstack.services.handle import Handle
from perstack.services.processes import dead_processes

LOOK_EVERY_S: Final = 1.0
POLL_S: Final = 0.25
RECENT_MS: Final = 300_000


class AgentRoll:
    """Reads the table of agents. Who reads also sees to agents whose processes died.

    Those are looked for at most once a second, however many ask.
    """

    def __init__(self, stores: Handle[Stores], *, clock: Clock) -> None:
        self._stores = stores
        self._clock = clock
        self._looking = anyio.Lock()
        self._looked_at = float("-inf")
        self._changes = Changes(lambda: stores.ask(lambda s: s.version()))

    async def list(
        self, wanted: AgentFilter | None = None, *, limit: int = 1_000, offset: int = 0
    ) -> Sequence[Agent]:
        """Return agents, oldest first; without a filter those that are spawned or at work."""
        await self.mark_lost()
        which = wanted or AgentFilter(ended_before=self._clock.now_ms() + 1)
        return await self._stores.ask(lambda s: s.agents.list(which, limit=limit, offset=offset))

    async def here(self, session_id: SessionId | None = None) -> Sequence[Agent]:
        """Return the agents that are spawned or at work, of a session if one is named."""
        now = self._clock.now_ms()
        return await self.list(AgentFilter(session_id=session_id, ended_before=now + 1))

    async def count_by_status(self, wanted: AgentFilter | None = None) -> dict[AgentStatus, int]:
        """Return how many agents have each status; without a filter of those `list` returns."""
        await self.mark_lost()
        which = wanted or AgentFilter(ended_before=self._clock.now_ms() + 1)
        return await self._stores.ask(lambda s: s.agents.count_by_status(which))

    async def get(self, agent_id: AgentId | None = None, *, name: str | None = None) -> Agent:
        """Return the agent with an id, or else of a name. Stopped spawned agents are gone.

        Raises:
            UsageError: `Either id or name is required`.
            NotFoundError: `Agent not found`.
        """
        found = await self.find(agent_id, name=name)
        if found is None:
            raise NotFoundError("Agent not found", hint="perstack agent list shows them")
        return found

    async def find(
        self, agent_id: AgentId | None = None, *, name: str | None = None
    ) -> Agent | None:
        """Return the agent as `get` does, or None.

        Raises:
            UsageError: `Either id or name is required`.
        """
        if not agent_id and not name:
            raise UsageError("Either id or name is required")
        await self.mark_lost()
        if agent_id:
            return await self._find_by_id(agent_id)
        return await self._stores.ask(lambda s: s.agents.find_by_name(name or ""))

    async def mark_lost(self) -> Sequence[Agent]:
        """Mark as failed and lost what dead processes drove; return those agents.

        A process is dead that has not beaten for 10 s, or is gone from this machine.
        """
        async with self._looking:
            if anyio.current_time() - self._looked_at < LOOK_EVERY_S:
                return ()
            processes = await self._stores.ask(lambda s: s.agents.processes())
            now = self._clock.now_ms()
            dead = await to_thread.run_sync(partial(dead_processes, processes, now_ms=now))
            self._looked_at = anyio.current_time()
            if not dead:
                return ()
            return await self._stores.ask(lambda s: s.agents.mark_lost(dead, now_ms=now))

    async def watch(
        self, wanted: AgentFilter | None = None, *, limit: int = 1_000, poll_s: float = POLL_S
    ) -> AsyncGenerator[Sequence[Agent], None]:
        """Yield agents, and again whenever the database changed, until closed.

        Without a filter those that are spawned, at work, or ended within the last five minutes.

        Raises:
            StorageError: the database cannot be read (`LockedError`: now); calling again retries.
        """
        seen: str | None = None
        while True:
            await self.mark_lost()
            version = await self._changes.look(poll_s / 2)
            if version != seen:
                recently = AgentFilter(ended_before=self._clock.now_ms() - RECENT_MS)
                yield await self.list(wanted or recently, limit=limit)
                seen = version
            await anyio.sleep(poll_s)

    async def _find_by_run(self, run_id: RunId) -> Agent | None:
        """Return the spawned agent that does a run: a run's events, and hints, name the run."""
        wanted = AgentFilter(origin="spawned", run_id=run_id)
        found = await self._stores.ask(lambda s: s.agents.list(wanted, limit=1))
        return found[0] if found else None

    async def _find_by_id(self, agent_id: AgentId) -> Agent | None:
        try:
            found = await self._stores.ask(lambda s: s.agents.get(agent_id))
        except NotFoundError:
            return await self._find_by_run(RunId(agent_id))
        gone = found.origin == "spawned" and found.status == "stopped"
        return None if gone else found
