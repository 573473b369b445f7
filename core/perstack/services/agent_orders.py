"""Orders: what people want of agents at work, whichever process drives them."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Final, Protocol

from anyio import to_thread

from perstack.config.builtin import reachable
from perstack.config.kept import fit_to_keep
from perstack.domain.agents import Agent, Order, OrderKind
from perstack.domain.expert import Expert
from perstack.domain.ids import AgentId, ExpertKey
from perstack.domain.orders import DefinitionOrder, Raise, RetryOrder
from perstack.errors import ConflictError, DeniedError, UsageError
from perstack.ports.stores import Stores
from perstack.ports.system import Clock
from perstack.services.agent_roll import AgentRoll
from perstack.services.ancestry import refuse_if_inside_run
from perstack.services.bounds import check_text
from perstack.services.handle import Handle
from perstack.services.whoami import whoami

STEERING_LENGTH: Final = 20_480
MODEL_LENGTH: Final = 200
# What makes sense of a run that has ended as well, once its job goes on.
_GOING_ON: Final = ("resume", "model", "definition", "budget", "retry")


class LiftLimits(Protocol):
    """What lets an agent go on that the resource limits paused."""

    async def __call__(self, agent_id: AgentId, *, allow_self: bool = False) -> bool:
        """Lift them; say whether they had paused it.

        Raises:
            DeniedError: this process is a run or was started by one.
        """
        ...


class AgentOrders:
    """Writes orders, which the driving process takes within a second.

    They are refused from within a run's own process tree. `allow_self` is for a process that
    drives jobs itself: a person pressed a key in it, or its own work orders its own workers.
    `lift` is asked first when an agent is resumed.
    """

    def __init__(
        self,
        stores: Handle[Stores],
        *,
        roll: AgentRoll,
        clock: Clock,
        workspace: Path,
        lift: LiftLimits | None = None,
    ) -> None:
        self._stores = stores
        self._roll = roll
        self._clock = clock
        self._workspace = workspace
        self._lift = lift

    async def pause(
        self,
        agent_id: AgentId | None = None,
        *,
        name: str | None = None,
        reason: str | None = None,
        by: str | None = None,
        allow_self: bool = False,
    ) -> Agent:
        """Have an agent wait before its next step, until it is resumed.

        Raises:
            ConflictError: it is not at work.
            UsageError, NotFoundError, DeniedError: as `give`, and as `AgentRoll.get`.
        """
        agent = await self._roll.get(agent_id, name=name)
        await self.give(agent, "pause", reason, by=by, allow_self=allow_self)
        return agent

    async def resume(
        self,
        agent_id: AgentId | None = None,
        *,
        name: str | None = None,
        by: str | None = None,
        allow_self: bool = False,
    ) -> Agent:
        """Let a paused agent go on, also one that its resource limits paused: they count from here.

        One that nobody drives any more can be executed again.

        Raises:
            ConflictError: it is neither paused nor at work.
            UsageError, NotFoundError, DeniedError: as `give`, and as `AgentRoll.get`.
        """
        agent = await self._roll.get(agent_id, name=name)
        lifted = self._lift is not None and await self._lift(agent.id, allow_self=allow_self)
        if agent.process_id is None and agent.paused_at is not None:
            return await self._unpause(agent, allow_self=allow_self)
        try:
            await self.give(agent, "resume", None, by=by, allow_self=allow_self)
        except ConflictError as error:
            if not lifted:
                raise ConflictError(f"agent {agent.name} is not paused", hint=error.hint) from error
        return agent

    async def steer(
        self,
        text: str,
        agent_id: AgentId | None = None,
        *,
        name: str | None = None,
        by: str | None = None,
        allow_self: bool = False,
    ) -> Agent:
        """Put a message of the user's before the agent's next step.

        Raises:
            UsageError: it is empty or too long, or neither id nor name was given.
            NotFoundError: `Agent not found`.
            ConflictError, DeniedError: as `give`.
        """
        check_text(text, "message", shortest=1, longest=STEERING_LENGTH)
        agent = await self._roll.get(agent_id, name=name)
        await self.give(agent, "steer", text, by=by, allow_self=allow_self)
        return agent

    async def change_model(
        self,
        model: str,
        agent_id: AgentId | None = None,
        *,
        name: str | None = None,
        by: str | None = None,
        allow_self: bool = False,
    ) -> Agent:
        """Have an agent at work generate with another model of its provider from its next step on.

        Raises:
            UsageError: the model's name is empty or too long; and as `steer`.
            NotFoundError, ConflictError, DeniedError: as `steer`.
        """
        check_text(model, "model", shortest=1, longest=MODEL_LENGTH)
        agent = await self._roll.get(agent_id, name=name)
        await self.give(agent, "model", model, by=by, allow_self=allow_self)
        return agent

    async def take_definition(
        self,
        experts: Mapping[ExpertKey, Expert],
        agent_id: AgentId | None = None,
        *,
        name: str | None = None,
        by: str | None = None,
        allow_self: bool = False,
    ) -> Agent:
        """Have an agent at work go on as `experts` define its Expert, from its next step on.

        Raises:
            UsageError: they do not define it; and as `steer`.
            NotFoundError, ConflictError, DeniedError: as `steer`.
        """
        agent = await self._roll.get(agent_id, name=name)
        text = definition_text(ExpertKey(agent.type), experts)
        await self.give(agent, "definition", text, by=by, allow_self=allow_self)
        return agent

    async def raise_budget(
        self,
        more: Raise,
        agent_id: AgentId | None = None,
        *,
        name: str | None = None,
        by: str | None = None,
        allow_self: bool = False,
    ) -> Agent:
        """Let the job of an agent at work use more.

        Raises:
            UsageError: nothing is raised; and as `steer`.
            NotFoundError, ConflictError, DeniedError: as `steer`.
        """
        if more == Raise():
            raise UsageError("nothing is raised", hint="say how much more of what")
        agent = await self._roll.get(agent_id, name=name)
        await self.give(agent, "budget", more.model_dump_json(), by=by, allow_self=allow_self)
        return agent

    async def retry(
        self,
        agent_id: AgentId | None = None,
        *,
        name: str | None = None,
        by: str | None = None,
        allow_self: bool = False,
    ) -> Agent:
        """Have a delegated run that failed done again, by the run that delegated it.

        Raises:
            ConflictError: it did not fail, nobody delegated it, or that run is not at work.
            UsageError, NotFoundError, DeniedError: as `steer`.
        """
        agent = await self._roll.get(agent_id, name=name)
        if agent.process_id is not None or agent.status == "completed":
            said = "is at work" if agent.process_id is not None else "has completed its work"
            raise ConflictError(f"agent {agent.name} {said}", hint="only what failed is done again")
        if agent.parent_id is None or agent.run_id is None:
            raise ConflictError(
                f"nobody delegated to agent {agent.name}", hint=f"{goes_on_by(agent)} goes on"
            )
        failed = RetryOrder(
            run_id=agent.run_id, expert_key=ExpertKey(agent.type), query=agent.current_task or ""
        )
        parent = await self._roll.get(agent.parent_id)
        await self.give(parent, "retry", failed.model_dump_json(), by=by, allow_self=allow_self)
        return agent

    async def give(
        self,
        agent: Agent,
        kind: OrderKind,
        text: str | None,
        *,
        by: str | None = None,
        allow_self: bool = False,
    ) -> None:
        """Write an order for the process that drives the agent.

        Raises:
            ConflictError: no process drives it.
            DeniedError: this process is a run or was started by one.
        """
        await self._refuse_runs(allow_self=allow_self)
        order = Order(
            agent_id=agent.id,
            kind=kind,
            text=text,
            by=by or whoami(),
            created_at=self._clock.now_ms(),
        )
        try:
            await self._stores.ask(lambda s: s.agents.order(order))
        except ConflictError as error:
            raise ConflictError(error.message, hint=_instead_of(kind, agent)) from error

    async def _unpause(self, agent: Agent, *, allow_self: bool) -> Agent:
        await self._refuse_runs(allow_self=allow_self)
        after = agent.model_copy(
            update={
                "paused_at": None,
                "pause_reason": None,
                "updated_at": self._clock.now_ms(),
            }
        )
        if not await self._stores.ask(lambda s: s.agents.update(after, expected=(agent.status,))):
            raise ConflictError(f"agent {agent.name} has changed meanwhile", hint="look again")
        return after

    async def _refuse_runs(self, *, allow_self: bool) -> None:
        try:
            await to_thread.run_sync(
                partial(refuse_if_inside_run, self._workspace, allow_self=allow_self)
            )
        except DeniedError as error:
            why = error.message.partition(": ")[2]
            raise DeniedError(
                f"a run cannot give orders to agents: {why}",
                hint="give them in the cockpit, or in a terminal of your own",
            ) from error


def definition_text(key: ExpertKey, experts: Mapping[ExpertKey, Expert]) -> str:
    """Return what an order carries of the Expert `key` and whom it can delegate to.

    Raises:
        UsageError: `experts` do not define it.
    """
    wanted = experts.get(key)
    if wanted is None:
        raise UsageError(f"no Expert {key} is defined now", hint="look at perstack.toml")
    kept = fit_to_keep(reachable(wanted, experts))
    return DefinitionOrder(experts=kept).model_dump_json()


def addressed(agent: Agent) -> str:
    """Return the option by which a command names the agent, as a shell takes it."""
    plain = agent.name.isascii() and agent.name.isprintable()
    return shlex.join(["-n", agent.name] if plain else ["-i", agent.id])


def goes_on_by(agent: Agent) -> str:
    """Return what to type so that an agent that nobody drives does more.

    A run cannot be given work: its job goes on, which its coordinator's Expert is named for.
    """
    if agent.origin == "spawned":
        return f"perstack agent exec {addressed(agent)} -p …"
    expert = "EXPERT" if agent.parent_id else shlex.quote(agent.type)
    return f"perstack run {expert} --continue-job {agent.job_id or 'JOB'}"


def _instead_of(kind: OrderKind, agent: Agent) -> str:
    if agent.origin == "spawned":
        return f"{goes_on_by(agent)} gives it work"
    if kind in _GOING_ON and agent.job_id is not None:
        return f"{goes_on_by(agent)} goes on with its job"
    return "only an agent that is at work can be ordered anything"
