"""The composition root's second half: services over the tables that all processes share.

`runtime` makes what a run needs of it; front doors that only look make the rest. Everything heavy
is imported when it is first needed.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

from anyio import to_thread

from perstack.config.interpolate import filled
from perstack.config.process_env import process_environment
from perstack.config.secrets import redact
from perstack.domain.coordination import CoordinationSettings, VectorSearchSettings
from perstack.engine.groups import alone
from perstack.errors import NotFoundError, UsageError
from perstack.ports.announcements import Announcer, NoAnnouncer
from perstack.ports.system import RandomIds, SystemClock, Uuids
from perstack.services.handle import Handle

if TYPE_CHECKING:
    from pydantic import JsonValue

    from perstack.domain.settings import ConsensusSettings
    from perstack.ports.embeddings import Embedder
    from perstack.ports.experts import ExpertRunner
    from perstack.ports.memory import MemoryStore
    from perstack.ports.stores import Stores
    from perstack.ports.tasks import TaskConsensus
    from perstack.services.agent_types import AgentTypes
    from perstack.services.consensus import ConsensusService
    from perstack.services.desk import AgentDesk
    from perstack.services.drift import DriftDetector
    from perstack.services.hooks import HookService, StartWorkflow
    from perstack.services.memory import MemoryService
    from perstack.services.plugins import PluginService
    from perstack.services.resources import ResourceService
    from perstack.services.reviewing import Reviewer
    from perstack.services.standing import StandingApprovals
    from perstack.services.task_queue import TaskQueue
    from perstack.services.tasks import TaskService

DATABASE_URL: Final = "PERSTACK_DATABASE_URL"
HOOK_S: Final = 5.0


@dataclass(frozen=True, slots=True)
class Tables:
    """The shared tables of a workspace; each handle opens the database when it is first asked."""

    workspace: Path
    stores: Handle[Stores]
    memory: Handle[MemoryStore]

    async def aclose(self) -> None:
        """Close what was opened."""
        await self.stores.aclose()
        await self.memory.aclose()


def database_target(workspace: Path) -> Path | str:
    """Return where the tables are: the server that the process's environment names, or a file.

    An env file of the project cannot name one: whoever answers there decides gates.

    Raises:
        UsageError: what the environment names is no database that can be used.
    """
    from perstack.storage.database.opener import check_url, database_path

    url = process_environment().get(DATABASE_URL, "").strip()
    return check_url(url) if url else database_path(workspace)


def has_database(workspace: Path) -> bool:
    """Tell whether anything was ever written there. Loads no database library."""
    from perstack.storage.database.opener import has_database as has

    return not isinstance(database_target(workspace), Path) or has(workspace)


def open_tables(workspace: Path) -> Tables:
    """Return the workspace's tables, not opened yet."""
    from perstack.storage.database.opener import open_memory_store, open_stores

    target, clock, ids = database_target(workspace), SystemClock(), Uuids()
    stores = partial(open_stores, target, clock=clock, ids=ids)
    memory = partial(open_memory_store, target, clock=clock, ids=ids)
    return Tables(
        workspace,
        Handle(stores, open_again=partial(stores, create=False)),
        Handle(memory, open_again=partial(memory, create=False)),
    )


def consensus_over(tables: Tables, *, auto_reject: bool = False) -> ConsensusService:
    """Return the consensus service; closing it closes nothing but the tables' shared handle."""
    from perstack.services.consensus import ConsensusService

    return ConsensusService(
        tables.stores, clock=SystemClock(), workspace=tables.workspace, auto_reject=auto_reject
    )


def standing_over(tables: Tables) -> StandingApprovals:
    """Return what lists and revokes standing approvals."""
    from perstack.services.standing import StandingApprovals

    return StandingApprovals(tables.stores, clock=SystemClock(), workspace=tables.workspace)


class LaterWorkflows:
    """What hooks start workflows with, once there is something that runs them."""

    def __init__(self) -> None:
        self.start: StartWorkflow | None = None

    async def __call__(self, workflow_id: str, options: Mapping[str, JsonValue]) -> JsonValue:
        """Run a workflow to its report.

        Raises:
            UsageError: this process runs no workflows.
        """
        if self.start is None:
            raise UsageError("this process runs no workflows")
        return await self.start(workflow_id, options)


