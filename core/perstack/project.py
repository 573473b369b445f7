"""A project: a configuration as it applies to a workspace, and what its user has accepted."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

from perstack.config.builtin import with_builtins
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
from perstack.domain.settings import Settings, SnapshotSettings
from perstack.ports.skills import ListedTools
from perstack.ports.system import RandomIds, SystemClock
from perstack.wiring import (
    ProjectFacts,
)

if TYPE_CHECKING:
    from perstack.engine.plan import Plan

_SPECIAL: Final = re.compile(r"[\\*?\[\]]|\s(?=\s*$)")
_ESCAPED: Final = r"\\\g<0>"


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

    @property
    def facts(self) -> ProjectFacts:
        """What the services over the shared tables need to know."""
        settings = self.config.settings
        return ProjectFacts(settings.coordination, settings.consensus, self.env, self.secrets)

    @property
    def _settings(self) -> Settings:
        """The settings, with env files of any name among what snapshots leave out."""
        settings = self.config.settings
        named = _patterns(self.workspace, self.config.env_paths)
        if not named:
            return settings
        excluded = settings.snapshots.leaving_out(named)
        return settings.model_copy(update={"snapshots": excluded})

    @property
    def snapshots(self) -> SnapshotSettings:
        """What of the workspace is stored at each checkpoint. Blocks on the disk."""
        return self._settings.snapshots

    def plan(self, *, wait_at_gates: bool = True) -> Plan:
        """Return what a job of this project runs with."""
        from perstack.engine.plan import Plan

        return Plan(
            settings=self._settings,
            experts=with_builtins(self.config.experts),
            workspace=self.workspace,
            env=self.env,
            config_path=self.config.path if self.config.url is None else None,
            wait_at_gates=wait_at_gates,
            listed=self.listed,
            admit=self.admit,
        )


def _patterns(workspace: Path, env_paths: Iterable[str]) -> list[str]:
    """Return what names these files in a `.gitignore` of the workspace, and what they lead to."""
    roots = dict.fromkeys((workspace, workspace.resolve()))
    found: dict[str, None] = {}
    for env_path in env_paths:
        path = Path(os.path.normpath(workspace / env_path))
        for each in (path, path.resolve()):
            for root in roots:
                if each.is_relative_to(root) and each != root:
                    inside = each.relative_to(root).as_posix()
                    found[f"/{_SPECIAL.sub(_ESCAPED, inside)}"] = None
    return list(found)


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
