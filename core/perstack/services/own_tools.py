"""Tools that the caller of an Expert answers itself, beside the Expert's own skills."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Final

from pydantic import JsonValue

from perstack.domain.expert import Expert
from perstack.domain.ids import ExpertKey, ToolCallId
from perstack.domain.messages import TextPart
from perstack.ports.experts import OwnTool
from perstack.ports.skills import (
    RunContext,
    SkillHost,
    SkillNotice,
    SkillOpener,
    SkillSet,
    ToolOutcome,
    ToolSpec,
)
from perstack.services.arguments import misfit

CALLER_SKILL: Final = "@perstack/caller"


class WithOwnTools(SkillOpener):
    """Opens what `skills` opens, and for the Expert `key` the caller's `tools` beside it."""

    def __init__(self, skills: SkillOpener, key: ExpertKey, tools: tuple[OwnTool, ...]) -> None:
        self._skills = skills
        self._key = key
        self._tools = tools

    @asynccontextmanager
    async def open(
        self,
        expert: Expert,
        context: RunContext,
        notice: Callable[[SkillNotice], None],
        host: SkillHost | None = None,
    ) -> AsyncGenerator[SkillSet, None]:
        """Open the skills for a run.

        Raises:
            SkillError, ConfigError: as for the Expert's own skills.
        """
        async with self._skills.open(expert, context, notice, host) as opened:
            yield _Joined(opened, self._tools) if expert.key == self._key else opened


class _Joined:
    """The caller's tools first: a skill's tool of the same name is not offered."""

    def __init__(self, opened: SkillSet, tools: tuple[OwnTool, ...]) -> None:
        self._opened = opened
        self._own = {tool.name: tool for tool in tools}
        self._specs = {tool.name: _spec(tool) for tool in tools}

    async def ready(self) -> None:
        await self._opened.ready()

    @property
    def tools(self) -> Mapping[str, ToolSpec]:
        return {**self._opened.tools, **self._specs}

    async def call(
        self,
        name: str,
        args: Mapping[str, JsonValue],
        *,
        tool_call_id: ToolCallId | None = None,
    ) -> ToolOutcome:
        tool = self._own.get(name)
        if tool is None:
            return await self._opened.call(name, args, tool_call_id=tool_call_id)
        if (why := misfit(tool.input_schema, args)) is not None:
            return _said(f"The arguments do not fit: {why}", is_error=True)
        try:
            return _said(await tool.call(args))
        except ValueError as error:
            return _said(str(error), is_error=True)


def _spec(tool: OwnTool) -> ToolSpec:
    return ToolSpec(
        skill_name=CALLER_SKILL,
        name=tool.name,
        description=tool.description,
        input_schema=tool.input_schema,
        # The caller takes the last word, so that a call made twice does no harm.
        repeatable=True,
    )


def _said(text: str, *, is_error: bool = False) -> ToolOutcome:
    return ToolOutcome((TextPart(text=text),), is_error=is_error)
