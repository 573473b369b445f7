"""Every service over the shared tables, for whatever front door wants them, made from a runtime."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import Final

from perstack import __version__
from perstack.config.secrets import redact
from perstack.domain.ids import SessionId
from perstack.integrations.github.opener import open_github
from perstack.ports.system import SystemClock, Uuids
from perstack.runtime import Runtime
from perstack.services.agent_execution import AgentExecution
from perstack.services.agent_orders import AgentOrders
from perstack.services.agent_roll import AgentRoll
from perstack.services.agents import AgentService
from perstack.services.bus import MessageBus
from perstack.services.bus_announcements import announce_bus
from perstack.services.checkpoints import CheckpointService
from perstack.services.coordinator import CoordinatorParts, HierarchicalCoordinator
from perstack.services.crew import AgentCrew
from perstack.services.github import GithubService
from perstack.services.health import HealthMonitor
from perstack.services.hooks import HookService
from perstack.services.identities import IdentityService
from perstack.services.memory import MemoryService
from perstack.services.plugins import PluginService
from perstack.services.project_tasks import ProjectTaskService
from perstack.services.project_work import work_by
from perstack.services.projects import ProjectService
from perstack.services.resources import ResourceService
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
    """The coordination core of one workspace. What is done here is seen by all its processes."""

    agents: AgentService
    execution: AgentExecution
    identities: IdentityService
    sessions: SessionService
    tasks: TaskService
    queue: TaskQueue
    memory: MemoryService
    checkpoints: CheckpointService
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
    made = _make(runtime)
    unsubscribe = announce_bus(made.bus, runtime.services.announcer)
    runtime.services.workflows.start = made.workflows.start
    try:
        yield made
    finally:
        runtime.services.workflows.start = None
        unsubscribe()
        await made.github.aclose()


def _make(runtime: Runtime) -> Coordination:
    stores, own = runtime.tables.stores, runtime.services
    project, facts = runtime.project, runtime.project.facts
    clock, ids = SystemClock(), Uuids()
    bus = MessageBus(clock=clock)
    queue = TaskQueue(stores, clock=clock, emit=bus.emitter("tasks"))
    checkpoints = CheckpointService(
        runtime.consensus,
        stores,
        rules=facts.consensus,
        clock=clock,
        ids=ids,
        gate=runtime.gate,
        notifier=runtime.notifier,
    )
    tasks = tasks_over(
        runtime.tables,
        facts,
        drift=own.drift,
        runner=runtime.runner,
        consensus=checkpoints,
        queue=queue,
    )
    agents = _agents(runtime)
    crew = AgentCrew(stores, agents=agents, clock=clock, ids=ids)
    reviews = ReviewLoops(stores, runner=runtime.runner, crew=crew, bus=bus, clock=clock, ids=ids)
    redacted = partial(redact, secrets=project.secrets)
    settings = project.config.settings
    return Coordination(
        agents=agents,
        execution=_execution(runtime, agents),
        identities=IdentityService(stores, clock=clock, ids=ids),
        sessions=SessionService(
            stores,
            clock=clock,
            ids=ids,
            hooks=own.hooks,
            stop_agents=agents.stop_all,
            forget_memory=own.memory.clear_session,
        ),
        tasks=tasks,
        queue=queue,
        memory=own.memory,
        checkpoints=checkpoints,
        resources=own.resources,
        reviews=reviews,
        workflows=Workflows(
            WorkflowRunner(stores, bus=bus, clock=clock, ids=ids),
            workspace=project.workspace,
            experts=runtime.runner,
            loops=reviews,
        ),
        hooks=own.hooks,
        plugins=runtime.plugins,
        projects=ProjectService(stores, clock=clock, ids=ids, announce=bus.emitter("projects")),
        project_tasks=ProjectTaskService(
            stores,
            clock=clock,
            ids=ids,
            create_work=work_by(tasks.create),
            announce=bus.emitter("projects"),
        ),
        specifications=SpecificationService(
            stores, clock=clock, ids=ids, announce=bus.emitter("specifications")
        ),
        github=GithubService(
            facts.settings.github, partial(open_github, facts.settings.github, project.env)
        ),
        system=SystemService(
            stores,
            agents=agents.roll,
            types=agents.types,
            memory=own.memory.index,
            settings=settings,
            env=project.env,
            redact=redacted,
            version=__version__,
        ),
        health=HealthMonitor(
            stores,
            provider=settings.provider.name,
            env=project.env,
            clock=clock,
            version=__version__,
            workspace=project.workspace,
        ),
        bus=bus,
        coordinator_parts=CoordinatorParts(
            queue, crew, runtime.runner, bus, ids, task_s=facts.settings.agents.default_timeout
        ),
    )


def _agents(runtime: Runtime) -> AgentService:
    stores, clock = runtime.tables.stores, SystemClock()
    roll = AgentRoll(stores, clock=clock)
    return AgentService(
        stores,
        roll=roll,
        orders=AgentOrders(stores, roll=roll, clock=clock, workspace=runtime.project.workspace),
        types=runtime.types,
        clock=clock,
        ids=Uuids(),
        settings=runtime.project.facts.settings.agents,
        announcer=runtime.services.announcer,
        forget=partial(runtime.services.resources.cleanup_agent, allow_self=True),
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
