"""What the runs of this process use: counted from their events, judged, written in batches."""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final, Self

import anyio

from perstack.domain.coordination import ResourceSettings
from perstack.domain.events import Event
from perstack.domain.exhaustion import Transition
from perstack.domain.ids import AgentId
from perstack.domain.metering import activity_of
from perstack.domain.resources import Deliverable, ResourceMetrics, Verdict, begin
from perstack.errors import PerstackError
from perstack.ports.announcements import Announcer
from perstack.ports.resources import Change, Written
from perstack.ports.stores import Stores
from perstack.ports.system import Clock, Ids
from perstack.services.handle import Handle
from perstack.services.resource_ledger import UNKNOWN_TYPE, ResourceLedger, event_of
from perstack.services.resource_news import news_of

FLUSH_S: Final = 1.0
_CLOSING_S: Final = 5.0
_LOG: Final = logging.getLogger(__name__)

# What is to become of metrics, and of the phase, at a time (Unix ms).
Step = Callable[[ResourceMetrics, int], tuple[ResourceMetrics, Transition | None]]


class ResourceMeter:
    """Meters the runs of this process.

    `note`, `verdict` and `let_go` are for whoever drives runs: they return at once and never
    raise. What they gather is written by `flush`, which an open meter does by itself. `settings`
    may be set anew at any time. `on_change` is called when an agent of this process has to do
    something else than `verdict` last said (a person paused or resumed it elsewhere, or its time
    ran out).
    """

    def __init__(
        self,
        stores: Handle[Stores],
        *,
        settings: ResourceSettings,
        clock: Clock,
        ids: Ids,
        workspace: Path,
        announcer: Announcer,
        on_change: Callable[[AgentId, Verdict], None] | None = None,
    ) -> None:
        self._stores = stores
        self.settings = settings
        self._clock = clock
        self._ids = ids
        self._workspace = workspace
        self._announcer = announcer
        self.on_change = on_change
        self._ledger = ResourceLedger()
        self._flushing = anyio.Lock()
        self._woken = anyio.Event()

    @asynccontextmanager
    async def open(self, *, flush_s: float = FLUSH_S) -> AsyncGenerator[Self]:
        """Write and judge in the background until the block ends; what is left is written then."""
        async with anyio.create_task_group() as group:
            group.start_soon(self._keep_writing, flush_s, name="resources:flush")
            group.start_soon(self._keep_looking, name="resources:look")
            try:
                yield self
            finally:
                group.cancel_scope.cancel()
                with anyio.move_on_after(_CLOSING_S, shield=True):
                    await self._flush_quietly()

    def note(self, agent_id: AgentId, agent_type: str, event: Event) -> None:
        """Count an event of an agent's run. Takes microseconds."""
        if not self.settings.enabled:
            return
        activity = activity_of(event)
        if activity is not None and self._ledger.note(agent_id, agent_type, activity):
            # What other processes know of this agent is wanted soon.
            self._woken.set()

    def verdict(self, agent_id: AgentId) -> Verdict | None:
        """Return what a run has to do at a step's boundary, None when it is not metered."""
        if not self.settings.enabled:
            return None
        verdict = self._ledger.tell(agent_id, self.settings, self._clock.now_ms())
        if verdict is not None and verdict.action != "go":
            self._woken.set()
        return verdict

    def let_go(self, agent_id: AgentId) -> None:
        """Say that no run of the agent is driven here any more."""
        self._ledger.let_go(agent_id)

    async def flush(self) -> None:
        """Write what was gathered, and read what others wrote of the agents of this process.

        Raises:
            StorageError: the database cannot be read or written; nothing is lost.
        """
        async with self._flushing:
            taken = self._ledger.take()
            changes = [
                (agent_id, self._ledger.change(agent_id, deeds, self.settings, self._ids.new))
                for agent_id, deeds in taken.items()
            ]
            others = [one for one in self._ledger.agent_ids if one not in taken]
            try:
                written = await self._change(changes)
            except BaseException:
                self._ledger.put_back(taken)
                raise
            found = [one.metrics for one in written if one.metrics is not None]
            if others:
                found += await self._stores.ask(lambda stores: stores.resources.find(others))
            self._settle(found)
            self._ledger.drop_finished()

    # ---------------------------------------------------------------- for the verbs

    async def _step(
        self,
        agent_id: AgentId,
        step: Step,
        *,
        agent_type: str = UNKNOWN_TYPE,
        deliverable: Deliverable | None = None,
    ) -> ResourceMetrics:
        """Do one thing to an agent's metrics, which begin with it if there are none."""
        now, settings, event_id = self._clock.now_ms(), self.settings, self._ids.new()

        def change(stored: ResourceMetrics | None) -> Written:
            first = stored or begin(agent_id, agent_type, at=now)
            if first.agent_type == UNKNOWN_TYPE:
                first = first.model_copy(update={"agent_type": agent_type})
            after, changed = step(first, now)
            events = ()
            if changed is not None:
                events = (event_of(after, changed, settings, event_id=event_id, at=now),)
            return Written(after, events, deliverable)

        await self.flush()
        async with self._flushing:
            (written,) = await self._change([(agent_id, change)])
            after = written.metrics or begin(agent_id, agent_type, at=now)
            self._settle([after])
            return after

    async def _change(self, changes: Sequence[tuple[AgentId, Change]]) -> Sequence[Written]:
        """Write, and tell the channel what came of it."""
        if not changes:
            return ()
        written = await self._stores.ask(lambda stores: stores.resources.change(changes))
        for event in (event for one in written for event in one.events):
            if (news := news_of(event)) is not None:
                self._announcer.announce(news)
        return written

    def _settle(self, stored: Sequence[ResourceMetrics]) -> None:
        now = self._clock.now_ms()
        for metrics in stored:
            changed = self._ledger.settle(metrics.agent_id, metrics, self.settings, now)
            if changed is not None and self.on_change is not None:
                self.on_change(metrics.agent_id, changed)

    # ---------------------------------------------------------------- in the background

    async def _keep_writing(self, flush_s: float) -> None:
        while True:
            with anyio.move_on_after(flush_s):
                await self._woken.wait()
            self._woken = anyio.Event()
            await self._flush_quietly()

    async def _keep_looking(self) -> None:
        while True:
            await anyio.sleep(self.settings.check_interval_ms / 1000)
            if self.settings.enabled:
                self._ledger.look_at_all(self.settings, self._clock.now_ms())

    async def _flush_quietly(self) -> None:
        try:
            await self.flush()
        except PerstackError as error:
            _LOG.warning("what agents use is not written yet: %s", error.message)
