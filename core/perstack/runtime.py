"""The composition root: the only place that knows which adapter fills which port.

Everything heavy (vendor SDKs, the database library) is imported when it is first needed.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import (
    AbstractAsyncContextManager,
    AsyncExitStack,
    asynccontextmanager,
    nullcontext,
)
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import anyio
import anyio.to_thread

from perstack import __version__
from perstack.config.builtin import builtin_experts
from perstack.config.secrets import redact
from perstack.domain.expert import BaseSkill, Expert
from perstack.domain.identities import why_unspawnable
from perstack.domain.ids import ExpertKey, IdentityId
from perstack.domain.settings import Settings, is_of_plugin
from perstack.engine.groups import alone
from perstack.engine.plan import Deps
from perstack.errors import ConfigError, ConflictError, NotFoundError
from perstack.fetching import fetch_experts
from perstack.ports.containers import NO_CONTAINERS, Containers
from perstack.ports.history import History
from perstack.ports.system import RandomIds, SystemClock
from perstack.program_log import log_to_file as log_to_file
from perstack.project import Project
from perstack.services.agent_types import AgentTypes
from perstack.services.expert_runner import JobExpertRunner, RunnerParts
from perstack.services.late_model import LateModel
from perstack.services.named_models import NamedModels
from perstack.services.plugin_tools import WithPluginTools
from perstack.services.runs import Runs
from perstack.wiring import (
    RunServices,
    Tables,
    consensus_over,
    has_plugins,
    open_reviewer_over,
    open_run_services,
    open_tables,
    plugins_over,
)

if TYPE_CHECKING:
    from perstack.ports.consensus import Gate
    from perstack.ports.desk import Desk
    from perstack.ports.model import ChatModel
    from perstack.ports.notices import Notifier
    from perstack.ports.programs import Installed
    from perstack.ports.skills import SkillOpener
    from perstack.ports.snapshots import SnapshotStore
    from perstack.providers.breaker import Breakers
    from perstack.providers.scenario import Scenario
    from perstack.services.consensus import ConsensusService
    from perstack.services.loaded_plugins import OfferedTool
    from perstack.services.plugins import PluginService
    from perstack.services.reviewing import Reviewer
    from perstack.services.travel import TravelService


@dataclass(frozen=True, slots=True)
class Runtime:
    """One project, ready to run jobs. `runner` runs Experts for services, as jobs of their own.

    `reviewer` is there with `[consensus] enabled`: it reviews, and expires what is overdue.
    """

    project: Project
    history: History
    consensus: ConsensusService
    runs: Runs
    tables: Tables
    services: RunServices
    runner: JobExpertRunner
    types: AgentTypes
    plugins: PluginService
    reviewer: Reviewer | None
    notifier: Notifier


def open_history(workspace: Path, folder: Path | None = None) -> History:
    """Return the workspace's history; `folder` is where it lies, if not in `perstack`."""
    from perstack.storage.history.store import FileHistory

    return FileHistory(workspace, clock=SystemClock(), ids=RandomIds(), folder=folder)


def open_snapshots(workspace: Path, folder: Path | None = None) -> SnapshotStore:
    """Return the snapshots of the workspace's files; nothing is made before one is taken."""
    from perstack.storage.snapshots.store import FileSnapshots

    return FileSnapshots(workspace, clock=SystemClock(), folder=folder)


def open_travel(workspace: Path, history: History, folder: Path | None = None) -> TravelService:
    """Return what looks at jobs as they were; `folder` is where their history is elsewhere."""
    from perstack.services.travel import TravelService

    return TravelService(history, open_snapshots(workspace, folder), workspace)


def open_consensus(workspace: Path, *, auto_reject: bool = False) -> ConsensusService:
    """Return the workspace's consensus service; its database is opened when first used.

    `auto_reject` is the project's setting for what becomes of overdue checkpoints.
    """
    return consensus_over(open_tables(workspace), auto_reject=auto_reject)


@asynccontextmanager
async def open_runtime(
    project: Project,
    *,
    history: History | None = None,
    tables: Tables | None = None,
    breakers: Breakers | None = None,
    model: ChatModel | None = None,
    skills: SkillOpener | None = None,
) -> AsyncGenerator[Runtime]:
    """Open everything that jobs need, and close it in bounded time.

    What is given is used instead of what the project says: a `history` and `tables`, which are
    left open, a `model`, which is closed, and `skills`. Runtimes that are given the same
    `breakers` leave a failing vendor alone together.

    Raises:
        ConfigError: the provider's key is not set, or its settings cannot be used.
    """
    asked = model or await _asked(project, breakers)
    own = tables or open_tables(project.workspace)
    used = history or open_history(project.workspace)
    try:
        async with _opened(project, used, own, asked, skills) as runtime:
            yield runtime
    finally:
        with anyio.move_on_after(3, shield=True):
            await asked.aclose()
            if own is not tables:
                await own.aclose()


