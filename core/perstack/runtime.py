"""The composition root: the only place that knows which adapter fills which port.

Everything heavy (vendor SDKs, the database library) is imported when it is first needed.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import anyio
import anyio.to_thread

from perstack import __version__
from perstack.config.env import Environment, read_environment
from perstack.config.find import LOCK_NAME, locate
from perstack.config.load import LoadedConfig, load_source
from perstack.config.overrides import apply_overrides
from perstack.config.process_env import process_environment
from perstack.config.secrets import redact, secret_values
from perstack.config.trust import Trust, acceptances
from perstack.config.typed import Overrides
from perstack.config.untrusted import Demand, UntrustedError
from perstack.domain.expert import Expert
from perstack.domain.ids import ExpertKey
from perstack.domain.settings import Settings
from perstack.engine.plan import Deps, Plan
from perstack.errors import ConfigError
from perstack.ports.history import History
from perstack.ports.skills import ListedTools
from perstack.ports.system import RandomIds, SystemClock
from perstack.services.runs import Runs

if TYPE_CHECKING:
    from perstack.ports.model import ChatModel
    from perstack.ports.skills import SkillOpener
    from perstack.providers.breaker import Breakers
    from perstack.providers.scenario import Scenario
    from perstack.services.consensus import ConsensusService


@dataclass(frozen=True, slots=True)
class Project:
    """A configuration as it applies to one workspace; `file` is it before what was typed.

    `trust` tells what the user has accepted of what it asks for. `listed` are the tools that its
    lock file lists, by Expert; `lock_warning` says why a lock file that is there is not used.
    """

    workspace: Path
    file: LoadedConfig
    config: LoadedConfig
    env: Environment = field(repr=False)
    trust: Trust
    listed: Mapping[ExpertKey, ListedTools] = field(default_factory=dict[ExpertKey, ListedTools])
    lock_warning: str | None = None

    @property
    def warnings(self) -> tuple[str, ...]:
        """What in the file and the environment will not do what it seems to, and what to do."""
        said = [warning.with_hint() for warning in (*self.config.warnings, *self.env.warnings)]
        if self.config.redirects_key:
            url = self.config.settings.provider.base_url
            said.append(f"provider.setting.baseUrl: your key is sent to {url}")
        if self.lock_warning is not None:
            said.append(self.lock_warning)
        return tuple(said)

    def admit(self, experts: Mapping[ExpertKey, Expert]) -> None:
        """Refuse Experts that ask for more than the user has accepted. Blocks on the disk.

        Raises:
            UntrustedError: they do; it lists what.
        """
        asked = self.config.demands(experts.values())
        if lacking := self.trust.lacking(asked, own=self.config.demands()):
            # With what its env files would set: one word accepts all, so all of it is listed.
            raise UntrustedError(self.config.path, (*lacking, *self.env.demands))

    @property
    def secrets(self) -> tuple[str, ...]:
        """Values that must be shown and stored nowhere."""
        return secret_values(self.env)

    def plan(self, *, wait_at_gates: bool = True) -> Plan:
        """Return what a job of this project runs with."""
        return Plan(
            settings=self.config.settings,
            experts=self.config.experts,
            workspace=self.workspace,
            env=self.env,
            config_path=self.config.path if self.config.url is None else None,
            wait_at_gates=wait_at_gates,
            listed=self.listed,
            admit=self.admit,
        )


@dataclass(frozen=True, slots=True)
class Runtime:
    """One project, ready to run jobs."""

    project: Project
    history: History
    consensus: ConsensusService
    runs: Runs


def open_project(
    workspace: Path,
    config_path: str | Path | None,
    overrides: Overrides | None = None,
    *,
    trust: bool = False,
) -> Project:
    """Find and read the configuration and the environment. Blocks on the disk.

    A file that is named with `config_path` is trusted; with `trust`, what a found one asks for is
    accepted, and remembered.

    Raises:
        ConfigError: the file or an env file cannot be used.
        UsageError: an override cannot.
    """
    workspace = workspace.absolute()
    config = load_source(locate(workspace, config_path), workspace=workspace)
    typed = overrides or Overrides()
    project = project_of(workspace, config, typed, named=config_path is not None)
    if not trust:
        return project
    accept(project)
    return project_of(workspace, config, typed, named=config_path is not None)


def project_of(
    workspace: Path, config: LoadedConfig, overrides: Overrides, *, named: bool = False
) -> Project:
    """Return the project that a configuration makes of a workspace. Blocks on the disk.

    `named` says that the user named the file, rather than that it was found.

    Raises:
        ConfigError: an env file cannot be used.
        UsageError: an override cannot.
    """
    joined = apply_overrides(config, overrides)
    around = process_environment()
    trust = Trust(acceptances(around), config.path, named=named)
    typed = bool(overrides.env_paths)
    env = read_environment(
        workspace,
        joined.env_paths,
        around,
        accepts=lambda demand: typed or trust.accepted(demand),
    )
    project = Project(workspace, config, joined, env, trust)
    if config.url is not None or not config.path.with_name(LOCK_NAME).exists():
        return project
    from perstack.services.install import find_lock

    found = find_lock(config)
    return replace(project, listed=found.listed, lock_warning=found.warning)


def accept(project: Project, demands: Iterable[Demand] | None = None) -> None:
    """Remember that the user accepted `demands`, or else all that the project asks for.

    Raises:
        StorageError: it cannot be written down.
    """
    asked = (*project.config.demands(), *project.env.demands)
    project.trust.accept(asked if demands is None else demands)


async def install_lock(project: Project, say: Callable[[str], None]) -> Path:
    """Write the project's lock file and return where it is; `say` is given lines for the user.

    Raises:
        PerstackError: as for `Installer.install`.
    """
    from perstack.services.install import Installer
    from perstack.skills.opener import Skills

    redacted = partial(redact, secrets=project.secrets)
    installer = Installer(Skills(), SystemClock(), RandomIds(), redacted, say)
    return await installer.install(project.config, workspace=project.workspace, env=project.env)


def log_to_file(workspace: Path, secrets: tuple[str, ...] = ()) -> None:
    """Send the program's log to `perstack/logs/perstack.log`, made with its first record.

    Nothing is ever logged to the terminal: stdout is data, and the screen is somebody's.
    """
    import logging

    from perstack.storage.log_file import LogFile

    root = logging.getLogger()
    for old in root.handlers[:]:
        root.removeHandler(old)
        old.close()
    root.handlers = [LogFile(workspace / "perstack" / "logs" / "perstack.log", secrets)]
    root.setLevel(logging.WARNING)


def open_history(workspace: Path, folder: Path | None = None) -> History:
    """Return the workspace's history; `folder` is where it lies, if not in `perstack`."""
    from perstack.storage.history.store import FileHistory

    return FileHistory(workspace, clock=SystemClock(), ids=RandomIds(), folder=folder)


