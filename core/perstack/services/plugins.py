"""Plugins: which are there, which a person agreed to, and what they contribute."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Final

import anyio
from anyio import to_thread
from pydantic import JsonValue

from perstack.domain.coordination import PluginSettings
from perstack.domain.expert import Expert
from perstack.domain.ids import ExpertKey
from perstack.domain.plugins import PluginInfo
from perstack.errors import ConflictError, NotFoundError, UsageError
from perstack.ports.plugins import FoundPlugin, OpenProvider, PluginLoader
from perstack.ports.stores import Stores
from perstack.ports.system import Clock
from perstack.services.ancestry import refuse_if_inside_run
from perstack.services.handle import Handle
from perstack.services.loaded_plugins import LoadedPlugins, OfferedTool, info
from perstack.services.plugin_decisions import Consents, PluginDecisions

_LOG: Final = logging.getLogger(__name__)
_DEED: Final = "change plugins"


class PluginService:
    """What any front end may do with plugins.

    Nothing is listed or loaded before `discover`. `loaded` runs what was agreed to; `aclose` ends
    all of it.
    """

    def __init__(
        self,
        stores: Handle[Stores],
        loader: PluginLoader,
        loaded: LoadedPlugins,
        *,
        settings: PluginSettings,
        workspace: Path,
        consents: Consents,
        clock: Clock,
    ) -> None:
        self._folder = plugins_folder(workspace, settings)
        self._decisions = PluginDecisions(
            stores, consents=consents, folder=self._folder, clock=clock
        )
        self._loader = loader
        self._loaded = loaded
        self._settings = settings
        self._workspace = workspace
        self._lock = anyio.Lock()
        self._found: dict[str, FoundPlugin] = {}
        self._infos: dict[str, PluginInfo] = {}

    # --------------------------------------------------------------- reading

    async def discover(self, *, load: bool = True) -> Sequence[PluginInfo]:
        """Look for plugins, load those that may be, unload what no longer may; return all.

        Without `load` no plugin's code runs: what may be loaded is "enabled". Does nothing when
        `plugins.enabled` is false.

        Raises:
            StorageError: the database cannot be read.
        """
        if not self._settings.enabled:
            return ()
        async with self._lock:
            await self._refresh()
            for name in self._found:
                await self._settle(name, load=load)
        return self.list()

    def list(self) -> Sequence[PluginInfo]:
        """Return all that were found, by name."""
        return [self._infos[name] for name in sorted(self._infos)]

    def find(self, name: str) -> PluginInfo | None:
        """Return one, None when there is no such plugin."""
        return self._infos.get(name)

    def get(self, name: str) -> PluginInfo:
        """Return one.

        Raises:
            NotFoundError: there is no such plugin.
        """
        found = self._infos.get(name)
        if found is None:
            raise NotFoundError(
                f"Plugin not found: {name[:80]}",
                hint=f"plugins that are there: {', '.join(sorted(self._infos)) or 'none'}",
            )
        return found

    # --------------------------------------------------------- contributions

    @property
    def agents(self) -> Mapping[ExpertKey, Expert]:
        """The Experts that loaded plugins bring."""
        return self._loaded.agents

    @property
    def tools(self) -> Sequence[OfferedTool]:
        """The tools that loaded plugins bring."""
        return self._loaded.tools

    @property
    def providers(self) -> Mapping[str, OpenProvider]:
        """The model providers that loaded plugins bring."""
        return self._loaded.providers

    # -------------------------------------------------------------- deciding

    async def enable(
        self,
        name: str,
        *,
        digest: str | None = None,
        config: Mapping[str, JsonValue] | None = None,
    ) -> PluginInfo:
        """Agree to a plugin as it is now, and load it. `config` is what its `init` is given.

        With `digest`, only if that is still its content. A person's to do, never a run's.

        Raises:
            NotFoundError: there is no such plugin.
            ConflictError: its content is another one than `digest`.
            DeniedError: this process is a run or was started by one.
        """
        await self._refuse_runs()
        async with self._lock:
            await self._refresh()
            self.get(name)
            return await self._agree(self._found[name], digest=digest, config=config)

    async def disable(self, name: str) -> PluginInfo:
        """Stop a plugin, here and wherever the workspace is opened from now on.

        Raises:
            NotFoundError, DeniedError: as for `enable`.
        """
        await self._refuse_runs()
        async with self._lock:
            await self._refresh()
            self.get(name)
            await self._decisions.disable(self._found[name])
            await self._settle(name)
        return self.get(name)

    async def install(
        self, folder: Path, *, config: Mapping[str, JsonValue] | None = None
    ) -> PluginInfo:
        """Agree to the plugin in a folder that may lie anywhere, and load it, now and later.

        Raises:
            NoPluginError: the folder is no plugin.
            ConflictError: another plugin has its name.
            DeniedError: as for `enable`.
        """
        await self._refuse_runs()
        found = await self._at(folder)
        async with self._lock:
            await self._refresh()
            _refuse_namesake(found, self._found.get(found.name))
            self._found[found.name] = found
            return await self._agree(found, digest=None, config=config)

    async def remove(self, name: str) -> None:
        """Stop a plugin and forget that anybody agreed to it. Its files stay where they are.

        Raises:
            NotFoundError, DeniedError: as for `enable`.
            UsageError: it is an installed package.
        """
        await self._refuse_runs()
        async with self._lock:
            await self._refresh()
            if self.get(name).source == "installed":
                raise UsageError(
                    f"the plugin {name} is an installed package",
                    hint="uninstall the package, or disable the plugin",
                )
            await self._decisions.forget(self._found[name])
            await self._loaded.unload(name)
            self._infos.pop(name, None)
            self._found.pop(name, None)

    # ------------------------------------------------------------- a program

    async def load(
        self, folder: Path, *, config: Mapping[str, JsonValue] | None = None
    ) -> PluginInfo:
        """Load a folder's plugin for this process alone; the program that calls vouches for it.

        Raises:
            NoPluginError: the folder is no plugin.
            ConflictError: another plugin has its name.
            DeniedError: as for `enable`.
        """
        await self._refuse_runs()
        found = replace(await self._at(folder), source="program")
        async with self._lock:
            _refuse_namesake(found, self._found.get(found.name))
            self._found[found.name] = found
            return await self._start(found, config or {}, installed_at=None)

    async def unload(self, name: str) -> bool:
        """Stop a plugin until it is discovered again; say whether it was loaded."""
        async with self._lock:
            was_loaded = await self._loaded.unload(name)
            if was_loaded and name in self._found:
                self._infos[name] = info(self._found[name], "disabled", "it was unloaded")
        return was_loaded

    async def aclose(self) -> None:
        """Stop all plugins, each in bounded time."""
        async with self._lock:
            for name in self._loaded.names:
                await self._loaded.unload(name)

    # ------------------------------------------------------------- internals

    async def _refuse_runs(self) -> None:
        refuse = partial(refuse_if_inside_run, self._workspace, allow_self=True, deed=_DEED)
        await to_thread.run_sync(refuse)

    async def _refresh(self) -> None:
        """Look anew at what is there; what a program loaded stays."""
        elsewhere = await self._decisions.places()
        there = await to_thread.run_sync(_look, self._loader, self._folder, elsewhere)
        loaded = {name: self._found[name] for name in self._loaded.names if name in self._found}
        found: dict[str, FoundPlugin] = {}
        for one in there:
            if one.name in found:
                _LOG.warning("a second plugin %s, at %s, was skipped", one.name, one.location)
            else:
                found[one.name] = one
        for name, one in loaded.items():
            if one.source == "program":
                found[name] = one
            elif name not in found:
                await self._loaded.unload(name)
        self._found = found
        self._infos = {name: one for name, one in self._infos.items() if name in found}
        for one in found.values():
            self._infos.setdefault(one.name, info(one, "unasked"))

    async def _at(self, folder: Path) -> FoundPlugin:
        path = self._workspace / folder
        return await to_thread.run_sync(lambda: self._loader.at(path.resolve()))

    async def _agree(
        self,
        found: FoundPlugin,
        *,
        digest: str | None,
        config: Mapping[str, JsonValue] | None,
    ) -> PluginInfo:
        if digest is not None and digest != found.digest:
            raise ConflictError(
                f"the plugin {found.name} was changed: it is {found.digest} now",
                hint="look at it again before enabling it",
            )
        record = await self._decisions.agree(found, config)
        if record.config != self._loaded.config_of(found.name):
            await self._loaded.unload(found.name)
        await self._settle(found.name)
        return self.get(found.name)

    async def _settle(self, name: str, *, load: bool = True) -> None:
        """Load a plugin or unload it, as was decided of it."""
        found = self._found[name]
        if found.source == "program":
            return
        record = await self._decisions.find(name)
        refusal = await self._decisions.refusal(found, record)
        if refusal is not None:
            await self._loaded.unload(name)
            self._infos[name] = refusal
            return
        if self._loaded.digest_of(name) == (found.digest or found.version):
            return
        await self._loaded.unload(name)
        since = record.installed_at if record else None
        if not load:
            self._infos[name] = info(found, "enabled", installed_at=since)
            return
        await self._start(found, record.config if record else {}, installed_at=since)

    async def _start(
        self, found: FoundPlugin, config: Mapping[str, JsonValue], *, installed_at: int | None
    ) -> PluginInfo:
        started = await self._loaded.load(found, config)
        self._infos[found.name] = started.model_copy(update={"installed_at": installed_at})
        return self._infos[found.name]


def plugins_folder(workspace: Path, settings: PluginSettings) -> Path:
    """Return where plugins are looked for."""
    return (workspace / Path(settings.directory).expanduser()).resolve()


def _look(loader: PluginLoader, folder: Path, elsewhere: Iterable[Path]) -> Sequence[FoundPlugin]:
    found = [*loader.installed(), *loader.in_folder(folder)]
    for path in elsewhere:
        try:
            found.append(loader.at(path))
        except UsageError as error:
            _LOG.warning("the plugin at %s was skipped: %s", path, error.message)
    return found


def _refuse_namesake(found: FoundPlugin, other: FoundPlugin | None) -> None:
    if other is not None and other.location != found.location:
        raise ConflictError(
            f"there is a plugin {found.name} already, at {other.location}",
            hint="remove it first",
        )
