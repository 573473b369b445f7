"""The services that records are listed with and changed by, each made when it is needed."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final, NoReturn

import anyio.to_thread

from perstack.agent_wiring import agents_over
from perstack.config.builtin import builtin_experts, with_builtins
from perstack.config.secrets import redact
from perstack.domain.coordination import CoordinationSettings, DriftSettings
from perstack.domain.expert import Expert
from perstack.domain.ids import ExpertKey
from perstack.domain.settings import ConsensusSettings
from perstack.errors import PerstackError, UsageError
from perstack.ports.announcements import NoAnnouncer
from perstack.ports.experts import ExpertRequest
from perstack.ports.history import History
from perstack.ports.stores import Stores
from perstack.ports.system import SystemClock, Uuids
from perstack.project import Project
from perstack.services.agent_types import AgentTypes
from perstack.services.ancestry import refuse_if_inside_run
from perstack.services.handle import Handle
from perstack.wiring import (
    LaterWorkflows,
    ProjectFacts,
    Tables,
    has_database,
    hooks_over,
    memory_over,
    resources_over,
    tasks_over,
)

if TYPE_CHECKING:
    from perstack.coordination import Coordination
    from perstack.services.agents import AgentService
    from perstack.services.memory import MemoryService
    from perstack.services.resources import ResourceService
    from perstack.services.reviews.service import ReviewLoops
    from perstack.services.sessions import SessionService
    from perstack.services.tasks import TaskService
    from perstack.services.workflows.runner import WorkflowRunner

_PLAIN: Final = ProjectFacts(CoordinationSettings(), ConsensusSettings(), {}, ())


@dataclass(frozen=True, slots=True)
class _Catalog:
    """The Experts of a project and the built-in ones; the project's win."""

    experts: Mapping[ExpertKey, Expert]


class _NobodyRuns:
    """Runs no Expert: what is done with a loop here is ending it."""

    @property
    def experts(self) -> Mapping[ExpertKey, Expert]:
        """None."""
        return {}

    async def run(self, request: ExpertRequest) -> NoReturn:
        """Refuse."""
        raise UsageError(f"nothing runs {request.expert} here")


@dataclass(frozen=True, slots=True)
class Services:
    """Reading needs the tables alone; whatever needs a model is opened for the verb that does."""

    workspace: Path
    tables: Tables
    history: History
    project: Callable[[], Awaitable[Project]]
    clock: SystemClock
    ids: Uuids

    @property
    def stores(self) -> Handle[Stores]:
        """The tables but memory's."""
        return self.tables.stores

    async def exist(self) -> bool:
        """Say whether anything was ever written; looking must not make a database."""
        return await anyio.to_thread.run_sync(has_database, self.workspace)

    async def refuse_runs(self, deed: str) -> None:
        """Raise if this process was started by a run.

        Raises:
            DeniedError: it was: only people do this.
        """
        refuse = partial(refuse_if_inside_run, self.workspace, allow_self=True, deed=deed)
        await anyio.to_thread.run_sync(refuse)

    async def facts(self) -> ProjectFacts:
        """What the project says; defaults where its file is not valid just now."""
        try:
            return (await self.project()).facts
        except PerstackError:
            return _PLAIN

    async def resources(self) -> ResourceService:
        """The verbs of resource limits."""
        return resources_over(self.tables, await self.facts())

    @asynccontextmanager
    async def memory(self) -> AsyncGenerator[MemoryService]:
        """Open the verbs of memory; what they opened is closed again."""
        made = memory_over(self.tables, await self.facts())
        try:
            yield made
        finally:
            await made.index.aclose()

    async def tasks(self) -> TaskService:
        """The verbs of tasks that there are: none is made with them, so none is judged."""
        from perstack.services.drift import DriftDetector

        facts = await self.facts()
        drift = DriftDetector(self.stores, DriftSettings(), None, clock=self.clock, ids=self.ids)
        return tasks_over(self.tables, facts, drift=drift)

    async def agents(self) -> AgentService:
        """The verbs of agents."""
        try:
            experts = with_builtins((await self.project()).config.experts)
        except PerstackError:
            experts = {}
        facts = await self.facts()
        return agents_over(
            self.tables,
            facts,
            types=AgentTypes(_Catalog({**builtin_experts(), **experts})),
            resources=resources_over(self.tables, facts),
            announcer=NoAnnouncer(),
        )

    @asynccontextmanager
    async def sessions(self) -> AsyncGenerator[SessionService]:
        """Open the verbs of sessions; their hooks are called as one begins or ends."""
        from perstack.services.sessions import SessionService

        facts, agents = await self.facts(), await self.agents()
        async with self.memory() as memory, hooks_over(memory, facts, LaterWorkflows()) as hooks:
            yield SessionService(
                self.stores,
                clock=self.clock,
                ids=self.ids,
                hooks=hooks,
                stop_agents=partial(agents.stop_all, allow_self=True),
                forget_memory=memory.clear_session,
            )

    def workflows(self) -> WorkflowRunner:
        """What looks at runs of workflows and ends them."""
        from perstack.services.bus import MessageBus
        from perstack.services.workflows.runner import WorkflowRunner

        bus = MessageBus(clock=self.clock)
        return WorkflowRunner(self.stores, bus=bus, clock=self.clock, ids=self.ids)

    async def reviews(self) -> ReviewLoops:
        """What ends review loops."""
        from perstack.services.bus import MessageBus
        from perstack.services.crew import AgentCrew
        from perstack.services.reviews.service import ReviewLoops

        agents = await self.agents()
        crew = AgentCrew(self.stores, agents=agents, clock=self.clock, ids=self.ids)
        return ReviewLoops(
            self.stores,
            runner=_NobodyRuns(),
            crew=crew,
            bus=MessageBus(clock=self.clock),
            clock=self.clock,
            ids=self.ids,
        )

    @asynccontextmanager
    async def coordination(self) -> AsyncGenerator[Coordination]:
        """Open everything, a model as well, for what may ask one.

        Raises:
            ConfigError: the project's file is not valid, or its provider's key is not set.
        """
        from perstack.coordination import open_coordination
        from perstack.runtime import open_runtime

        project = await self.project()
        async with (
            open_runtime(project, history=self.history, tables=self.tables) as runtime,
            open_coordination(runtime) as made,
        ):
            yield made

    async def redacted(self, text: str) -> str:
        """Return what a person typed without the project's secrets."""
        return redact(text, secrets=(await self.facts()).secrets)
