"""What `perstack.toml` holds, as it is saved, and the project that runs are started with."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import aclosing
from dataclasses import replace
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Final

import anyio
import anyio.to_thread

from perstack.config.builtin import builtin_experts
from perstack.config.definition_diff import DefinitionDiff, diff_definitions, expert_fields
from perstack.config.load import LoadedConfig, read_config
from perstack.config.positions import locate_keys
from perstack.config.remote import shown_url
from perstack.config.typed import Overrides
from perstack.config.watch import ConfigChange, watch_config
from perstack.domain.consensus import estimate_risk, why_required
from perstack.domain.expert import Expert
from perstack.domain.runtimes import PROGRAMS
from perstack.domain.settings import ConsensusSettings, SnapshotSettings
from perstack.errors import ConfigError, PerstackError
from perstack.ports.frontend import Setup
from perstack.ports.system import SystemClock
from perstack.project import Project, accept, empty_config, project_of
from perstack.projection.program_phrases import model_of_settings
from perstack_tui.ports.gateway import DefinitionsUpdate, ExpertSummary, SavedDefinitions

KEPT_SAVES: Final = 20


class Definitions:
    """Follows the file; `used` is called with every project that it gives."""

    def __init__(
        self,
        workspace: Path,
        setup: Setup,
        *,
        tell: Callable[[DefinitionsUpdate], Awaitable[None]],
        used: Callable[[Project], None],
    ) -> None:
        self._workspace = workspace
        self._setup = setup
        self._tell = tell
        self._used = used
        self._good: Project | None = None
        self._file: LoadedConfig | None = None
        self._saves: tuple[SavedDefinitions, ...] = ()
        self._experts: tuple[ExpertSummary, ...] = ()
        self._builtins: tuple[ExpertSummary, ...] = ()
        self._config_error: ConfigError | None = None
        self._config_read = anyio.Event()

    async def watch(self) -> None:
        """Tell what the file holds, now and whenever it changes; ends only when cancelled."""
        source = self._setup.config_path
        if source is None:
            await self._tell(await self._empty())
            return
        path = source if isinstance(source, Path) else Path(shown_url(source))
        async with aclosing(watch_config(source, workspace=self._workspace)) as changes:
            async for change in changes:
                await self._tell(await self._took(path, change))

    async def _empty(self) -> DefinitionsUpdate:
        """Return what a folder without a configuration holds: Experts of others can be run."""
        overrides = self._setup.overrides
        try:
            config = await anyio.to_thread.run_sync(empty_config, self._workspace)
            project = await anyio.to_thread.run_sync(self._read, config, overrides)
            self._use(project)
            await anyio.to_thread.run_sync(self._compare, config)
        except PerstackError as error:
            self._config_error = ConfigError(error.message, hint=error.hint)
            return DefinitionsUpdate(path=None, error=error.message, error_hint=error.hint)
        finally:
            self._config_read.set()
        model, provider_name = model_of_settings(project.config.settings)
        return DefinitionsUpdate(
            path=None,
            model=model,
            provider_name=provider_name,
            builtins=self._builtins,
            warnings=project.warnings,
            loaded_at=SystemClock().now_ms(),
        )

    async def _took(self, path: Path, change: ConfigChange) -> DefinitionsUpdate:
        error = change.error
        if change.config is not None:
            try:
                read = partial(self._read, change.config, self._setup.overrides)
                self._use(await anyio.to_thread.run_sync(read))
                await anyio.to_thread.run_sync(self._compare, change.config)
            except PerstackError as refused:
                error = ConfigError(refused.message, hint=refused.hint)
        self._config_error = error if self._good is None else None
        self._config_read.set()
        return self._definitions(path, change, error)

    def _read(self, config: LoadedConfig, overrides: Overrides) -> Project:
        setup = self._setup
        project = project_of(self._workspace, config, overrides, named=setup.named)
        if not setup.trust:
            return project
        # What was accepted is what the file asked for as the cockpit was opened, not later.
        self._setup = replace(setup, trust=False)
        accept(project)
        return project_of(self._workspace, config, overrides, named=setup.named)

    def _compare(self, config: LoadedConfig) -> None:
        """Remember what the save changed, and how the Experts are listed. Takes its time."""
        before, self._file = self._file, config
        diff = diff_definitions(before, config) if before is not None else DefinitionDiff()
        if diff:
            saved = SavedDefinitions(SystemClock().now_ms(), diff)
            self._saves = (saved, *self._saves)[:KEPT_SAVES]
        self._experts = summaries_of(config)
        rules = config.settings.consensus
        self._builtins = tuple(
            _summary(expert, rules, None)
            for expert in builtin_experts().values()
            if expert.key not in config.experts
        )

    def _use(self, project: Project) -> None:
        self._good = project
        self._used(project)

    def _definitions(
        self, path: Path, change: ConfigChange, error: ConfigError | None
    ) -> DefinitionsUpdate:
        shown = DefinitionsUpdate(
            path=path,
            error=error.message if error else None,
            error_hint=error.hint if error else None,
        )
        project = self._good
        if project is None:
            return shown
        model, provider_name = model_of_settings(project.config.settings)
        return replace(
            shown,
            experts=self._experts,
            builtins=self._builtins,
            saves=self._saves,
            model=model,
            provider_name=provider_name,
            changes=change.changes if error is None else (),
            warnings=project.warnings,
            loaded_at=SystemClock().now_ms(),
        )

    async def project(self, overrides: Overrides) -> Project:
        """Return the project as the file stands now: what runs keeps what it started with.

        Raises:
            ConfigError: there is no file, or none that could be read yet.
        """
        await self._config_read.wait()
        if self._good is None:
            raise self._config_error or ConfigError(
                "there is no perstack.toml here", hint="write one, or open with --config PATH"
            )
        read = partial(self._read, self._good.file, overrides)
        return await anyio.to_thread.run_sync(read)

    async def left_out(self) -> SnapshotSettings | None:
        """Return what snapshots leave out now, None where nobody can tell."""
        try:
            return (await self.project(self._setup.overrides)).snapshots
        except ConfigError:
            return None  # restoring may be what mends the file


def summaries_of(config: LoadedConfig) -> tuple[ExpertSummary, ...]:
    """Return the Experts as the screen lists them; blocks on the disk for their lines."""
    lines = _lines_of(config)
    rules = config.settings.consensus
    return tuple(
        _summary(expert, rules, lines.get(("experts", expert.key)))
        for expert in config.experts.values()
    )


def _lines_of(config: LoadedConfig) -> dict[tuple[str, ...], int]:
    """Return the line of every key, none when the file is another one by now."""
    try:
        data = read_config(config.path) if config.url is None else b""
    except ConfigError:
        return {}
    if sha256(data).hexdigest() != config.text_hash:
        return {}
    return locate_keys(data.decode("utf-8-sig").replace("\r\n", "\n"))


def _summary(expert: Expert, rules: ConsensusSettings, line: int | None) -> ExpertSummary:
    risk = estimate_risk(expert.key, "", rules)
    return ExpertSummary(
        key=expert.key,
        version=expert.version,
        description=(expert.description or "").strip(),
        delegates=expert.delegates,
        skills=tuple(expert.skills),
        risk=risk,
        gated=why_required(risk, 1, rules) is not None,
        line=line,
        instruction=expert.instruction,
        fields=expert_fields(expert),
        model=f"{runtime}:default" if (runtime := expert.runtime) in PROGRAMS else "",
    )
