"""The tools of plugins, offered to Experts beside their own skills."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Final

from pydantic import JsonValue

from perstack.domain.expert import Expert
from perstack.domain.ids import ToolCallId
from perstack.domain.messages import TextPart
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
from perstack.services.loaded_plugins import OfferedTool

PREFIX: Final = "plugin/"


class WithPluginTools(SkillOpener):
    """Opens what `skills` opens, and the plugins' tools beside it for Experts that get them.

    `tools` is asked once a run: what is loaded later is for later runs. `offered_to` says which
    Experts get them; one that must only read (a reviewer) should not.
    """

    def __init__(
        self,
        skills: SkillOpener,
        tools: Callable[[], Sequence[OfferedTool]],
        offered_to: Callable[[Expert], bool],
    ) -> None:
        self._skills = skills
        self._tools = tools
        self._offered_to = offered_to

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
        tools = tuple(self._tools()) if self._offered_to(expert) else ()
        async with self._skills.open(expert, context, notice, host) as opened:
            yield _Joined(opened, tools) if tools else opened


class _Joined:
    """The Expert's own tools first: a plugin's tool takes the place of none."""

    def __init__(self, opened: SkillSet, tools: Sequence[OfferedTool]) -> None:
        self._opened = opened
        self._plugins = {offered.tool.name: offered for offered in tools}
        self._specs = {offered.tool.name: _spec(offered) for offered in tools}

    async def ready(self) -> None:
        await self._opened.ready()

    @property
    def tools(self) -> Mapping[str, ToolSpec]:
        own = self._opened.tools
        return {**own, **{name: spec for name, spec in self._specs.items() if name not in own}}

    async def call(
        self,
        name: str,
        args: Mapping[str, JsonValue],
        *,
        tool_call_id: ToolCallId | None = None,
    ) -> ToolOutcome:
        offered = self._plugins.get(name)
        if offered is None or name in self._opened.tools:
            return await self._opened.call(name, args, tool_call_id=tool_call_id)
        if (why := misfit(offered.tool.input_schema, args)) is not None:
            return _said(f"The arguments do not fit: {why}", is_error=True)
        try:
            return _said(await offered.tool.call(args))
        except ValueError as error:
            return _said(str(error), is_error=True)


def _spec(offered: OfferedTool) -> ToolSpec:
    tool = offered.tool
    return ToolSpec(
        skill_name=f"{PREFIX}{offered.plugin}",
        name=tool.name,
        description=tool.description,
        input_schema=tool.input_schema,
        gated=offered.gated,
    )


def _said(text: str, *, is_error: bool = False) -> ToolOutcome:
    return ToolOutcome((TextPart(text=text),), is_error=is_error)
