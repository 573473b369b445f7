"""A project: a configuration as it applies to a workspace, and what its user has accepted."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

from perstack.config.builtin import with_builtins
from perstack.config.env import Environment, read_environment
from perstack.config.find import CONFIG_NAME, LOCK_NAME, find_config, locate
from perstack.config.load import LoadedConfig, load_source, parse_config
from perstack.config.overrides import apply_overrides
from perstack.config.process_env import process_environment
from perstack.config.secrets import redact, secret_values
from perstack.config.trust import Trust, acceptances, seal_of
from perstack.config.typed import Overrides
from perstack.config.untrusted import Demand, UntrustedError
from perstack.domain.expert import Expert
from perstack.domain.ids import ExpertKey
from perstack.domain.registry import Pin, parse_key
from perstack.domain.settings import Settings, SnapshotSettings
from perstack.errors import PerstackError
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
    lock file lists, by Expert, and `listed_fetched` those of Experts of the registry, by integrity;
    `lock_warning` says why a lock file that is there is not used.
    `fetched` are Experts of the registry, by the key as it was asked for; `pins` is what each such
    key led to, now or before, and `fetch_warnings` what was said of that. `accepts_registry`: a
    program that loaded it accepts whatever of the registry its Experts lead to.
    """

    workspace: Path
    file: LoadedConfig
    config: LoadedConfig
    env: Environment = field(repr=False)
    trust: Trust
    listed: Mapping[ExpertKey, ListedTools] = field(default_factory=dict[ExpertKey, ListedTools])
    listed_fetched: Mapping[str, ListedTools] = field(default_factory=dict[str, ListedTools])
    lock_warning: str | None = None
    fetched: Mapping[ExpertKey, Expert] = field(default_factory=dict[ExpertKey, Expert])
    pins: Mapping[str, Pin] = field(default_factory=dict[str, Pin])
    fetch_warnings: tuple[str, ...] = ()
    accepts_registry: bool = False

    @property
    def warnings(self) -> tuple[str, ...]:
        """What in the file and the environment will not do what it seems to, and what to do."""
        said = [warning.with_hint() for warning in (*self.config.warnings, *self.env.warnings)]
        if self.config.redirects_key:
            url = self.config.settings.provider.base_url
            said.append(f"provider.setting.baseUrl: your key is sent to {url}")
        if self.lock_warning is not None:
            said.append(self.lock_warning)
        return (*said, *self.fetch_warnings)

    def admit(self, experts: Mapping[ExpertKey, Expert]) -> None:
        """Refuse Experts that ask for more than the user has accepted. Blocks on the disk.

        Raises:
            UntrustedError: they do; it lists what.
        """
        asked = self.config.demands(experts.values())
        said = self._accepted_by_lock(experts.values())
        own = (*self.config.demands(), *self.config.demands(said))
        if lacking := self.trust.lacking(asked, own=own):
            # With what its env files would set: one word accepts all, so all of it is listed.
            raise UntrustedError(self.config.path, (*lacking, *self.env.demands))

    def _accepted_by_lock(self, experts: Iterable[Expert]) -> Iterator[Expert]:
        """Yield Experts of the registry that the lock file beside the configuration accepts.

        That is said as the configuration says things: it counts where the user named that.
        """
        theirs = [(one.origin, one) for one in experts if one.origin is not None]
        if not theirs or not self.trust.named or self.config.url is not None:
            return
        from perstack.config.lock_pins import read_pins

        pins = self.pins or read_pins(self.config.path.with_name(LOCK_NAME))
        said = {(pin.registry, pin.key, pin.integrity) for pin in pins.values() if pin.accepted}
        for origin, expert in theirs:
            if (origin.registry, origin.key, origin.integrity) in said and self._is_that(expert):
                yield expert

    def _is_that(self, expert: Expert) -> bool:
        """Tell whether an Expert is what its origin says, which a job's history may claim."""
        own = self.fetched.get(expert.key)
        return (own is not None and own == expert) or _is_kept(expert)

    @property
    def experts(self) -> Mapping[ExpertKey, Expert]:
        """Its own Experts, and the built-in and fetched ones that they lead to; its own win."""
        own = self.config.experts
        return with_builtins({**self.fetched, **own} if self.fetched else own)

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
            experts=self.experts,
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
    or_empty: bool = False,
) -> Project:
    """Find and read the configuration and the environment. Blocks on the disk.

    A file that is named with `config_path` is trusted; with `trust`, what a found one asks for is
    accepted, and remembered. With `or_empty`, an empty one is used where none is named or found.

    Raises:
        ConfigError: the file or an env file cannot be used.
        UsageError: an override cannot.
    """
    workspace = workspace.absolute()
    typed = overrides or Overrides()
    if or_empty and config_path is None and find_config(workspace) is None:
        return project_of(workspace, empty_config(workspace), typed)
    config = load_source(locate(workspace, config_path), workspace=workspace)
    project = project_of(workspace, config, typed, named=config_path is not None)
    if not trust:
        return project
    accept(project)
    return project_of(workspace, config, typed, named=config_path is not None)


def _is_kept(expert: Expert) -> bool:
    """Tell whether this disk keeps that very Expert of the registry."""
    from perstack.services.resolved_expert import expert_from
    from perstack.storage.registry_cache import DiskExpertCache, cache_folder

    if (origin := expert.origin) is None:
        return False
    cache = DiskExpertCache(cache_folder(process_environment()))
    try:
        kept = cache.find(origin.registry, parse_key(origin.key))
        if kept is None or kept.definition.integrity != origin.integrity:
            return False
        return seal_of(expert_from(expert.key, kept, origin.registry)) == seal_of(expert)
    except PerstackError:
        return False


def empty_config(workspace: Path) -> LoadedConfig:
    """Return the configuration of a folder that has none: no file is made."""
    return parse_config(workspace.absolute() / CONFIG_NAME, b"")


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
    return replace(
        project,
        listed=found.listed,
        listed_fetched=found.fetched,
        lock_warning=found.warning,
    )


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
    experts = {**project.fetched, **project.config.experts}
    config = replace(project.config, experts=experts)
    return await installer.install(config, workspace=project.workspace, env=project.env)
