"""The plugins that are at work in this process, and what they contribute.

Whatever a plugin does wrong is its own failure: it is not loaded, and the reason is kept.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Final, Protocol

from anyio import CancelScope, to_thread
from pydantic import JsonValue

from perstack.config.interpolate import filled
from perstack.config.secrets import redact, secret_values
from perstack.domain.expert import Expert
from perstack.domain.ids import ExpertKey
from perstack.domain.plugins import PluginInfo, PluginStatus
from perstack.errors import UsageError
from perstack.ports.experts import OwnTool
from perstack.ports.plugins import (
    FoundPlugin,
    OpenProvider,
    PluginLoader,
    PluginManifest,
    PluginTool,
)
from perstack.services.foreign_calls import call_foreign
from perstack.services.hooks import HookService

BOUND_S: Final = 30.0
CLEANUP_S: Final = 5.0
MOST_RESULT: Final = 1_000_000
_REASON: Final = 500

_LOG: Final = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class OfferedTool:
    """A plugin's tool, kept from breaking the run that calls it. `gated` ones wait for a person."""

    plugin: str
    tool: OwnTool
    gated: bool


@dataclass(frozen=True, slots=True)
class _Loaded:
    found: FoundPlugin
    manifest: PluginManifest
    config: Mapping[str, JsonValue]
    tools: tuple[OfferedTool, ...]
    hooks: list[Callable[[], None]] = field(default_factory=list[Callable[[], None]])


class AgentRegistry(Protocol):
    """Where types of agents are made known (`AgentTypes`)."""

    def find(self, agent_type: str, /) -> object | None:
        """Return the type, None where there is none."""
        ...

    def register(self, expert: Expert, /) -> bool:
        """Add a type; False if it is there and stays."""
        ...

    def unregister(self, agent_type: str, /) -> bool:
        """Remove a type that was added."""
        ...


