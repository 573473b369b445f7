"""The composition root: the only place that knows which adapter fills which port.

Everything heavy (vendor SDKs, the database library) is imported when it is first needed.
"""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import anyio
import anyio.to_thread

from perstack import __version__
from perstack.config.env import Environment, read_environment
from perstack.config.find import locate
from perstack.config.load import LoadedConfig, load_config
from perstack.config.overrides import apply_overrides
from perstack.config.secrets import redact, secret_values
from perstack.config.typed import Overrides
from perstack.domain.settings import ProviderSettings
from perstack.engine.plan import Deps, Plan
from perstack.errors import ConfigError
from perstack.ports.history import History
from perstack.ports.system import RandomIds, SystemClock
from perstack.services.runs import Runs

if TYPE_CHECKING:
    from perstack.ports.model import ChatModel
    from perstack.providers.scenario import Scenario
    from perstack.services.consensus import ConsensusService


@dataclass(frozen=True, slots=True)
class Project:
    """A configuration as it applies to one workspace; `file` is it before what was typed."""

    workspace: Path
    file: LoadedConfig
    config: LoadedConfig
    env: Environment = field(repr=False)

    @property
    def warnings(self) -> tuple[str, ...]:
        """What in the file and the environment will not do what it seems to."""
        said = [str(warning) for warning in (*self.config.warnings, *self.env.warnings)]
        if self.config.redirects_key:
            url = self.config.settings.provider.base_url
            said.append(f"provider.setting.baseUrl: your key is sent to {url}")
        return tuple(said)

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
            config_path=self.config.path,
            wait_at_gates=wait_at_gates,
        )


@dataclass(frozen=True, slots=True)
class Runtime:
    """One project, ready to run jobs."""

    project: Project
    history: History
    consensus: ConsensusService
    runs: Runs


def open_project(
    workspace: Path, config_path: Path | None, overrides: Overrides | None = None
) -> Project:
    """Find and read the configuration and the environment. Blocks on the disk.

    Raises:
        ConfigError: the file or an env file cannot be used.
        UsageError: an override cannot.
    """
    workspace = workspace.absolute()
    path = locate(workspace, config_path)
    return project_of(workspace, load_config(path), overrides or Overrides())


def project_of(workspace: Path, config: LoadedConfig, overrides: Overrides) -> Project:
    """Return the project that a configuration makes of a workspace. Blocks on the disk.

    Raises:
        ConfigError: an env file cannot be used.
        UsageError: an override cannot.
    """
    joined = apply_overrides(config, overrides)
    env = read_environment(workspace, joined.env_paths, os.environ)
    return Project(workspace, config, joined, env)


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


def open_history(workspace: Path) -> History:
    """Return the workspace's history."""
    from perstack.storage.history.store import FileHistory

    return FileHistory(workspace, clock=SystemClock(), ids=RandomIds())


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
    project: Project, *, history: History | None = None, consensus: ConsensusService | None = None
) -> AsyncGenerator[Runtime]:
    """Open everything that jobs need, and close it in bounded time.

    A `history` and a `consensus` that are given are used, and left open.

    Raises:
        ConfigError: the provider's key is not set, or its settings cannot be used.
    """
    model = await open_model(project)
    rules = project.config.settings.consensus
    own = consensus or open_consensus(project.workspace, auto_reject=rules.auto_reject)
    used = history or open_history(project.workspace)
    try:
        runs = Runs(used, _deps(project, model, own))
        yield Runtime(project, used, own, runs)
    finally:
        with anyio.move_on_after(3, shield=True):
            await model.aclose()
            if own is not consensus:
                await own.aclose()


async def open_model(project: Project) -> ChatModel:
    """Open the configured model; the vendor's library is imported in a thread."""
    from perstack.providers.factory import open_model as open_

    make = partial(
        open_, project.config.settings, env=project.env, base_dir=project.config.path.parent
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


def warm_up(provider: ProviderSettings) -> None:
    """Import the vendor's library; meant for a thread, while other things start."""
    from perstack.providers.factory import warm_up as warm

    warm(provider.name)


def _deps(project: Project, model: ChatModel, consensus: ConsensusService) -> Deps:
    from perstack.services.notify import ConfiguredNotifier
    from perstack.skills.opener import Skills

    return Deps(
        model=model,
        skills=Skills(),
        gate=consensus,
        notifier=ConfiguredNotifier(project.config.settings.notify, env=project.env),
        clock=SystemClock(),
        ids=RandomIds(),
        redact=partial(redact, secrets=project.secrets),
        version=__version__,
    )
