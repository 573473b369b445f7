"""Writes the agents that this process drives, and that it lives."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import anyio.to_thread

from perstack.domain.agents import Agent, DriverProcess
from perstack.errors import ConflictError, NotFoundError
from perstack.ports.desk import Helm
from perstack.ports.identities import Deed
from perstack.ports.stores import Stores
from perstack.ports.system import Clock
from perstack.projection.agent_tally import AgentTally
from perstack.services.handle import Handle
from perstack.services.processes import own_process

_LOG: Final = logging.getLogger(__name__)


@dataclass(slots=True)
class HeldRun:
    """A run that is driven here. `base` is its spawned agent as it stood before, once read."""

    tally: AgentTally
    helm: Helm
    base: Agent | None = None
    spawn_noted: bool = False


class AgentRecords:
    """The rows of one process, named `process_id`."""

    def __init__(self, stores: Handle[Stores], *, clock: Clock, process_id: str) -> None:
        self._stores = stores
        self._clock = clock
        self._process_id = process_id
        self._process: DriverProcess | None = None

    @property
    def is_known(self) -> bool:
        """Whether the process is on record, so that others can order something of it."""
        return self._process is not None

    async def beat(self) -> bool:
        """Say that this process lives; the first time makes it known.

        Returns:
            Whether somebody took it for dead meanwhile, because it (a whole laptop, say) slept:
            what it drives is on record as lost then.

        Raises:
            StorageError: it cannot be written.
        """
        now_ms = self._clock.now_ms()
        if self._process is None:
            beat = await anyio.to_thread.run_sync(
                lambda: own_process(self._process_id, now_ms=now_ms)
            )
        else:
            beat = self._process.model_copy(update={"beat_at": now_ms})
        known = await self._stores.ask(lambda stores: stores.agents.beat(beat))
        forgotten = self._process is not None and not known
        self._process = beat
        return forgotten

    async def end(self) -> None:
        """Say that this process drives nothing any more.

        Raises:
            StorageError: it cannot be written.
        """
        if self._process is not None:
            await self._stores.ask(lambda stores: stores.agents.end(self._process_id))

    async def write(self, runs: Sequence[HeldRun]) -> None:
        """Write what runs, in the order they were taken up, have come to.

        Raises:
            StorageError: it cannot be written.
        """
        if not runs:
            return
        if self._process is None:
            await self.beat()  # who drives an agent is known before the agent is
        own = [run.tally.agent(self._process_id) for run in runs if not run.tally.is_spawned]
        await self._stores.ask(lambda stores: stores.agents.record(own))
        for run in runs:
            await self._note_spawn(run)
        # One after another: what a run adds to its agent is added to what an earlier one left.
        for run in runs:
            if run.tally.is_spawned and (joined := await self._joined(run)) is not None:
                await self._stores.ask(lambda stores, one=joined: stores.agents.record([one]))

    async def _note_spawn(self, run: HeldRun) -> None:
        """Note in its identity's audit trail that a run carries it, once."""
        identity = run.tally.card.carrier.identity_id
        if identity is None or run.tally.is_spawned or run.spawn_noted:
            return
        deed = Deed(at=run.tally.card.started_at)
        try:
            await self._stores.ask(
                lambda stores: stores.identities.record_spawn(identity, run.tally.owner, deed)
            )
        except (ConflictError, NotFoundError) as error:
            _LOG.warning("run %s: %s", run.tally.owner, error.message)
        run.spawn_noted = True

    async def _joined(self, run: HeldRun) -> Agent | None:
        tally = run.tally
        if run.base is None:
            try:
                run.base = await self._stores.ask(lambda stores: stores.agents.get(tally.owner))
            except NotFoundError:
                return None
        return tally.joined(run.base, self._process_id)
