"""The skills of an Expert in `perstack.toml`."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from typing import Final, NoReturn

from pydantic import JsonValue

from perstack.config import limits
from perstack.config.read_servers import (
    SKILL_GATES,
    read_allowed_domains,
    read_http,
    read_sse,
    read_stdio,
)
from perstack.config.report import listed, printable
from perstack.config.table import Table, is_list
from perstack.config.vocabulary import (
    BASE_SKILL_TYPES,
    ELICITATION,
    MEMORY_SKILL_TYPES,
    SAMPLING,
    SKILL_TYPES,
)
from perstack.domain.expert import (
    BASE_SKILL,
    MEMORY_SKILL,
    BaseSkill,
    InteractiveSkill,
    InteractiveTool,
    McpStdioSkill,
    MemorySkill,
    SkillSpec,
)

_OTHER: Final = 'write type = "baseSkill", or another base skill into perstackBaseSkillCommand'
_PINNED: Final = re.compile(re.escape(BASE_SKILL) + r"@.+", re.DOTALL)


def read_skills(expert: Table) -> dict[str, SkillSpec]:
    """Read an Expert's skills, the base skill first; it is always there."""
    skills: dict[str, SkillSpec] = {BASE_SKILL: BaseSkill()}
    table = expert.table("skills")
    if table is None:
        return skills
    if len(table.keys) > limits.LIST_ITEMS:
        expert.problem("skills", f"may have {limits.LIST_ITEMS} skills; it has {len(table.keys)}")
    for name, entry in table.tables():
        if not 1 <= len(name) <= limits.NAME_LENGTH:
            table.problem(name, f"a skill's name has 1 to {limits.NAME_LENGTH} characters")
        skill = _READERS.get(name, _read_skill)(name, entry)
        if skill is not None:
            skills[name] = skill
    return skills


def _read_skill(name: str, entry: Table) -> SkillSpec | None:
    match entry.raw("type"):
        case "mcpStdioSkill":
            return read_stdio(name, entry)
        case "mcpSseSkill":
            return read_sse(entry)
        case "mcpHttpSkill":
            return read_http(entry)
        case "interactiveSkill":
            return _read_interactive(entry)
        case "memorySkill":
            entry.problem("type", f"is only for {MEMORY_SKILL}", f'name the skill "{MEMORY_SKILL}"')
        case None:
            entry.problem("type", f"must be given: {listed(SKILL_TYPES)}")
        case _:
            entry.choice("type", SKILL_TYPES)
    return None


def _read_memory(_name: str, entry: Table) -> MemorySkill:
    """Read what is remembered beyond a run; it is built in, too."""
    entry.choice("type", MEMORY_SKILL_TYPES)
    read = MemorySkill(
        description=entry.text("description"),
        rule=entry.text("rule"),
        pick=entry.texts("pick") or (),
        omit=entry.texts("omit") or (),
        require_approval=entry.texts("requireApproval") or (),
        namespace=entry.text(
            "namespace", shortest=1, longest=limits.NAMESPACE_LENGTH, rule=limits.NAMESPACE
        ),
    )
    entry.close(gates=SKILL_GATES)
    return read


def _read_base(_name: str, entry: Table) -> BaseSkill | McpStdioSkill:
    """Read the base skill, which files written for Perstack declare as an MCP server.

    It is built in. Pinned to a version, it is the server that was asked for.
    """
    kind = entry.choice("type", BASE_SKILL_TYPES)
    if kind != "baseSkill" and _is_pinned(entry):
        return read_stdio(BASE_SKILL, entry)
    read = BaseSkill(
        pick=entry.texts("pick") or (),
        omit=entry.texts("omit") or (),
        rule=entry.text("rule"),
        require_approval=entry.texts("requireApproval") or (),
    )
    package = entry.text("packageName")
    args = entry.texts("args", longest=limits.ARGUMENT_LENGTH, empty_items=True) or ()
    entry.text("command")
    entry.text("description")
    entry.flag("lazyInit")
    if any(word not in (BASE_SKILL, "-y") for word in (package or BASE_SKILL, *args)):
        entry.warn(
            "packageName" if package else "args", "the built-in base skill is used instead", _OTHER
        )
    if entry.texts("requiredEnv", rule=limits.ENV_NAME):
        entry.warn("requiredEnv", "has no effect on the built-in base skill", "remove it")
    if read_allowed_domains(entry):
        entry.warn("allowedDomains", "has no effect on the built-in base skill", "remove it")
    for key, words in (("sampling", SAMPLING), ("elicitation", ELICITATION)):
        if entry.choice(key, words) not in (None, "deny"):
            entry.warn(key, "has no effect: the built-in base skill asks nobody", "remove it")
    entry.close(gates=SKILL_GATES)
    return read


def _is_pinned(entry: Table) -> bool:
    if entry.raw("command") != "npx":
        return False
    args = entry.raw("args")
    words = [entry.raw("packageName"), *(args if is_list(args) else ())]
    return any(isinstance(word, str) and _PINNED.fullmatch(word) for word in words)


def _read_interactive(entry: Table) -> InteractiveSkill:
    tools = entry.table("tools")
    if "tools" not in entry:
        entry.problem("tools", "must be given: one table for each question")
    read = InteractiveSkill(
        description=entry.text("description"),
        rule=entry.text("rule"),
        tools=_read_tools(tools) if tools else {},
    )
    entry.close()
    return read


def _read_tools(tools: Table) -> dict[str, InteractiveTool]:
    if not 1 <= len(tools.keys) <= limits.LIST_ITEMS:
        tools.report.problem(tools.at, f"must have 1 to {limits.LIST_ITEMS} tools")
    read: dict[str, InteractiveTool] = {}
    for name, entry in tools.tables():
        if not 1 <= len(name) <= limits.NAME_LENGTH:
            tools.problem(name, f"a tool's name has 1 to {limits.NAME_LENGTH} characters")
        entry.raw("name")
        description = entry.text("description")
        schema = _read_schema(entry)
        if schema is not None:
            read[name] = InteractiveTool(description=description, input_schema=schema)
        entry.close()
    return read


def _read_schema(entry: Table) -> dict[str, JsonValue] | None:
    key = "inputJsonSchema"
    text = entry.text(key, longest=limits.SCHEMA_LENGTH)
    if key not in entry:
        entry.problem(key, "must be given: the answer's JSON Schema as a string of JSON")
    if text is None:
        return None
    try:
        schema = _parse_json(text)
    except (ValueError, RecursionError) as error:
        entry.problem(key, f"is not JSON: {printable(str(error), longest=120)}")
        return None
    if not isinstance(schema, dict) or schema.get("type") != "object":
        entry.problem(key, 'must be a JSON Schema of an object, with "type": "object"')
        return None
    return schema


def _parse_json(text: str) -> JsonValue:
    value: JsonValue = json.loads(text, parse_constant=_refuse_constant)
    if _depth(value) > limits.SCHEMA_DEPTH:
        raise ValueError(f"nested deeper than {limits.SCHEMA_DEPTH}")
    json.dumps(value, ensure_ascii=False).encode()
    return value


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not allowed")


def _depth(value: JsonValue) -> int:
    depth, level = 0, [value]
    while level:
        depth += 1
        level = [
            inner
            for outer in level
            if isinstance(outer, dict | list)
            for inner in (outer.values() if isinstance(outer, dict) else outer)
        ]
    return depth


_READERS: Final[Mapping[str, Callable[[str, Table], SkillSpec | None]]] = {
    BASE_SKILL: _read_base,
    MEMORY_SKILL: _read_memory,
}
