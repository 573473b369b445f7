"""What services ask of the table of agents."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from perstack.domain.agents import Agent, AgentOrigin, AgentStatus, DriverProcess, Order
from perstack.domain.identities import Identity
from perstack.domain.ids import AgentId, IdentityId, JobId, RunId, SessionId


@dataclass(frozen=True, slots=True)
class AgentFilter:
    """Which agents; None and empty mean any. Those with `ended_before` (Unix ms) are left out.

    `ended_before` is about runs alone: agents of the origin "run" that completed, failed or were
    stopped before that time and are not driven, as paused ones are. Stopped spawned agents are
    found only when `statuses` names "stopped".
    """

    session_id: SessionId | None = None
    identity_id: IdentityId | None = None
    job_id: JobId | None = None
    run_id: RunId | None = None
    parent_id: AgentId | None = None
    type: str | None = None
    origin: AgentOrigin | None = None
    statuses: Sequence[AgentStatus] = ()
    ended_before: int | None = None


@dataclass(frozen=True, slots=True)
class AgentMove:
    """What becomes of an agent when its status changes, without touching what its driver writes.

    `at` in Unix ms. `last_error`, `current_task` and `process_id` are set as given, None clears
    them. A `job_id` of None keeps the agent's.
    """

    status: AgentStatus
    at: int
    current_task: str | None = None
    last_error: str | None = None
    process_id: str | None = None
    job_id: JobId | None = None


class AgentStore(Protocol):
    """Agents, the processes that drive them, and orders; shared by all processes."""

    async def add(
        self, agent: Agent, *, max_spawned: int | None = None, identity: Identity | None = None
    ) -> None:
        """Write a new agent, in one transaction with the checks.

        Its identity is noted to be spawned; `identity` is a new one to be written first, which
        gets another display name if its own is taken.

        Raises:
            ConflictError: it is spawned, and a spawned agent that is not stopped has its name; or
                its identity is not active.
            NotFoundError: there is no such identity.
            LimitError: `max_spawned` spawned agents are there that are not stopped.
        """
        ...

    async def record(self, agents: Sequence[Agent]) -> None:
        """Write agents as their driver sees them, new or not, in one transaction.

        Names of the origin "run" need not be unique, and what an agent's origin is stays. The
        status of a spawned agent that is there follows from `process_id`: running with one, and
        without one idle again if it was running; "completed", "failed" and "stopped", which others
        said of it, stay, "stopped" in any case. Its last error is only replaced by another one.
        Orders for an agent that nobody drives any more are dropped.
        """
        ...

    async def get(self, agent_id: AgentId) -> Agent:
        """Return it.

        Raises:
            NotFoundError: no such agent.
        """
        ...

    async def find_by_name(self, name: str) -> Agent | None:
        """Return the agent of that name that is not stopped, or is a paused run.

        Spawned ones come before runs, the newest run before older ones.
        """
        ...

    async def list(
        self, wanted: AgentFilter, *, limit: int = 1_000, offset: int = 0
    ) -> Sequence[Agent]:
        """Return agents, oldest first."""
        ...

    async def count_by_status(self, wanted: AgentFilter) -> dict[AgentStatus, int]:
        """Return how many agents have each status; statuses that none has are left out."""
        ...

    async def update(self, agent: Agent, *, expected: Sequence[AgentStatus]) -> bool:
        """Replace an agent whose stored status is among `expected`; say whether it was."""
        ...

    async def move(
        self, agent_id: AgentId, move: AgentMove, *, expected: Sequence[AgentStatus]
    ) -> bool:
        """Change the status of an agent whose stored one is among `expected`; say whether it was.

        Nothing but what the move names is changed, and `lost`, which becomes False. Orders for an
        agent that nobody drives any more are dropped.
        """
        ...

    async def beat(self, process: DriverProcess) -> bool:
        """Say that a process lives, and return whether that was known.

        It is not known the first time, nor after somebody took it for dead (`mark_lost`).
        """
        ...

    async def end(self, process_id: str) -> None:
        """Forget a process that ends in an orderly way, and that it drives anything."""
        ...

    async def processes(self) -> Sequence[DriverProcess]:
        """Return the processes that did not end."""
        ...

    async def mark_lost(self, dead: Sequence[DriverProcess], *, now_ms: int) -> Sequence[Agent]:
        """Mark what dead processes drove as lost, forget them; return those agents.

        What was running has failed then. What worked for a loop or a coordinator is stopped, idle
        workers of that coordinator, too, since nobody would give them work. A process that has
        beaten since it was looked at is left alone.
        """
        ...

    async def order(self, order: Order) -> int:
        """Write an order for the process that drives the agent; return its number.

        Raises:
            NotFoundError: no such agent.
            ConflictError: no process drives it.
        """
        ...

    async def take_orders(
        self, process_id: str, agent_ids: Sequence[AgentId] | None = None
    ) -> Sequence[Order]:
        """Return the orders for agents of the process, oldest first; each is returned once.

        With `agent_ids` those for these agents alone; the others wait. Takes no write lock when
        there is none.
        """
        ...
