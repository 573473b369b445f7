"""Plugins: what was found, what a person decided about it, and what it contributes."""

from __future__ import annotations

from typing import Final, Literal

from pydantic import Field, JsonValue

from perstack.domain.base import Model
from perstack.domain.ids import ExpertKey

PluginSource = Literal["installed", "folder", "program"]
PluginStatus = Literal["loaded", "enabled", "disabled", "unasked", "changed", "failed"]

NAME_PATTERN: Final = r"(?:@[a-z0-9][a-z0-9._-]{0,63}/)?[a-z0-9][a-z0-9._-]{0,63}"
TOOL_PATTERN: Final = r"[A-Za-z][A-Za-z0-9_-]{0,63}"


class PluginRecord(Model):
    """What a person decided about a plugin. Times in Unix milliseconds.

    `digest` is the SHA-256 of the content that was agreed to, None for installed packages.
    `location` is the folder of one that lies outside the plugins folder. Texts of `config` may hold
    `${NAME}`, which is filled in from the environment when the plugin is given them.
    """

    name: str
    version: str
    source: PluginSource
    enabled: bool
    digest: str | None = None
    location: str | None = None
    config: dict[str, JsonValue] = Field(default_factory=dict)
    installed_at: int
    updated_at: int


class PluginInfo(Model):
    """A plugin as it is shown. `reason` says why it is not loaded, and what to do about it.

    `agents`, `tools`, `hooks` and `providers` name what it contributes while it is loaded.
    """

    name: str
    version: str
    description: str | None = None
    source: PluginSource
    location: str
    status: PluginStatus
    reason: str | None = None
    digest: str | None = None
    agents: tuple[ExpertKey, ...] = ()
    tools: tuple[str, ...] = ()
    hooks: tuple[str, ...] = ()
    providers: tuple[str, ...] = ()
    installed_at: int | None = None

    @property
    def enabled(self) -> bool:
        """Whether it is at work, or would be if nothing had gone wrong."""
        return self.status in ("loaded", "enabled", "failed")
