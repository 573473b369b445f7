"""The composition root's part for the verbs of agents, with a runtime or without one.

Who only looks, orders or spawns needs no model, so none is opened and no key is asked for.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import anyio.to_thread

from perstack import __version__
from perstack.config.builtin import builtin_experts
from perstack.config.process_env import process_environment
from perstack.config.secrets import redact
from perstack.domain.coordination import CoordinationSettings
from perstack.domain.expert import Expert
from perstack.domain.ids import ExpertKey
from perstack.domain.settings import ConsensusSettings, Settings
from perstack.engine.groups import alone
from perstack.ports.announcements import Announcer
from perstack.ports.system import SystemClock, Uuids
from perstack.services.agent_orders import AgentOrders
from perstack.services.agent_roll import AgentRoll
from perstack.services.agent_types import AgentTypes
from perstack.services.agents import AgentService
from perstack.wiring import (
    LaterWorkflows,
    ProjectFacts,
    Tables,
    has_plugins,
    hooks_over,
    memory_over,
    open_announcer,
    open_tables,
    plugins_over,
    resources_over,
)

if TYPE_CHECKING:
    from perstack.project import Project
    from perstack.services.plugins import PluginService
    from perstack.services.resources import ResourceService
    from perstack.services.system import SystemService


class _Catalog:
    """The Experts of a project, or only the built-in ones."""

    def __init__(self, project: Project | None) -> None:
        own = None if project is None else project.experts
        self._experts: Mapping[ExpertKey, Expert] = {**builtin_experts(), **(own or {})}

    @property
    def experts(self) -> Mapping[ExpertKey, Expert]:
        """All of them, by key; the project's win."""
        return self._experts


def agents_over(
    tables: Tables,
    facts: ProjectFacts,
    *,
    types: AgentTypes,
    resources: ResourceService,
    announcer: Announcer,
) -> AgentService:
    """Return the verbs of agents."""
    clock = SystemClock()
    roll = AgentRoll(tables.stores, clock=clock)
    return AgentService(
        tables.stores,
        roll=roll,
        orders=AgentOrders(
            tables.stores,
            roll=roll,
            clock=clock,
            workspace=tables.workspace,
            lift=resources.resume_agent,
        ),
        types=types,
        clock=clock,
        ids=Uuids(),
        settings=facts.settings.agents,
        announcer=announcer,
        forget=partial(resources.cleanup_agent, allow_self=True),
    )


@asynccontextmanager
async def open_agents(
    workspace: Path, project: Project | None, *, plugins: bool = False
) -> AsyncGenerator[AgentService]:
    """Open the verbs of agents over a workspace's tables, without anything that runs one.

    Without a project the types are the built-in ones, the settings their defaults, and nobody is
    told of what happens. With `plugins` those that the user agreed to are loaded for their types.
    """
    tables = open_tables(workspace)
    facts = _NO_FACTS if project is None else project.facts
    with alone():
        async with AsyncExitStack() as stack:
            stack.push_async_callback(tables.aclose)
            types = AgentTypes(_Catalog(project))
            if plugins and project is not None:
                await _load_plugins(stack, tables, facts, types)
            announcer = await open_announcer(stack, facts)
            resources = resources_over(tables, facts, announcer)
            yield agents_over(tables, facts, types=types, resources=resources, announcer=announcer)


@asynccontextmanager
async def open_system(workspace: Path, project: Project | None) -> AsyncGenerator[SystemService]:
    """Open what tells of a workspace as a whole, without anything that runs."""
    from perstack.services.system import SystemService

    tables = open_tables(workspace)
    facts = _NO_FACTS if project is None else project.facts
    with alone():
        async with AsyncExitStack() as stack:
            stack.push_async_callback(tables.aclose)
            memory = memory_over(tables, facts)
            stack.push_async_callback(memory.index.aclose)
            yield SystemService(
                tables.stores,
                agents=AgentRoll(tables.stores, clock=SystemClock()),
                types=AgentTypes(_Catalog(project)),
                memory=memory.index,
                settings=Settings() if project is None else project.config.settings,
                env=process_environment() if project is None else project.env,
                redact=partial(redact, secrets=facts.secrets),
                version=__version__,
            )


async def _load_plugins(
    stack: AsyncExitStack, tables: Tables, facts: ProjectFacts, types: AgentTypes
) -> None:
    """Load what plugins there are; their Experts become types."""
    if await anyio.to_thread.run_sync(has_plugins, tables.workspace, facts):
        await (await _plugins(stack, tables, facts, types)).discover()


async def open_plugins(stack: AsyncExitStack, tables: Tables, project: Project) -> PluginService:
    """Return the verbs of plugins, closed with the stack; none is looked for or loaded yet."""
    return await _plugins(stack, tables, project.facts, AgentTypes(_Catalog(project)))


async def _plugins(
    stack: AsyncExitStack, tables: Tables, facts: ProjectFacts, types: AgentTypes
) -> PluginService:
    memory = memory_over(tables, facts)
    stack.push_async_callback(memory.index.aclose)
    hooks = await stack.enter_async_context(hooks_over(memory, facts, LaterWorkflows()))
    plugins = plugins_over(tables, facts, hooks, types)
    stack.push_async_callback(plugins.aclose)
    return plugins


_NO_FACTS = ProjectFacts(CoordinationSettings(), ConsensusSettings(), {}, ())
