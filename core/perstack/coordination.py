"""Every service over the shared tables, for whatever front door wants them, made from a runtime."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import Final

import anyio.to_thread

from perstack import __version__
from perstack.agent_wiring import agents_over
from perstack.config.secrets import redact
from perstack.domain.ids import SessionId, TaskId
from perstack.integrations.github.opener import open_github
from perstack.ports.stores import Stores
from perstack.ports.system import SystemClock, Uuids
from perstack.runtime import Runtime
from perstack.services.agent_execution import AgentExecution
from perstack.services.agents import AgentService
from perstack.services.ancestry import run_around
from perstack.services.bus import MessageBus
from perstack.services.bus_announcements import announce_bus
from perstack.services.checkpoints import CheckpointService
from perstack.services.coordinator import CoordinatorParts, HierarchicalCoordinator
from perstack.services.crew import AgentCrew
from perstack.services.drift import DriftDetector
from perstack.services.github import GithubService
from perstack.services.handle import Handle
from perstack.services.health import HealthMonitor
from perstack.services.hooks import HookService
from perstack.services.identities import IdentityService
from perstack.services.memory import MemoryService
from perstack.services.plugins import PluginService
from perstack.services.project_tasks import ProjectTaskService
from perstack.services.project_work import work_by
from perstack.services.projects import ProjectService
from perstack.services.resources import ResourceService
from perstack.services.reviewing import Reviewer
from perstack.services.reviews.service import ReviewLoops
from perstack.services.sessions import SessionService
from perstack.services.specifications import SpecificationService
from perstack.services.system import SystemService
from perstack.services.task_queue import TaskQueue
from perstack.services.tasks import TaskService
from perstack.services.workflows.runner import WorkflowRunner
from perstack.services.workflows.service import Workflows
from perstack.wiring import tasks_over

MAX_WORKERS: Final = 5


@dataclass(frozen=True, slots=True)
class Coordination:
    """The coordination core of one workspace. What is done here is seen by all its processes.

    `reviewer` is there with `[consensus] enabled`.
    """

    agents: AgentService
    execution: AgentExecution
    identities: IdentityService
    sessions: SessionService
    tasks: TaskService
    queue: TaskQueue
    drift: DriftDetector
    memory: MemoryService
    checkpoints: CheckpointService
    reviewer: Reviewer | None
    resources: ResourceService
    reviews: ReviewLoops
    workflows: Workflows
    hooks: HookService
    plugins: PluginService
    projects: ProjectService
    project_tasks: ProjectTaskService
    specifications: SpecificationService
    github: GithubService
    system: SystemService
    health: HealthMonitor
    bus: MessageBus
    coordinator_parts: CoordinatorParts

    def coordinator(
        self, *, max_workers: int = MAX_WORKERS, session_id: SessionId | None = None
    ) -> AbstractAsyncContextManager[HierarchicalCoordinator]:
        """Open a coordinator whose workers, real agents, do the tasks of the queue."""
        return HierarchicalCoordinator.open(
            self.coordinator_parts, max_workers=max_workers, session_id=session_id
        )


@asynccontextmanager
async def open_coordination(runtime: Runtime) -> AsyncGenerator[Coordination]:
    """Make the services; they close with the runtime, but for GitHub, which closes here.

    Raises:
        StorageError: the tables cannot be written.
    """
    await runtime.services.desk.present()
    # A program that a run started is part of it: what it asks for is no task of its own.
    around = await anyio.to_thread.run_sync(run_around, runtime.project.workspace)
    made = _make(runtime, None if around is None else TaskId(around))
    unsubscribe = announce_bus(made.bus, runtime.services.announcer)
    # Hooks may start workflows until the runtime closes: the last runs' hooks are called then.
    runtime.services.workflows.start = made.workflows.start
    try:
        yield made
    finally:
        unsubscribe()
        await made.github.aclose()


@dataclass(frozen=True, slots=True)
class _Core:
    """What several services share, made once."""

    runtime: Runtime
    bus: MessageBus
    agents: AgentService
    crew: AgentCrew
    checkpoints: CheckpointService
    queue: TaskQueue
    clock: SystemClock
    ids: Uuids

    @property
    def stores(self) -> Handle[Stores]:
        return self.runtime.tables.stores


def _make(runtime: Runtime, within: TaskId | None) -> Coordination:
    core, own = _core(runtime, within), runtime.services
    tasks = tasks_over(
        runtime.tables,
        runtime.project.facts,
        drift=own.drift,
        runner=runtime.runner,
        consensus=core.checkpoints,
        queue=core.queue,
    )
    reviews = _reviews(core)
    return Coordination(
        agents=core.agents,
        execution=_execution(runtime, core.agents),
        identities=IdentityService(core.stores, clock=core.clock, ids=core.ids),
        sessions=_sessions(core),
        tasks=tasks,
        queue=core.queue,
        drift=own.drift,
        memory=own.memory,
        checkpoints=core.checkpoints,
        reviewer=runtime.reviewer,
        resources=own.resources,
        reviews=reviews,
        workflows=_workflows(core, reviews),
        hooks=own.hooks,
        plugins=runtime.plugins,
        projects=_projects(core),
        project_tasks=_project_tasks(core, tasks),
        specifications=_specifications(core),
        github=_github(runtime),
        system=_system(core),
        health=_health(core),
        bus=core.bus,
        coordinator_parts=_coordinator_parts(core),
    )


def _core(runtime: Runtime, within: TaskId | None) -> _Core:
    stores, facts, own = runtime.tables.stores, runtime.project.facts, runtime.services
    clock, ids = SystemClock(), Uuids()
    bus = MessageBus(clock=clock)
    agents = agents_over(
        runtime.tables,
        facts,
        types=runtime.types,
        resources=own.resources,
        announcer=own.announcer,
    )
    checkpoints = CheckpointService(
        runtime.consensus,
        stores,
        rules=facts.consensus,
        clock=clock,
        ids=ids,
        gate=runtime.reviewer,
        notifier=runtime.notifier,
        within=within,
    )
    return _Core(
        runtime=runtime,
        bus=bus,
        agents=agents,
        crew=AgentCrew(stores, agents=agents, clock=clock, ids=ids, process_id=own.desk.process_id),
        checkpoints=checkpoints,
        queue=TaskQueue(stores, clock=clock, emit=bus.emitter("tasks")),
        clock=clock,
        ids=ids,
    )


def _sessions(core: _Core) -> SessionService:
    own = core.runtime.services
    return SessionService(
        core.stores,
        clock=core.clock,
        ids=core.ids,
        hooks=own.hooks,
        # It may be this very process that drives them; a run's own processes still may not.
        stop_agents=partial(core.agents.stop_all, allow_self=True),
        forget_memory=own.memory.clear_session,
    )


def _reviews(core: _Core) -> ReviewLoops:
    return ReviewLoops(
        core.stores,
        runner=core.runtime.runner,
        crew=core.crew,
        bus=core.bus,
        clock=core.clock,
        ids=core.ids,
        redact=partial(redact, secrets=core.runtime.project.secrets),
    )


def _workflows(core: _Core, reviews: ReviewLoops) -> Workflows:
    return Workflows(
        WorkflowRunner(core.stores, bus=core.bus, clock=core.clock, ids=core.ids),
        workspace=core.runtime.project.workspace,
        experts=core.runtime.runner,
        loops=reviews,
    )


def _projects(core: _Core) -> ProjectService:
    announce = core.bus.emitter("projects")
    return ProjectService(core.stores, clock=core.clock, ids=core.ids, announce=announce)


def _project_tasks(core: _Core, tasks: TaskService) -> ProjectTaskService:
    return ProjectTaskService(
        core.stores,
        clock=core.clock,
        ids=core.ids,
        create_work=work_by(tasks.create),
        announce=core.bus.emitter("projects"),
    )


def _specifications(core: _Core) -> SpecificationService:
    announce = core.bus.emitter("specifications")
    return SpecificationService(core.stores, clock=core.clock, ids=core.ids, announce=announce)


def _github(runtime: Runtime) -> GithubService:
    settings = runtime.project.facts.settings.github
    return GithubService(settings, partial(open_github, settings, runtime.project.env))


def _system(core: _Core) -> SystemService:
    project = core.runtime.project
    return SystemService(
        core.stores,
        agents=core.agents.roll,
        types=core.agents.types,
        memory=core.runtime.services.memory.index,
        settings=project.config.settings,
        env=project.env,
        redact=partial(redact, secrets=project.secrets),
        version=__version__,
    )


def _health(core: _Core) -> HealthMonitor:
    project = core.runtime.project
    return HealthMonitor(
        core.stores,
        provider=project.config.settings.provider.name,
        env=project.env,
        clock=core.clock,
        version=__version__,
        workspace=project.workspace,
        runtime=project.config.settings.runtime.name,
    )


def _coordinator_parts(core: _Core) -> CoordinatorParts:
    return CoordinatorParts(
        core.queue,
        core.crew,
        core.runtime.runner,
        core.bus,
        core.ids,
        task_s=core.runtime.project.facts.settings.agents.default_timeout,
    )


def _execution(runtime: Runtime, agents: AgentService) -> AgentExecution:
    return AgentExecution(
        runtime.tables.stores,
        agents=agents,
        runner=runtime.runner,
        clock=SystemClock(),
        process_id=runtime.services.desk.process_id,
        gate=runtime.services.resources,
        announcer=runtime.services.announcer,
        secrets=runtime.project.secrets,
    )