@dataclass(frozen=True, slots=True)
class RunServices:
    """What runs are recorded, judged and told of with."""

    desk: AgentDesk
    tasks: TaskService
    drift: DriftDetector
    resources: ResourceService
    memory: MemoryService
    announcer: Announcer
    hooks: HookService
    workflows: LaterWorkflows


@dataclass(frozen=True, slots=True)
class ProjectFacts:
    """What of a project the services need. `env` fills in `${NAME}`s; `secrets` are kept out."""

    settings: CoordinationSettings
    consensus: ConsensusSettings
    env: Mapping[str, str]
    secrets: tuple[str, ...]

    def filled(self, text: str | None) -> str | None:
        """Return the text with its `${NAME}`s, None where that leaves nothing."""
        return (filled(text, self.env).strip() or None) if text else None


@asynccontextmanager
async def open_run_services(
    tables: Tables, facts: ProjectFacts, *, runner: ExpertRunner | None = None
) -> AsyncGenerator[RunServices]:
    """Open what records and judges the runs of this process; closed in bounded time.

    The database itself is opened when the first of it is written.
    """
    with alone():
        async with _run_services(tables, facts, runner) as services:
            yield services


@asynccontextmanager
async def _run_services(
    tables: Tables, facts: ProjectFacts, runner: ExpertRunner | None
) -> AsyncGenerator[RunServices]:
    from perstack.services.desk import AgentDesk, DeskParts
    from perstack.services.run_tasks import RunTasks

    clock, redacted = SystemClock(), partial(redact, secrets=facts.secrets)
    async with AsyncExitStack() as stack:
        drift = await _open_drift(stack, tables, facts)
        tasks = tasks_over(tables, facts, drift=drift, runner=runner)
        announcer = await open_announcer(stack, facts)
        resources = resources_over(tables, facts, announcer)
        memory = memory_over(tables, facts)
        stack.push_async_callback(memory.index.aclose)
        if facts.settings.resources.enabled:
            await stack.enter_async_context(resources.open())
        workflows = LaterWorkflows()
        hooks = await stack.enter_async_context(hooks_over(memory, facts, workflows))
        told = RunTasks(tasks, redact=redacted, announcer=announcer, hooks=hooks.execute)
        parts = DeskParts(
            stores=tables.stores,
            clock=clock,
            process_id=Uuids().new(),
            redact=redacted,
            tasks=told,
            judge=drift,
            meter=resources,
            resume=partial(resources.resume_agent, allow_self=True),
        )
        desk = await stack.enter_async_context(AgentDesk.open(parts))
        resources.on_change = desk.change
        yield RunServices(desk, tasks, drift, resources, memory, announcer, hooks, workflows)


async def open_announcer(stack: AsyncExitStack, facts: ProjectFacts) -> Announcer:
    """Open what tells people of what happens; it closes with the stack, in bounded time."""
    slack = facts.settings.slack
    if not slack.enabled:
        return NoAnnouncer()
    from perstack.integrations.slack import SlackAnnouncer

    redacted = partial(redact, secrets=facts.secrets)
    made = SlackAnnouncer(slack, env=facts.env, redact=redacted)
    return await stack.enter_async_context(made.open())


async def _open_drift(stack: AsyncExitStack, tables: Tables, facts: ProjectFacts) -> DriftDetector:
    from perstack.services.drift import DriftDetector

    rules = facts.settings.drift
    embedder = None
    if rules.enabled:
        search = facts.settings.memory.vector_search
        embedder = await to_thread.run_sync(partial(_embedder, search, facts.env, always=True))
    if embedder is not None:
        stack.push_async_callback(embedder.aclose)
    opened = DriftDetector.open(
        tables.stores,
        rules,
        embedder,
        clock=SystemClock(),
        ids=Uuids(),
        redact=partial(redact, secrets=facts.secrets),
    )
    return await stack.enter_async_context(opened)


def tasks_over(
    tables: Tables,
    facts: ProjectFacts,
    *,
    drift: DriftDetector,
    runner: ExpertRunner | None = None,
    consensus: TaskConsensus | None = None,
    queue: TaskQueue | None = None,
) -> TaskService:
    """Return the verbs of tasks; with a `runner` the type of one that names none is chosen.

    With `consensus` risky ones wait for a decision. `queue` is one that tells what happens in it.
    """
    from perstack.domain.ids import AgentId, SessionId
    from perstack.services.dispatch import SmartDispatcher
    from perstack.services.task_queue import TaskQueue as Queue
    from perstack.services.tasks import Known, TaskService

    async def session(session_id: SessionId) -> bool:
        return await tables.stores.ask(lambda s: s.sessions.find(session_id)) is not None

    async def agent(agent_id: AgentId) -> bool:
        try:
            await tables.stores.ask(lambda s: s.agents.get(agent_id))
        except NotFoundError:
            return False
        return True

    clock = SystemClock()
    return TaskService(
        tables.stores,
        clock=clock,
        ids=Uuids(),
        queue=queue or Queue(tables.stores, clock=clock),
        drift=drift,
        dispatcher=SmartDispatcher(runner, facts.settings.dispatcher, clock=clock),
        known=Known(session, agent),
        consensus=consensus,
        redact=partial(redact, secrets=facts.secrets),
    )


