"""What services ask of plugins: where they are found, what one is, and who enabled it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from pydantic import JsonValue

from perstack.domain.expert import Expert
from perstack.domain.hooks import HookEvent, HookHandler
from perstack.domain.plugins import PluginRecord, PluginSource
from perstack.errors import UsageError
from perstack.ports.model import ChatModel

OpenProvider = Callable[[str, Mapping[str, str]], ChatModel]
Initialise = Callable[[Mapping[str, JsonValue]], Awaitable[object] | object]
CleanUp = Callable[[], Awaitable[object] | object]


@dataclass(frozen=True, slots=True)
class PluginHook:
    """A hook that a plugin brings."""

    event: HookEvent
    handler: HookHandler


@dataclass(frozen=True, slots=True)
class PluginTool:
    """A tool that a plugin brings. `handler` is given its arguments and returns what it found.

    With `require_approval` every call waits for a person.
    """

    name: str
    description: str
    input_schema: dict[str, JsonValue]
    handler: Callable[[Mapping[str, JsonValue]], Awaitable[object] | object]
    require_approval: bool = False


@dataclass(frozen=True, slots=True)
class PluginManifest:
    """What a plugin is. A plugin's module or entry point gives one, or a dict of the same names.

    `providers` open a model by its name with the user's environment. `init` is given the plugin's
    configuration before anything of it is used, `cleanup` nothing, once it is no longer; both may
    be synchronous or not.
    """

    name: str
    version: str
    description: str | None = None
    agents: tuple[Expert, ...] = ()
    tools: tuple[PluginTool, ...] = ()
    hooks: tuple[PluginHook, ...] = ()
    providers: Mapping[str, OpenProvider] = field(default_factory=dict[str, OpenProvider])
    init: Initialise | None = None
    cleanup: CleanUp | None = None


class NoPluginError(UsageError):
    """A directory is no plugin: it has no manifest, or one that cannot be read."""

    code = "usage.no_plugin"


@dataclass(frozen=True, slots=True)
class FoundPlugin:
    """A plugin that is there, none of whose code has run.

    `location` is its folder, or `package:attribute` for an installed one; `digest` is the SHA-256
    of a folder's content, None for what is installed. `problem` says why it cannot be loaded.
    """

    name: str
    version: str
    source: PluginSource
    location: str
    description: str | None = None
    digest: str | None = None
    problem: str | None = None


class PluginLoader(Protocol):
    """Finds plugins and runs their code. Every method blocks, on the disk or on the plugin."""

    def installed(self) -> Sequence[FoundPlugin]:
        """Return those of installed packages."""
        ...

    def in_folder(self, folder: Path) -> Sequence[FoundPlugin]:
        """Return those in the sub-directories; what is none is logged and left out."""
        ...

    def at(self, folder: Path) -> FoundPlugin:
        """Return the one that a directory is.

        Raises:
            NoPluginError: it has no manifest, or one that cannot be read.
        """
        ...

    def load(self, found: FoundPlugin) -> PluginManifest:
        """Run its code and return what it is.

        Raises:
            ConflictError: its content is no longer that of `found.digest`.
            UsageError: it gives something else than a manifest.
            Exception: whatever the plugin's code raises.
        """
        ...

    def forget(self, found: FoundPlugin) -> None:
        """Let its modules go."""
        ...


class PluginStore(Protocol):
    """What people decided about plugins, shared by all processes of a workspace."""

    async def list(self) -> Sequence[PluginRecord]:
        """Return all, by name."""
        ...

    async def find(self, name: str) -> PluginRecord | None:
        """Return it, None when nothing was decided."""
        ...

    async def save(self, record: PluginRecord) -> None:
        """Write it in place of what was there; the time of installation stays the first one."""
        ...

    async def delete(self, name: str) -> bool:
        """Forget it; say whether it was there."""
        ...