@asynccontextmanager
async def _opened(
    project: Project,
    history: History,
    tables: Tables,
    model: ChatModel,
    skills: SkillOpener | None,
) -> AsyncGenerator[Runtime]:
    rules = project.config.settings.consensus
    consensus = consensus_over(tables, auto_reject=rules.auto_reject)
    with alone():
        async with AsyncExitStack() as stack:
            services = await stack.enter_async_context(open_run_services(tables, project.facts))
            brought = _Brought()
            used = WithPluginTools(skills or _skills(services), brought.tools, _gets_tools)
            deps = _deps(project, model, consensus, used, services.desk)
            named = NamedModels(partial(_open_named, project, brought))
            deps = replace(deps, open_model=named.open)
            runner = _runner(project, history, deps, brought, tables, services)
            types = AgentTypes(runner, partial(fetch_experts, project))
            brought.plugins = plugins_over(tables, project.facts, services.hooks, types)
            stack.push_async_callback(brought.plugins.aclose)
            # A plugin's hooks go with it, and the last run's may be due as everything closes.
            stack.push_async_callback(services.desk.finish)
            # Models are closed before the plugins that they may be of.
            stack.push_async_callback(runner.aclose)
            stack.push_async_callback(named.aclose)
            if await _wants_plugins(project):
                await brought.plugins.discover()
            if await _open_of_plugin(project, model, brought):
                stack.push_async_callback(model.aclose)
            reviewing = _reviewing(project, tables, consensus, runner)
            reviewer = await stack.enter_async_context(reviewing)
            runs = Runs(history, replace(deps, gate=reviewer or consensus))
            yield Runtime(
                project=project,
                history=history,
                consensus=consensus,
                runs=runs,
                tables=tables,
                services=services,
                runner=runner,
                types=types,
                plugins=brought.plugins,
                reviewer=reviewer,
                notifier=deps.notifier,
            )


def _reviewing(
    project: Project, tables: Tables, consensus: ConsensusService, runner: JobExpertRunner
) -> AbstractAsyncContextManager[Reviewer | None]:
    if not project.config.settings.consensus.enabled:
        return nullcontext()
    return open_reviewer_over(tables, project.facts, consensus, runner)


class _Brought:
    """What plugins bring, once they are looked for: runs and the runner ask for it each time."""

    def __init__(self) -> None:
        self.plugins: PluginService | None = None

    def tools(self) -> Sequence[OfferedTool]:
        return self.plugins.tools if self.plugins else ()

    def experts(self) -> Mapping[ExpertKey, Expert]:
        return self.plugins.agents if self.plugins else {}


async def _wants_plugins(project: Project) -> bool:
    if is_of_plugin(project.config.settings.provider.name):
        return True
    return await anyio.to_thread.run_sync(has_plugins, project.workspace, project.facts)


def _gets_tools(expert: Expert) -> bool:
    """Those that only read, or only sort tasks, get no tools that nobody picked for them."""
    return not any(isinstance(skill, BaseSkill) and skill.pick for skill in expert.skills.values())


def _skills(services: RunServices) -> SkillOpener:
    from perstack.services.recall import recall_of
    from perstack.skills.opener import Skills

    return Skills(recall=recall_of(services.memory))


def _runner(
    project: Project,
    history: History,
    deps: Deps,
    brought: _Brought,
    tables: Tables,
    services: RunServices,
) -> JobExpertRunner:
    """Return what runs Experts for services. What it runs waits for people, not for reviewers."""

    async def admit(identity_id: IdentityId) -> None:
        identity = await tables.stores.ask(lambda stores: stores.identities.find(identity_id))
        if identity is None:
            raise NotFoundError(f"Identity not found: {identity_id}")
        if (why := why_unspawnable(identity)) is not None:
            raise ConflictError(why)

    plan = project.plan()

    def experts() -> Mapping[ExpertKey, Expert]:
        return {**brought.experts(), **builtin_experts(), **plan.experts}

    settled, opening = services.desk.settle, partial(_open_named, project, brought)
    fetch = partial(fetch_experts, project)
    return JobExpertRunner(
        RunnerParts(history, deps, plan, experts, opening, admit, settled, fetch)
    )


