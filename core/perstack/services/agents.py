"""Agents: the verbs by which people spawn, look at and stop them."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import Final, get_args

from pydantic import JsonValue

from perstack.domain.agent_views import AgentReport, Spawned, Stopped, summary
from perstack.domain.agents import (
    MAX_SPAWNED,
    Agent,
    AgentStatus,
    default_name,
)
from perstack.domain.coordination import AgentsSettings
from perstack.domain.identities import Identity
from perstack.domain.ids import AgentId, IdentityId, SessionId
from perstack.errors import ConflictError, DeniedError, NotFoundError, UsageError
from perstack.ports.agents import AgentFilter, AgentMove
from perstack.ports.announcements import Announcement, Announcer, NoAnnouncer
from perstack.ports.identities import Deed
from perstack.ports.stores import Stores
from perstack.ports.system import Clock, Ids
from perstack.services.agent_orders import AgentOrders
from perstack.services.agent_roll import AgentRoll
from perstack.services.agent_types import AgentTypes
from perstack.services.bounds import check_metadata, check_text, check_word
from perstack.services.handle import Handle

NAME_LENGTH: Final = 100

_STATUSES: Final[tuple[AgentStatus, ...]] = get_args(AgentStatus)
_LIVE: Final[tuple[AgentStatus, ...]] = ("idle", "running", "completed", "failed")
_LOOKS: Final = 5
_LOG: Final = logging.getLogger(__name__)


class AgentService:
    """Spawns and stops agents. `ids` gives UUIDs.

    `settings` may be set anew at any time. `forget` drops what else is kept of an agent that is
    stopped, its resource figures say.
    """

    def __init__(
        self,
        stores: Handle[Stores],
        *,
        roll: AgentRoll,
        orders: AgentOrders,
        types: AgentTypes,
        clock: Clock,
        ids: Ids,
        settings: AgentsSettings,
        announcer: Announcer | None = None,
        forget: Callable[[AgentId], Awaitable[object]] | None = None,
    ) -> None:
        self._stores = stores
        self.roll = roll
        self.orders = orders
        self.types = types
        self._clock = clock
        self._ids = ids
        self.settings = settings
        self._announcer = announcer or NoAnnouncer()
        self._forget = forget

    async def spawn(
        self,
        agent_type: str,
        *,
        name: str | None = None,
        session_id: SessionId | None = None,
        metadata: Mapping[str, JsonValue] | None = None,
        identity_id: IdentityId | None = None,
        create_identity: bool = False,
    ) -> Agent:
        """Make an idle agent.

        It carries the identity `identity_id`, or with `create_identity` a new one of its name.

        Raises:
            UsageError: unknown type, a name that is not 1 to 100 characters long, or more than
                64 KiB of metadata.
            NotFoundError: there is no such identity.
            ConflictError: the name is taken, or the identity is not active.
            LimitError: so many agents are there already.
        """
        check_text(agent_type, "type", shortest=1, longest=NAME_LENGTH * 6)
        await self.types.learn(agent_type)
        self.types.expert(agent_type)
        if name is not None:
            check_text(name, "name", shortest=1, longest=NAME_LENGTH)
        check_metadata(metadata)
        if identity_id is not None and create_identity:
            raise UsageError("identityId and createIdentity cannot both be given")
        agent = self._new(agent_type, name, session_id, metadata)
        identity = self._identity_of(agent) if create_identity else None
        carried = identity.agent_id if identity else identity_id
        agent = agent.model_copy(update={"identity_id": carried})
        most = min(self.settings.max_concurrent, MAX_SPAWNED)
        # Those that dead processes drove are still there, but no longer at work.
        await self.roll.mark_lost()
        await self._stores.ask(lambda s: s.agents.add(agent, max_spawned=most, identity=identity))
        self._announcer.announce(Announcement("agent_spawned", agent.name, (("type", agent_type),)))
        return agent

    def told(self, agent: Agent) -> Spawned:
        """Return what the seed's `agent_spawn` answers about an agent that was just spawned."""
        return Spawned(agent=summary(agent), prompt=self.types.expert(agent.type).instruction)

    async def status(
        self, agent_id: AgentId | None = None, *, name: str | None = None
    ) -> AgentReport:
        """Return what an agent is and can do; a type that is gone since can do nothing.

        Raises:
            UsageError: `Either id or name is required`.
            NotFoundError: `Agent not found`.
        """
        agent = await self.roll.get(agent_id, name=name)
        found = self.types.find(agent.type)
        return AgentReport(
            agent=agent,
            capabilities=found.capabilities if found else (),
            system_prompt=found.system_prompt if found else "",
        )

    async def update_status(
        self, agent_id: AgentId, status: str, *, by: str | None = None, allow_self: bool = False
    ) -> Agent | None:
        """Set the status of a spawned agent that nobody drives now; "stopped" stops it.

        `allow_self` as for `stop`.

        Returns:
            The agent as it is then, None when it was stopped.

        Raises:
            UsageError: `Invalid status. Must be one of: …`.
            NotFoundError: `Agent not found`.
            ConflictError: its status follows from what it does.
            DeniedError: as `stop`.
        """
        if status not in _STATUSES:
            raise UsageError(f"Invalid status. Must be one of: {', '.join(_STATUSES)}")
        wanted = check_word(status, "status", _STATUSES)
        agent = await self.roll.get(agent_id)
        if wanted == "stopped":
            await self.stop(agent_id, by=by, allow_self=allow_self)
            return None
        if agent.origin == "run" or agent.process_id is not None:
            raise ConflictError(
                f"agent {agent.name} is driven by a run: its status follows from what it does",
                hint="stop it, or wait for its end",
            )
        move = AgentMove(wanted, self._clock.now_ms(), current_task=agent.current_task)
        if not await self._stores.ask(
            lambda s: s.agents.move(agent.id, move, expected=(agent.status,))
        ):
            raise ConflictError(f"agent {agent.name} has changed meanwhile", hint="look again")
        return await self.roll.get(agent_id)

    async def stop(
        self,
        agent_id: AgentId | None = None,
        *,
        name: str | None = None,
        by: str | None = None,
        reason: str | None = None,
        now: bool = False,
        allow_self: bool = False,
    ) -> Stopped:
        """Stop an agent. A run's is ordered to stop; a spawned one is gone and its name free.

        Its identity goes to rest unless another live agent carries it. With `now` tools that run
        are not waited for, and are in doubt when the run goes on.

        Raises:
            UsageError: `Either id or name is required`.
            NotFoundError: `Agent not found`.
            ConflictError: it is a run's, and not at work; or it changes all the time.
            DeniedError: it is at work, and this process is a run or was started by one.
        """
        agent = await self.roll.get(agent_id, name=name)
        if agent.origin == "run":
            kind = "stopNow" if now else "stop"
            await self.orders.give(agent, kind, reason, by=by, allow_self=allow_self)
            return Stopped(agent_id=agent.id, ordered=True)
        if now and agent.process_id is not None:
            await self.orders.give(agent, "stopNow", reason, by=by, allow_self=allow_self)
        ordered = await self._stop_spawned(agent, reason, by, allow_self=allow_self)
        await self._drop_figures(agent.id)
        self._announcer.announce(Announcement("agent_stopped", agent.name, (("type", agent.type),)))
        return Stopped(agent_id=agent.id, ordered=ordered)

    async def stop_all(
        self,
        session_id: SessionId | None = None,
        *,
        by: str | None = None,
        allow_self: bool = False,
    ) -> int:
        """Stop all spawned agents, or those of a session; return how many were stopped.

        Raises:
            DeniedError: one of them is at work, and this process is a run or was started by one.
        """
        wanted = AgentFilter(session_id=session_id, origin="spawned")
        stopped = 0
        for agent in await self.roll.list(wanted, limit=MAX_SPAWNED * 50):
            try:
                await self.stop(agent.id, by=by, allow_self=allow_self)
            except NotFoundError:
                continue
            stopped += 1
        return stopped

    # ------------------------------------------------------------- internals

    async def _stop_spawned(
        self, agent: Agent, reason: str | None, by: str | None, *, allow_self: bool
    ) -> bool:
        """Stop it, and say whether somebody was at work with it, who is told.

        Who takes it up in the very moment is told as well: it would work on unseen otherwise.
        """
        seen = agent
        for _ in range(_LOOKS):
            ordered = False
            if seen.process_id is not None:
                ordered = await self._order_to_stop(seen, reason, by, allow_self=allow_self)
            if await self._retire_name(seen, reason):
                return ordered
            seen = await self.roll.get(agent.id)
        raise ConflictError(f"agent {agent.name} changes all the time", hint="try again")

    async def _order_to_stop(
        self, agent: Agent, reason: str | None, by: str | None, *, allow_self: bool
    ) -> bool:
        """Order, and say whether somebody was there to obey."""
        try:
            await self.orders.give(agent, "stop", reason, by=by, allow_self=allow_self)
        except ConflictError:
            return False
        return True

    async def _drop_figures(self, agent_id: AgentId) -> None:
        if self._forget is None:
            return
        try:
            await self._forget(agent_id)
        except DeniedError as error:
            # It is stopped all the same; what it used stays on record.
            _LOG.info("agent %s: %s", agent_id, error.message)

    async def _retire_name(self, agent: Agent, reason: str | None) -> bool:
        """Let it be stopped, if it is as it was seen; who drives it is known to end."""
        now = self._clock.now_ms()
        move = AgentMove("stopped", now, last_error=agent.last_error, process_id=agent.process_id)
        expected = (agent.status,) if agent.process_id is None else _LIVE
        if not await self._stores.ask(lambda s: s.agents.move(agent.id, move, expected=expected)):
            return False
        if agent.identity_id is not None:
            identity_id = agent.identity_id
            deed = Deed(at=now, reason=reason or f"Agent {agent.name} was stopped")
            await self._stores.ask(lambda s: s.identities.release(identity_id, deed))
        return True

    def _new(
        self,
        agent_type: str,
        name: str | None,
        session_id: SessionId | None,
        metadata: Mapping[str, JsonValue] | None,
    ) -> Agent:
        agent_id = AgentId(self._ids.new())
        now = self._clock.now_ms()
        return Agent(
            id=agent_id,
            type=agent_type,
            name=name or default_name(agent_type, agent_id),
            status="idle",
            origin="spawned",
            session_id=session_id,
            memory_namespace=f"session:{session_id or agent_id}",
            created_at=now,
            updated_at=now,
            metadata=dict(metadata or {}),
        )

    def _identity_of(self, agent: Agent) -> Identity:
        return Identity(
            agent_id=IdentityId(self._ids.new()),
            agent_type=agent.type,
            status="active",
            display_name=agent.name,
            metadata={"ephemeral": True, "spawnId": agent.id},
            created_at=agent.created_at,
            last_active_at=agent.created_at,
            updated_at=agent.created_at,
        )
