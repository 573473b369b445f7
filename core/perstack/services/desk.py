"""The records of this process's runs, and what people anywhere want of them. `ports.desk.Desk`.

Everything that comes from the engine is taken in at once and written a little later, so that no
run waits for the database; what cannot be written is tried again and never ends a run.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Final, Protocol

import anyio

from perstack.domain.agents import Order
from perstack.domain.drift import DriftResult
from perstack.domain.events import Event
from perstack.domain.ids import AgentId, ExpertKey, RunId, TaskId
from perstack.domain.resources import Verdict
from perstack.errors import PerstackError
from perstack.ports.desk import LIMITS, DriftVerdict, Helm, Hold, RunCard
from perstack.ports.stores import Stores
from perstack.ports.system import Clock
from perstack.projection.agent_tally import AgentTally
from perstack.projection.run_state import RunState
from perstack.services.agent_records import AgentRecords, HeldRun
from perstack.services.handle import Handle
from perstack.services.obeying import obey
from perstack.services.run_tasks import RunTasks

FLUSH_S: Final = 0.25
BEAT_S: Final = 2.5
ORDERS_S: Final = 0.2
CLOSING_S: Final = 3.0
_AGAIN_S: Final = 1.0
_LOG: Final = logging.getLogger(__name__)


class Meter(Protocol):
    """The resource limits, as the desk asks them. All synchronous and quick."""

    def note(self, agent_id: AgentId, agent_type: str, event: Event) -> None:
        """Count an event."""
        ...

    def verdict(self, agent_id: AgentId) -> Verdict | None:
        """Return what a run has to do at a boundary, None when it is not metered."""
        ...

    def let_go(self, agent_id: AgentId) -> None:
        """No run of the agent is driven here any more."""
        ...


class Judge(Protocol):
    """Drift detection, as the desk asks it."""

    @property
    def active(self) -> bool:
        """Whether anything is judged."""
        ...

    async def judge(self, parent_task_id: TaskId, agent_type: str, task_input: str) -> DriftResult:
        """Compare an input with the tasks above it, and write down that it was. Never raises."""
        ...


@dataclass(frozen=True, slots=True)
class DeskParts:
    """What a desk works with. `resume` raises a paused agent's limits once somebody resumed it."""

    stores: Handle[Stores]
    clock: Clock
    process_id: str
    redact: Callable[[str], str]
    tasks: RunTasks
    judge: Judge | None = None
    meter: Meter | None = None
    resume: Callable[[AgentId], Awaitable[object]] | None = None


