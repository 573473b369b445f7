"""What `perstack.toml` defines: Experts and their skills."""

from __future__ import annotations

from typing import Annotated, Final, Literal

from pydantic import Field, JsonValue

from perstack.domain.base import Model
from perstack.domain.ids import ExpertKey

BASE_SKILL: Final = "@perstack/base"


class BaseSkill(Model):
    """The tools every Expert has. `pick` keeps only those named, `omit` drops those named."""

    type: Literal["baseSkill"] = "baseSkill"
    pick: tuple[str, ...] = ()
    omit: tuple[str, ...] = ()
    rule: str | None = None
    require_approval: tuple[str, ...] = ()


class McpStdioSkill(Model):
    """An MCP server started as `command package_name` or `command *args`.

    Exactly one of `package_name` and `args` is given. `require_approval` names tools that always
    wait for a person.
    """

    type: Literal["mcpStdioSkill"] = "mcpStdioSkill"
    description: str | None = None
    rule: str | None = None
    pick: tuple[str, ...] = ()
    omit: tuple[str, ...] = ()
    command: str
    package_name: str | None = None
    args: tuple[str, ...] = ()
    required_env: tuple[str, ...] = ()
    require_approval: tuple[str, ...] = ()


class InteractiveTool(Model):
    """A question to the user, declared as a tool."""

    description: str | None = None
    input_schema: dict[str, JsonValue]


class InteractiveSkill(Model):
    """Tools that stop the run until the user has answered."""

    type: Literal["interactiveSkill"] = "interactiveSkill"
    description: str | None = None
    rule: str | None = None
    tools: dict[str, InteractiveTool]


SkillSpec = Annotated[BaseSkill | McpStdioSkill | InteractiveSkill, Field(discriminator="type")]


class Expert(Model):
    """One Expert. `description` is public, `instruction` private to it."""

    key: ExpertKey
    name: str
    version: str = "1.0.0"
    description: str | None = None
    instruction: str
    skills: dict[str, SkillSpec]
    delegates: tuple[ExpertKey, ...] = ()
    tags: tuple[str, ...] = ()


class ExpertRef(Model):
    """Which Expert, as recorded in the history."""

    key: ExpertKey
    name: str
    version: str


def ref(expert: Expert) -> ExpertRef:
    """Return what the history records of `expert`."""
    return ExpertRef(key=expert.key, name=expert.name, version=expert.version)


def delegate_tool_name(key: ExpertKey) -> str:
    """Return the name under which an Expert is offered as a tool: its last path segment."""
    scope_end = key.rfind("/") + 1
    return key[scope_end:].split("@")[0]
