"""What a plugin's code gives, checked: nobody checked the types of a program that is not ours."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Final, TypeVar, cast

from pydantic import JsonValue

from perstack.config.limits import EXPERT_NAME
from perstack.domain.expert import BASE_SKILL, BaseSkill, Expert
from perstack.domain.hooks import HOOK_EVENTS
from perstack.domain.ids import ExpertKey
from perstack.domain.plugins import TOOL_PATTERN
from perstack.errors import UsageError
from perstack.ports.experts import OwnTool
from perstack.ports.plugins import (
    FoundPlugin,
    OpenProvider,
    PluginHook,
    PluginManifest,
    PluginTool,
)

_KEYS: Final = (
    "name",
    "version",
    "description",
    "agents",
    "tools",
    "hooks",
    "providers",
    "init",
    "cleanup",
)
_MOST: Final = 200
_LONGEST: Final = 100_000
_TOOL: Final = re.compile(TOOL_PATTERN)
_PROVIDER: Final = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")

_Table = Mapping[str, object]
T = TypeVar("T")


def to_manifest(given: object, found: FoundPlugin) -> PluginManifest:
    """Return what `given` says: a `PluginManifest`, a mapping, or a function that returns one.

    A name or version that it leaves out is taken from where the plugin was found.

    Raises:
        UsageError: it is something else; the message says what and where.
    """
    table = _table_of(given() if callable(given) else given)
    unknown = sorted(set(table) - set(_KEYS))
    if unknown:
        raise UsageError(f"the manifest has no {unknown[0][:40]!a}; it has {', '.join(_KEYS)}")
    name = _text(table.get("name", found.name), "name")
    if name != found.name and found.source != "installed":
        raise UsageError(f"it calls itself {name[:40]!a}, and its folder says {found.name!a}")
    return PluginManifest(
        name=name,
        version=_text(table.get("version", found.version), "version"),
        description=_optional_text(table.get("description"), "description"),
        agents=_unique(map(_agent, _items(table, "agents")), "agent", _agent_key),
        tools=_unique(map(_tool, _items(table, "tools")), "tool", _tool_name),
        hooks=tuple(map(_hook, _items(table, "hooks"))),
        providers=_providers(table.get("providers")),
        init=_optional_function(table.get("init"), "init"),
        cleanup=_optional_function(table.get("cleanup"), "cleanup"),
    )


def _table_of(given: object) -> _Table:
    if isinstance(given, PluginManifest):
        return {key: getattr(given, key) for key in _KEYS}
    return _mapping(given, "the manifest")


def _mapping(given: object, what: str) -> _Table:
    if not isinstance(given, Mapping):
        raise UsageError(f"{what} is a {type(given).__name__}, not a mapping")
    return {str(key): value for key, value in cast("Mapping[object, object]", given).items()}


def _items(table: _Table, key: str) -> list[object]:
    given = table.get(key)
    if given is None:
        return []
    if not isinstance(given, list | tuple):
        raise UsageError(f"{key} is a {type(given).__name__}, not a list")
    items = list(cast("Iterable[object]", given))
    if len(items) > _MOST:
        raise UsageError(f"{key} has more than {_MOST} entries")
    return items


def _text(value: object, what: str) -> str:
    if not isinstance(value, str) or not 0 < len(value) <= _LONGEST:
        raise UsageError(f"{what} must be a text of 1 to {_LONGEST:,} characters")
    return value


def _optional_text(value: object, what: str) -> str | None:
    return None if value is None else _text(value, what)


def _function(value: object, what: str) -> Callable[..., object]:
    if not callable(value):
        raise UsageError(f"{what} is a {type(value).__name__}, not a function")
    return value


def _optional_function(value: object, what: str) -> Callable[..., object] | None:
    return None if value is None else _function(value, what)


def _agent(given: object) -> Expert:
    if not isinstance(given, Expert):
        given = _agent_of(_mapping(given, "an agent"))
    if not EXPERT_NAME.fullmatch(given.key):
        raise UsageError(f"the agent type {given.key[:40]!a} is no Expert's name")
    return given


def _agent_of(table: _Table) -> Expert:
    """Return the Expert that upstream's `{type, name, description, systemPrompt, …}` defines."""
    key = ExpertKey(_text(table.get("type"), "an agent's type"))
    tags = [_text(one, "a capability") for one in _items(table, "capabilities")]
    return Expert(
        key=key,
        name=_text(table.get("name", key), f"the name of {key}"),
        description=_optional_text(table.get("description"), f"the description of {key}"),
        instruction=_text(table.get("systemPrompt"), f"the systemPrompt of {key}"),
        skills={BASE_SKILL: BaseSkill()},
        tags=tuple(tags),
    )


def _tool(given: object) -> PluginTool:
    if isinstance(given, OwnTool):
        tool = PluginTool(given.name, given.description, given.input_schema, given.call)
    elif isinstance(given, PluginTool):
        tool = given
    else:
        tool = _tool_of(_mapping(given, "a tool"))
    if not _TOOL.fullmatch(_text(tool.name, "a tool's name")):
        raise UsageError(f"the tool {tool.name[:40]!a} needs a name of letters, digits, _ and -")
    _function(tool.handler, f"the handler of {tool.name}")
    _check_schema(tool)
    return tool


def _tool_of(table: _Table) -> PluginTool:
    name = _text(table.get("name"), "a tool's name")
    schema = _mapping(table.get("inputSchema", {"type": "object"}), f"the inputSchema of {name}")
    return PluginTool(
        name,
        _text(table.get("description"), f"the description of {name}"),
        cast("dict[str, JsonValue]", dict(schema)),
        _function(table.get("handler"), f"the handler of {name}"),
        table.get("requireApproval") is True,
    )


def _check_schema(tool: PluginTool) -> None:
    from jsonschema import Draft202012Validator, SchemaError

    if tool.input_schema.get("type") != "object":
        raise UsageError(f"the inputSchema of {tool.name} must have the type object")
    try:
        Draft202012Validator.check_schema(tool.input_schema)
    except SchemaError as error:
        raise UsageError(f"the inputSchema of {tool.name}: {error.message[:200]}") from error


def _hook(given: object) -> PluginHook:
    if isinstance(given, PluginHook):
        event, handler = str(given.event), given.handler
    else:
        table = _mapping(given, "a hook")
        event = _text(table.get("event"), "a hook's event")
        handler = _function(table.get("handler"), "a hook's handler")
    for known in HOOK_EVENTS:
        if known == event:
            return PluginHook(known, _function(handler, "a hook's handler"))
    raise UsageError(f"there is no hook event {event[:40]!a}; there are {', '.join(HOOK_EVENTS)}")


def _providers(given: object) -> Mapping[str, OpenProvider]:
    if given is None:
        return {}
    table = _mapping(given, "providers")
    for name in table:
        if not _PROVIDER.fullmatch(name):
            raise UsageError(f"the provider {name[:40]!a} needs a name of a-z, 0-9, _ and -")
    return {
        name: cast("OpenProvider", _function(value, f"the provider {name}"))
        for name, value in table.items()
    }


def _agent_key(agent: Expert) -> str:
    return agent.key


def _tool_name(tool: PluginTool) -> str:
    return tool.name


def _unique(items: Iterable[T], what: str, key: Callable[[T], str]) -> tuple[T, ...]:
    found: dict[str, T] = {}
    for item in items:
        if key(item) in found:
            raise UsageError(f"it has two of the {what} {key(item)!a}")
        found[key(item)] = item
    return tuple(found.values())