class AgentDesk:
    """Keeps the agents of this process; `open` gives one that works."""

    def __init__(self, parts: DeskParts) -> None:
        self._parts = parts
        self._held: dict[RunId, HeldRun] = {}
        self._dirty: dict[RunId, HeldRun] = {}
        self._woken = anyio.Event()
        self._busy = anyio.Event()
        self._flushing = anyio.Lock()
        self._records = AgentRecords(parts.stores, clock=parts.clock, process_id=parts.process_id)

    @classmethod
    @asynccontextmanager
    async def open(cls, parts: DeskParts) -> AsyncGenerator[AgentDesk]:
        """Give a desk that writes, beats and takes orders in the background until the block ends.

        The database is opened a moment after the first run was taken up, and not before.
        """
        desk = cls(parts)
        async with anyio.create_task_group() as group:
            group.start_soon(desk._keep_writing, name="desk:write")
            group.start_soon(desk._keep_beating, name="desk:beat")
            group.start_soon(desk._keep_taking_orders, name="desk:orders")
            group.start_soon(parts.tasks.keep_calling_hooks, name="desk:hooks")
            try:
                yield desk
            finally:
                group.cancel_scope.cancel()
                with anyio.move_on_after(CLOSING_S, shield=True):
                    await desk._close()

    # ------------------------------------------------------------ the engine's side

    @property
    def judges_drift(self) -> bool:
        """True when delegations are compared with the tasks they descend from."""
        return self._parts.judge is not None and self._parts.judge.active

    def take_up(self, card: RunCard, state: RunState, helm: Helm) -> None:
        """A run is being driven from now on."""
        query = None if card.query is None else self._parts.redact(card.query)
        clean = replace(card, query=query)
        held = HeldRun(AgentTally(clean, state), helm)
        self._held[card.run_id] = held
        self._parts.tasks.begin(clean)
        self._touch(card.run_id, held)
        self._busy.set()

    async def lift(self, run_id: RunId) -> None:
        """A person has a run with a past go on: limits that paused it count from here."""
        held = self._held.get(run_id)
        if held is not None and self._parts.resume is not None:
            with anyio.move_on_after(CLOSING_S):
                await self._raise_limits(held.tally.owner)

    def hear(self, event: Event) -> None:
        """An event of a run that was taken up was recorded."""
        held = self._held.get(event.run_id)
        if held is None:
            return
        held.tally.hear(event)
        self._parts.tasks.hear(event)
        if self._parts.meter is not None:
            self._parts.meter.note(held.tally.owner, held.tally.card.expert_key, event)
        self._touch(event.run_id, held)

    def let_go(self, run_id: RunId) -> None:
        """The run is driven no more."""
        held = self._held.pop(run_id, None)
        if held is None:
            return
        held.tally.ended = True
        self._parts.tasks.let_go(run_id)
        if self._parts.meter is not None:
            self._parts.meter.let_go(held.tally.owner)
        self._touch(run_id, held)
        if not self._held:
            self._busy = anyio.Event()

    def hold(self, run_id: RunId) -> Hold | None:
        """Return what the resource limits want at this boundary."""
        held, meter = self._held.get(run_id), self._parts.meter
        if held is None or meter is None:
            return None
        verdict = meter.verdict(held.tally.owner)
        if verdict is None or verdict.action == "go":
            return None
        return Hold(verdict.action, verdict.reason or "a limit was reached")

    async def judge(self, parent: RunId, agent_type: ExpertKey, query: str) -> DriftVerdict:
        """Compare a delegation with its ancestors, the delegating run's task being the first."""
        if self._parts.judge is None:
            return DriftVerdict("allowed", 0.0)
        await self._tried(self._parts.tasks.flush)
        redacted = self._parts.redact(query)
        return _verdict(await self._parts.judge.judge(TaskId(parent), agent_type, redacted))

    # ------------------------------------------------------------ other services' side

    @property
    def process_id(self) -> str:
        """What agents that this process drives are recorded under."""
        return self._parts.process_id

    async def order(self, run_id: RunId, order: Order) -> bool:
        """Obey an order for a run that is driven here, if it is; say whether it is.

        Nothing is written: so runs can be steered before their agents are on record.
        """
        held = self._held.get(run_id)
        if held is None:
            return False
        await self._obey_with(held, order)
        return True

    async def present(self) -> None:
        """Say now that this process lives, rather than with its first run.

        Raises:
            StorageError: it cannot be written.
        """
        if not self._records.is_known:
            await self._records.beat()

    def change(self, agent_id: AgentId, verdict: Verdict) -> None:
        """The limits want something else of an agent than before: somebody resumed it, say."""
        for held in self._of(agent_id):
            match verdict.action:
                case "go":
                    held.helm.resume(LIMITS)
                case "pause":
                    held.helm.pause(LIMITS, verdict.reason)
                case "stop":
                    held.helm.stop(f"{LIMITS}: {verdict.reason}")

    async def settle(self) -> None:
        """Write what was heard now, if that is possible: what is not is written later."""
        await self._tried(self.flush)

    async def finish(self) -> None:
        """Write what was heard and call the hooks that are due, while plugins are still there.

        Bounded in time; never raises.
        """
        with anyio.move_on_after(CLOSING_S, shield=True):
            await self._tried(self.flush)
            await self._tried(self._parts.tasks.call_hooks)

    async def flush(self) -> None:
        """Write what was heard.

        Raises:
            StorageError: it cannot be written now; nothing is lost.
        """
        async with self._flushing:
            await self._parts.tasks.flush()
            dirty, self._dirty = self._dirty, {}
            try:
                await self._records.write(list(dirty.values()))
            except BaseException:
                self._dirty = {**dirty, **self._dirty}
                raise

    # ------------------------------------------------------------ the loops

    async def _keep_writing(self) -> None:
        while True:
            await self._woken.wait()
            await anyio.sleep(FLUSH_S)
            self._woken = anyio.Event()
            if not await self._tried(self.flush):
                self._woken.set()
                await anyio.sleep(_AGAIN_S)

    async def _keep_beating(self) -> None:
        await self._busy.wait()
        await anyio.sleep(FLUSH_S)
        while True:
            await self._busy.wait()
            await self._tried(self._beat)
            await anyio.sleep(BEAT_S)

    async def _keep_taking_orders(self) -> None:
        seen = ""
        while True:
            await self._busy.wait()
            await anyio.sleep(ORDERS_S)
            if not self._records.is_known:
                continue  # nobody can have ordered anything yet: no agent of ours is known
            try:
                version = await self._parts.stores.ask(lambda stores: stores.version())
                if version != seen:
                    await self._take_orders()
                    seen = version
            except PerstackError as error:
                _LOG.warning("orders could not be looked for: %s", error.message)
                await anyio.sleep(_AGAIN_S)

    async def _tried(self, work: Callable[[], Awaitable[object]]) -> bool:
        try:
            await work()
        except PerstackError as error:
            _LOG.warning("the agents' records could not be written: %s", error.message)
            return False
        except Exception:  # noqa: BLE001  records that cannot be written must not end the runs
            _LOG.exception("the agents' records are wrong, and not written")
        return True

    async def _beat(self) -> None:
        if await self._records.beat():
            for run_id, held in self._held.items():
                self._parts.tasks.begin_again(run_id)
                self._touch(run_id, held)

    async def _take_orders(self) -> None:
        mine = self._parts.process_id
        # An agent that is just being given work has no run yet: what is ordered of it waits.
        here = [held.tally.owner for held in self._held.values()]
        for order in await self._parts.stores.ask(
            lambda stores: stores.agents.take_orders(mine, here)
        ):
            await self._obey(order)

    async def _obey(self, order: Order) -> None:
        held = self._of(order.agent_id)
        if not held:
            _LOG.warning("agent %s had ended when %s came", order.agent_id, order.kind)
        for one in held:
            try:
                await self._obey_with(one, order)
            except Exception:  # noqa: BLE001  those that were taken with it must not be lost
                _LOG.exception("agent %s could not obey %s", order.agent_id, order.kind)

    async def _obey_with(self, held: HeldRun, order: Order) -> None:
        obey(held.helm, order)
        if order.kind == "resume":
            # After that, so that the record names the person and not the limits.
            await self._raise_limits(held.tally.owner)

    async def _raise_limits(self, agent_id: AgentId) -> None:
        if self._parts.resume is None:
            return
        try:
            await self._parts.resume(agent_id)
        except PerstackError as error:
            _LOG.warning("the limits of agent %s stand as they did: %s", agent_id, error.message)

    async def _close(self) -> None:
        await self._tried(self.flush)
        await self._tried(self._records.end)
        await self._tried(self._parts.tasks.call_hooks)

    # ------------------------------------------------------------ writing

    def _touch(self, run_id: RunId, held: HeldRun) -> None:
        self._dirty[run_id] = held
        self._woken.set()

    def _of(self, agent_id: AgentId) -> list[HeldRun]:
        return [held for held in self._held.values() if held.tally.owner == agent_id]


def _verdict(found: DriftResult) -> DriftVerdict:
    unseen = found.verdict == "pending" and found.action == "allowed"
    return DriftVerdict(
        action="pending" if unseen else found.action,
        similarity=found.highest_similarity,
        task_id=found.most_similar_task_id,
        checked_ancestors=found.checked_ancestors,
        reason=found.reason,
    )
