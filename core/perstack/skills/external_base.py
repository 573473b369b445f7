"""A base skill that is a server of its own, in place of the built-in one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

from pydantic import JsonValue, TypeAdapter, ValidationError

from perstack.domain.expert import (
    BASE_SKILL,
    AnyMcpSkill,
    BaseSkill,
    Expert,
    InteractiveSkill,
    McpStdioSkill,
    MemorySkill,
)
from perstack.domain.ids import ToolCallId
from perstack.domain.messages import TextPart, text_of
from perstack.errors import ConfigError
from perstack.ports.skills import RunContext, ToolOutcome, ToolSpec
from perstack.skills.base.skill import OpenBaseSkill

if TYPE_CHECKING:
    from perstack.skills.mcp.server import McpServer

_SHOWS: Final = ("readImageFile", "readPdfFile")
_OBJECT: Final[TypeAdapter[dict[str, JsonValue]]] = TypeAdapter(dict[str, JsonValue])


def base_settings(expert: Expert) -> BaseSkill:
    """Return how the built-in base skill is narrowed."""
    given = (skill for skill in expert.skills.values() if isinstance(skill, BaseSkill))
    return next(given, BaseSkill())


def external_base(expert: Expert, context: RunContext) -> AnyMcpSkill | None:
    """Return the skill that takes the place of the built-in base skill, None for none.

    Raises:
        ConfigError: it would run `exec` outside the sandbox that was asked for.
    """
    given = expert.skills.get(BASE_SKILL)
    skill = None if isinstance(given, BaseSkill | MemorySkill | InteractiveSkill) else given
    if context.base_skill_command:
        program, *args = context.base_skill_command
        settings = skill or base_settings(expert)
        skill = McpStdioSkill(
            command=program,
            args=tuple(args),
            pick=settings.pick,
            omit=settings.omit,
            require_approval=settings.require_approval,
            required_env=skill.required_env if skill else (),
        )
    if skill is not None and context.exec.sandbox != "none" and skill.offers("exec"):
        raise ConfigError(
            "The sandbox of exec is the built-in base skill's; another base skill is set",
            hint='use the built-in base skill, omit exec, or set sandbox = "none"',
        )
    return skill


class ExternalBase:
    """The base tools as another program offers them. `local` is how its files are shown."""

    def __init__(self, server: McpServer, local: OpenBaseSkill) -> None:
        self._server = server
        self._local = local

    def specs(self) -> list[ToolSpec]:
        """Return the tools that `pick` and `omit` leave."""
        gated = self._server.skill.require_approval
        return [
            ToolSpec(
                skill_name=BASE_SKILL,
                name=tool.name,
                description=tool.description,
                input_schema=tool.input_schema,
                gated=tool.name in gated,
            )
            for tool in self._server.tools
        ]

    async def call(
        self, name: str, args: Mapping[str, JsonValue], tool_call_id: ToolCallId | None = None
    ) -> ToolOutcome:
        """Call a tool. A picture or document that it names in its answer is put in its place."""
        outcome = await self._server.call(name, args, tool_call_id)
        path = _path_in(outcome) if name in _SHOWS else None
        if path is None:
            return outcome
        shown = await self._local.call(name, {"path": path})
        if not shown.is_error:
            return shown
        why = f'Failed to read file "{path}": {text_of(shown.parts)}'
        return ToolOutcome((TextPart(text=why),), is_error=True)


def _path_in(outcome: ToolOutcome) -> str | None:
    """Return the path in an answer such as `{"path": …, "mimeType": …, "size": …}`."""
    if outcome.is_error:
        return None
    try:
        told = _OBJECT.validate_json(text_of(outcome.parts))
    except ValidationError:
        return None
    path = told.get("path")
    return path if isinstance(path, str) and "mimeType" in told else None