class LoadedPlugins:
    """Runs plugins: each import, `init` and tool call gets `bound_s` seconds, `cleanup` five.

    `env` fills in the `${NAME}`s of a plugin's configuration; its secrets are kept out of what is
    shown of failures. `registry` makes their agents known; a type that is there is not replaced.
    """

    def __init__(
        self,
        loader: PluginLoader,
        hooks: HookService,
        *,
        env: Mapping[str, str],
        registry: AgentRegistry,
        bound_s: float = BOUND_S,
    ) -> None:
        self._loader = loader
        self._hooks = hooks
        self._env = env
        self._registry = registry
        self._bound_s = bound_s
        self._loaded: dict[str, _Loaded] = {}

    @property
    def names(self) -> Sequence[str]:
        """Those that are loaded, in the order of loading."""
        return tuple(self._loaded)

    @property
    def agents(self) -> Mapping[ExpertKey, Expert]:
        """Their Experts."""
        return {agent.key: agent for one in self._loaded.values() for agent in one.manifest.agents}

    @property
    def tools(self) -> Sequence[OfferedTool]:
        """Their tools."""
        return [tool for one in self._loaded.values() for tool in one.tools]

    @property
    def providers(self) -> Mapping[str, OpenProvider]:
        """Their model providers, by name."""
        return {
            name: provider
            for one in self._loaded.values()
            for name, provider in one.manifest.providers.items()
        }

    def digest_of(self, name: str) -> str | None:
        """Return the content hash, or an installed one's version, None if it is not loaded."""
        loaded = self._loaded.get(name)
        return (loaded.found.digest or loaded.found.version) if loaded else None

    def config_of(self, name: str) -> Mapping[str, JsonValue] | None:
        """Return the configuration it was loaded with, None if it is not loaded."""
        loaded = self._loaded.get(name)
        return loaded.config if loaded else None

    async def load(self, found: FoundPlugin, config: Mapping[str, JsonValue]) -> PluginInfo:
        """Run a plugin's code and take in what it brings; one that fails is said to have."""
        await self.unload(found.name)
        try:
            manifest = await self._manifest(found, config)
        except TimeoutError:
            reason = f"it took longer than {self._bound_s:g} s"
        except UsageError as error:
            reason = error.message
        except Exception as error:  # noqa: BLE001  its failure is its own
            _LOG.exception("the plugin %s failed", found.name)
            reason = f"{type(error).__name__}: {error}"
        else:
            self._take_in(found, manifest, config)
            return info(found, "loaded", manifest=manifest)
        await to_thread.run_sync(self._loader.forget, found)
        return info(found, "failed", redact(reason, secret_values(self._env))[:_REASON])

    async def unload(self, name: str) -> bool:
        """Take back what a plugin brought and let it clean up; say whether it was loaded."""
        loaded = self._loaded.pop(name, None)
        if loaded is None:
            return False
        for unregister in loaded.hooks:
            unregister()
        for agent in loaded.manifest.agents:
            self._registry.unregister(agent.key)
        with CancelScope(shield=True):
            if loaded.manifest.cleanup is not None:
                await self._clean_up(name, loaded.manifest.cleanup)
            await to_thread.run_sync(self._loader.forget, loaded.found)
        return True

    async def _manifest(
        self, found: FoundPlugin, config: Mapping[str, JsonValue]
    ) -> PluginManifest:
        given = await call_foreign(partial(self._loader.load, found), within_s=self._bound_s)
        if not isinstance(given, PluginManifest):
            raise UsageError(f"it is a {type(given).__name__}, not a manifest")
        self._refuse_taken(given)
        if given.init is not None:
            ready = {name: _filled(value, self._env) for name, value in config.items()}
            await call_foreign(partial(given.init, ready), within_s=self._bound_s)
        return given

    def _refuse_taken(self, manifest: PluginManifest) -> None:
        tools = {offered.tool.name for offered in self.tools}
        for agent in manifest.agents:
            if self._registry.find(agent.key) is not None:
                raise UsageError(f"the agent type {agent.key} is there already")
        for what, names, theirs in (
            ("tool", tools, [tool.name for tool in manifest.tools]),
            ("provider", self.providers, manifest.providers),
        ):
            for name in theirs:
                if name in names:
                    raise UsageError(f"the {what} {name} is there already")

    def _take_in(
        self, found: FoundPlugin, manifest: PluginManifest, config: Mapping[str, JsonValue]
    ) -> None:
        tools = tuple(
            OfferedTool(found.name, self._guarded(found.name, tool), tool.require_approval)
            for tool in manifest.tools
        )
        loaded = _Loaded(found, manifest, config, tools)
        for hook in manifest.hooks:
            owner = f"the plugin {found.name}"
            loaded.hooks.append(self._hooks.register_hook(hook.event, hook.handler, owner=owner))
        for agent in manifest.agents:
            self._registry.register(agent)
        self._loaded[found.name] = loaded

    def _guarded(self, plugin: str, tool: PluginTool) -> OwnTool:
        async def call(args: Mapping[str, JsonValue]) -> str:
            try:
                given = await call_foreign(partial(tool.handler, args), within_s=self._bound_s)
                return _as_text(given)
            except TimeoutError:
                raise ValueError(f"{tool.name} took longer than {self._bound_s:g} s") from None
            except Exception as error:
                _LOG.exception("the tool %s of the plugin %s failed", tool.name, plugin)
                said = redact(f"{type(error).__name__}: {error}", secret_values(self._env))
                raise ValueError(said[:_REASON]) from error

        return OwnTool(tool.name, tool.description, dict(tool.input_schema), call)

    async def _clean_up(self, name: str, cleanup: Callable[[], Awaitable[object] | object]) -> None:
        try:
            await call_foreign(cleanup, within_s=min(self._bound_s, CLEANUP_S))
        except Exception:  # noqa: BLE001  it goes all the same
            _LOG.exception("the plugin %s could not clean up", name)


def info(
    found: FoundPlugin,
    status: PluginStatus,
    reason: str | None = None,
    *,
    manifest: PluginManifest | None = None,
    installed_at: int | None = None,
) -> PluginInfo:
    """Return a plugin as it is shown."""
    return PluginInfo(
        name=found.name,
        version=manifest.version if manifest else found.version,
        description=(manifest.description if manifest else None) or found.description,
        source=found.source,
        location=found.location,
        status=status,
        reason=reason,
        digest=found.digest,
        agents=tuple(agent.key for agent in manifest.agents) if manifest else (),
        tools=tuple(tool.name for tool in manifest.tools) if manifest else (),
        hooks=tuple(hook.event for hook in manifest.hooks) if manifest else (),
        providers=tuple(manifest.providers) if manifest else (),
        installed_at=installed_at,
    )


def _filled(value: JsonValue, env: Mapping[str, str]) -> JsonValue:
    if isinstance(value, str):
        return filled(value, env)
    if isinstance(value, list):
        return [_filled(one, env) for one in value]
    if isinstance(value, dict):
        return {name: _filled(one, env) for name, one in value.items()}
    return value


def _as_text(given: object) -> str:
    text = given if isinstance(given, str) else json.dumps(given, ensure_ascii=False, default=str)
    return text if len(text) <= MOST_RESULT else text[:MOST_RESULT] + " [shortened]"