async def _open_named(project: Project, brought: _Brought, name: str) -> ChatModel:
    """Open another model of the project's provider; a script is played under the other name."""
    other = project.config.settings.model_copy(update={"model": name})
    named = replace(project, config=replace(project.config, settings=other))
    opened = await open_model(named, alias=name)
    await _open_of_plugin(named, opened, brought)
    return opened


async def open_model(
    project: Project, breakers: Breakers | None = None, *, alias: str | None = None
) -> ChatModel:
    """Open the configured model; the vendor's library is imported in a thread.

    That of a plugin's provider is opened by the runtime that it is given to. A script that plays
    the model is played under the name `alias`, if one is given.
    """
    if is_of_plugin(project.config.settings.provider.name):
        from perstack.plugin_model import PluginModel

        return PluginModel(project.config.settings, env=project.env, breakers=breakers)
    from perstack.providers.factory import open_model as open_

    make = partial(
        open_,
        project.config.settings,
        env=project.env,
        base_dir=project.config.path.parent,
        experts=project.config.experts.values(),
        breakers=breakers,
        alias=alias,
    )
    return await anyio.to_thread.run_sync(make)


def late_model(project: Project, breakers: Breakers | None = None) -> LateModel:
    """Return the configured model, to be opened when it is first asked: no key is needed before."""
    return LateModel(project.config.settings, partial(open_model, project, breakers))


async def _asked(project: Project, breakers: Breakers | None) -> ChatModel:
    """Open the model, unless other programs or a container execute the Experts with their own."""
    if asks_at_once(project):
        return await open_model(project, breakers)
    return late_model(project, breakers)


def asks_at_once(project: Project) -> bool:
    """Tell whether a job asks the configured model, so that a missing key is said beforehand."""
    named = project.config.settings.runtime.name
    experts = (*project.config.experts.values(), *project.fetched.values())
    own = [expert.runtime or named for expert in experts]
    return named == "perstack" and "perstack" in (own or [named])


async def _open_of_plugin(project: Project, model: ChatModel, brought: _Brought) -> bool:
    """Have a plugin's provider open the model, if it is one of those; say whether it is."""
    if not is_of_plugin(project.config.settings.provider.name) or brought.plugins is None:
        return False
    from perstack.plugin_model import PluginModel

    if not isinstance(model, PluginModel):
        return False
    await model.open(brought.plugins)
    return True


async def look_for_runtimes(
    settings: Settings, env: Mapping[str, str], workspace: Path
) -> tuple[Installed, ...]:
    """Look what can execute Experts on this machine, in at most half a minute."""
    from perstack.runtimes.found import look_for_runtimes as look

    return await look(settings, env, workspace, own_version=__version__)


def open_scenario(project: Project) -> Scenario:
    """Return the scripted model's scenario. Blocks on the disk.

    Raises:
        ConfigError: there is none, or it has a mistake.
    """
    from perstack.providers.scenario import load_scenario

    named = project.config.settings.provider.scenario
    if named is None:
        raise ConfigError("no scenario is configured", hint="--provider scripted --scenario PATH")
    return load_scenario(project.config.path.parent / named)


def warm_up(settings: Settings) -> None:
    """Import the vendor's library; meant for a thread, while other things start."""
    from perstack.providers.factory import warm_up as warm

    warm(settings.provider.name, settings.model)


def _containers(settings: Settings) -> Containers:
    """Return where containers come from; nobody else pays for the loading."""
    if settings.runtime.name != "docker":
        return NO_CONTAINERS
    from perstack.runtimes.docker.containers import DockerContainers

    return DockerContainers()


def _deps(project: Project, model: ChatModel, gate: Gate, skills: SkillOpener, desk: Desk) -> Deps:
    from perstack.runtimes.programs import InstalledPrograms
    from perstack.services.notify import ConfiguredNotifier
    from perstack.services.snapshots import SnapshotKeeping

    return Deps(
        model=model,
        skills=skills,
        gate=gate,
        notifier=ConfiguredNotifier(project.config.settings.notify, env=project.env),
        clock=SystemClock(),
        ids=RandomIds(),
        redact=partial(redact, secrets=project.secrets),
        version=__version__,
        desk=desk,
        snapshots=SnapshotKeeping(partial(open_snapshots, project.workspace)),
        programs=InstalledPrograms(project.workspace),
        containers=_containers(project.config.settings),
    )