def resources_over(
    tables: Tables, facts: ProjectFacts, announcer: Announcer | None = None
) -> ResourceService:
    """Return the resource limits: a meter for this process's runs, and the verbs."""
    from perstack.services.resources import ResourceService

    return ResourceService(
        tables.stores,
        settings=facts.settings.resources,
        clock=SystemClock(),
        ids=Uuids(),
        workspace=tables.workspace,
        announcer=announcer or NoAnnouncer(),
    )


def memory_over(tables: Tables, facts: ProjectFacts) -> MemoryService:
    """Return what Experts recall; the embedder is opened when a vector is first needed."""
    from perstack.services.memory import MemoryService

    search = facts.settings.memory.vector_search

    async def embedder() -> Embedder | None:
        return await to_thread.run_sync(_embedder, search, facts.env)

    return MemoryService(tables.memory, settings=facts.settings.memory, open_embedder=embedder)


def _embedder(
    search: VectorSearchSettings, env: Mapping[str, str], *, always: bool = False
) -> Embedder | None:
    """Return the embedder of the settings. Blocks on the disk, where it looks for a model."""
    from perstack.embeddings.opener import open_embedder

    return open_embedder(search, env, always=always)


def hooks_over(
    memory: MemoryService, facts: ProjectFacts, workflows: LaterWorkflows
) -> HookService:
    """Return the hooks, which work while they are entered."""
    from perstack.services.hook_memory import MemoryForHooks
    from perstack.services.hooks import HookService

    return HookService(
        MemoryForHooks(memory),
        settings=facts.settings,
        clock=SystemClock(),
        run_workflow=workflows,
        redact=partial(redact, secrets=facts.secrets),
        bound_s=HOOK_S,
    )


@asynccontextmanager
async def open_reviewer_over(
    tables: Tables, facts: ProjectFacts, consensus: ConsensusService, runner: ExpertRunner
) -> AsyncGenerator[Reviewer]:
    """Open a gate whose checkpoints an Expert reviews, as the strategy says.

    Raises:
        ConfigError: the strategy needs a model that is not named.
    """
    from perstack.config.builtin import builtin_experts
    from perstack.services.review_run import ReviewParts
    from perstack.services.reviewing import open_reviewer

    parts = ReviewParts(
        consensus=consensus,
        stores=tables.stores,
        runner=lambda: runner,
        experts=builtin_experts(),
        rules=facts.consensus,
        workspace=tables.workspace,
        clock=SystemClock(),
        ids=RandomIds(),
    )
    async with open_reviewer(parts) as gate:
        yield gate


def plugins_over(
    tables: Tables, facts: ProjectFacts, hooks: HookService, types: AgentTypes
) -> PluginService:
    """Return the plugins of installed packages and of the project's folder; none is loaded yet."""
    from perstack.config.trust import acceptances
    from perstack.integrations.plugins.loader import LocalPlugins
    from perstack.services.loaded_plugins import LoadedPlugins
    from perstack.services.plugins import PluginService

    loader = LocalPlugins(tables.workspace)
    return PluginService(
        tables.stores,
        loader,
        LoadedPlugins(loader, hooks, env=facts.env, registry=types),
        settings=facts.settings.plugins,
        workspace=tables.workspace,
        consents=acceptances(process_environment()),
        clock=SystemClock(),
    )


def has_plugins(workspace: Path, facts: ProjectFacts) -> bool:
    """Tell whether there can be any, without opening the database. Blocks on the disk."""
    from importlib.metadata import entry_points

    from perstack.services.plugins import plugins_folder

    settings = facts.settings.plugins
    if not settings.enabled:
        return False
    folder = plugins_folder(workspace, settings)
    return folder.is_dir() or bool(entry_points(group="perstack.plugins"))
