"""What differs between two readings of `perstack.toml`, in short phrases."""

from __future__ import annotations

from collections.abc import Iterator

from perstack.config.load import LoadedConfig
from perstack.config.report import printable
from perstack.domain.base import Model
from perstack.domain.expert import Expert
from perstack.domain.settings import Settings

_SCALARS = ("reasoning_budget", "max_steps", "max_retries", "timeout", "max_parallel", "max_depth")
_TABLES = ("budget", "exec", "consensus", "notify", "snapshots")
_COORDINATION = {
    "agents": "agents",
    "memory": "memory",
    "drift": "driftDetection",
    "resources": "resourceExhaustion",
    "dispatcher": "smartDispatcher",
    "slack": "slack",
    "github": "github",
    "hooks": "hooks",
    "plugins": "plugins",
    "mcp": "mcp",
    "server": "server",
}
_NAMING = ("key", "name")


def diff_configs(old: LoadedConfig, new: LoadedConfig) -> tuple[str, ...]:
    """Return phrases such as "writer changed: instruction" and "reviewer new"; none for no change.

    Settings come first, then Experts in the new file's order, then removed ones.
    """
    return (*_settings(old.settings, new.settings), *_env_files(old, new), *_experts(old, new))


def _settings(old: Settings, new: Settings) -> Iterator[str]:
    if old.model != new.model:
        yield f"model {printable(old.model)} → {printable(new.model)}"
    yield from _provider(old, new)
    for name in _SCALARS:
        before, after = getattr(old, name), getattr(new, name)
        if before != after:
            yield f"{_spoken(old, name)} {before} → {after}"
    for name in _TABLES:
        if fields := _changed(getattr(old, name), getattr(new, name)):
            yield f"{name} changed: {', '.join(fields)}"
    for name, spoken in _COORDINATION.items():
        before, after = getattr(old.coordination, name), getattr(new.coordination, name)
        if fields := _changed(before, after):
            yield f"{spoken} changed: {', '.join(fields)}"
    for name in sorted(old.models.keys() | new.models.keys()):
        if old.models.get(name) != new.models.get(name):
            yield f"models changed: {printable(name)}"
    if old.base_skill_command != new.base_skill_command:
        yield "perstackBaseSkillCommand changed"


def _provider(old: Settings, new: Settings) -> Iterator[str]:
    if old.provider.name != new.provider.name:
        yield f"provider {old.provider.name} → {new.provider.name}"
    elif fields := _changed(old.provider, new.provider):
        yield f"provider changed: {', '.join(fields)}"


def _env_files(old: LoadedConfig, new: LoadedConfig) -> Iterator[str]:
    if old.env_paths != new.env_paths:
        yield "envPath changed"


def _experts(old: LoadedConfig, new: LoadedConfig) -> Iterator[str]:
    for key, expert in new.experts.items():
        before: Expert | None = old.experts.get(key)
        if before is None:
            yield f"{key} new"
        elif fields := _changed(before, expert):
            yield f"{key} changed: {', '.join(fields)}"
    for key in old.experts:
        if key not in new.experts:
            yield f"{key} removed"


def _changed(old: Model, new: Model) -> list[str]:
    """Return the TOML names of the fields that differ."""
    return [
        _spoken(new, name)
        for name in type(new).model_fields
        if name not in _NAMING and getattr(old, name) != getattr(new, name)
    ]


def _spoken(model: Model, name: str) -> str:
    field = type(model).model_fields[name]
    return field.serialization_alias or field.alias or name