def has_database(workspace: Path) -> bool:
    """Tell whether anything was ever proposed in the workspace. Loads no database library."""
    from perstack.storage.database.opener import has_database as has

    return has(workspace)


def open_consensus(workspace: Path, *, auto_reject: bool = False) -> ConsensusService:
    """Return the workspace's consensus service; its database is opened when first used.

    `auto_reject` is the project's setting for what becomes of overdue checkpoints.
    """
    from perstack.services.consensus import ConsensusService
    from perstack.storage.database.opener import database_path, open_consensus_store

    clock = SystemClock()
    open_store = partial(open_consensus_store, database_path(workspace), clock=clock)
    return ConsensusService(open_store, clock=clock, workspace=workspace, auto_reject=auto_reject)


@asynccontextmanager
async def open_runtime(
    project: Project,
    *,
    history: History | None = None,
    consensus: ConsensusService | None = None,
    breakers: Breakers | None = None,
    model: ChatModel | None = None,
    skills: SkillOpener | None = None,
) -> AsyncGenerator[Runtime]:
    """Open everything that jobs need, and close it in bounded time.

    What is given is used instead of what the project says: a `history` and a `consensus`, which
    are left open, a `model`, which is closed, and `skills`. Runtimes that are given the same
    `breakers` leave a failing vendor alone together.

    Raises:
        ConfigError: the provider's key is not set, or its settings cannot be used.
    """
    asked = model or await open_model(project, breakers)
    rules = project.config.settings.consensus
    own = consensus or open_consensus(project.workspace, auto_reject=rules.auto_reject)
    used = history or open_history(project.workspace)
    try:
        runs = Runs(used, _deps(project, asked, own, skills))
        yield Runtime(project, used, own, runs)
    finally:
        with anyio.move_on_after(3, shield=True):
            await asked.aclose()
            if own is not consensus:
                await own.aclose()


async def open_model(project: Project, breakers: Breakers | None = None) -> ChatModel:
    """Open the configured model; the vendor's library is imported in a thread."""
    from perstack.providers.factory import open_model as open_

    make = partial(
        open_,
        project.config.settings,
        env=project.env,
        base_dir=project.config.path.parent,
        experts=project.config.experts.values(),
        breakers=breakers,
    )
    return await anyio.to_thread.run_sync(make)


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


def _deps(
    project: Project, model: ChatModel, consensus: ConsensusService, skills: SkillOpener | None
) -> Deps:
    from perstack.services.notify import ConfiguredNotifier
    from perstack.skills.opener import Skills

    return Deps(
        model=model,
        skills=skills or Skills(),
        gate=consensus,
        notifier=ConfiguredNotifier(project.config.settings.notify, env=project.env),
        clock=SystemClock(),
        ids=RandomIds(),
        redact=partial(redact, secrets=project.secrets),
        version=__version__,
    )
