"""The base skill: the tools every Expert has, run in this process."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import Final

from pydantic import JsonValue, ValidationError

from perstack.domain.expert import BASE_SKILL, BaseSkill
from perstack.domain.ids import ToolCallId
from perstack.errors import ConfigError
from perstack.ports.skills import RunContext, SkillHost, ToolOutcome, ToolSpec
from perstack.skills.base.arguments import schema_of
from perstack.skills.base.catalog import TOOLS, BaseTool, Desk
from perstack.skills.base.failure import ToolFailure
from perstack.skills.base.paths import Workspace
from perstack.skills.base.sandbox import open_sandbox
from perstack.skills.base.todos import TodoList
from perstack.skills.text import json_part

NAMES: Final = frozenset(tool.name for tool in TOOLS)
_BY_NAME: Final = {tool.name: tool for tool in TOOLS}


class OpenBaseSkill:
    """The base tools at work for one run; `close` lets go of the workspace.

    Blocks on the disk as it is made. What `exec` prints is shown by the `host`.

    Raises:
        ConfigError: the workspace cannot be used, or the sandbox of `exec` cannot be had.
    """

    def __init__(
        self, context: RunContext, settings: BaseSkill, host: SkillHost | None = None
    ) -> None:
        try:
            workspace = Workspace(context.workspace, home=context.env.get("HOME"))
        except OSError as error:
            raise ConfigError(
                f"The workspace {context.workspace} cannot be used: {error.strerror}",
                hint="start in a directory that exists and that you may read",
            ) from error
        self._settings = settings
        self._host = host
        try:
            sandbox = open_sandbox(context, workspace) if self._settings.offers("exec") else None
        except ConfigError:
            workspace.close()
            raise
        self._desk = Desk(context, workspace, TodoList(context.todos), sandbox)

    @property
    def workspace(self) -> Workspace:
        """The directory that all skills of the run work in."""
        return self._desk.workspace

    def close(self) -> None:
        """Let go of the workspace."""
        self._desk.workspace.close()

    def specs(self) -> list[ToolSpec]:
        """Return the tools that `pick` and `omit` leave; names that are no tools are tolerated."""
        return [self._spec(tool) for tool in TOOLS if self._settings.offers(tool.name)]

    async def call(
        self, name: str, args: Mapping[str, JsonValue], tool_call_id: ToolCallId | None = None
    ) -> ToolOutcome:
        """Run a tool; whatever keeps it from its work is an error outcome.

        With a `tool_call_id`, the host shows under it what the tool prints, while it runs.
        """
        desk = self._desk
        if self._host is not None and tool_call_id is not None:
            desk = replace(desk, show=partial(self._host.output, tool_call_id))
        try:
            return await _BY_NAME[name].call(desk, args)
        except ToolFailure as failure:
            return _failed(failure.name, failure.message)
        except ValidationError as error:
            return _failed("InvalidArguments", _explain(error))
        except OSError as error:
            return _failed(type(error).__name__, error.strerror or type(error).__name__)

    def _spec(self, tool: BaseTool) -> ToolSpec:
        return ToolSpec(
            skill_name=BASE_SKILL,
            name=tool.name,
            description=tool.description,
            input_schema=schema_of(tool.arguments),
            gated=tool.name in self._settings.require_approval,
            repeatable=tool.reads,
        )


def _failed(name: str, message: str) -> ToolOutcome:
    return ToolOutcome((json_part({"error": name, "message": message}),), is_error=True)


def _explain(error: ValidationError) -> str:
    found = [
        f"{'.'.join(str(step) for step in one['loc']) or 'arguments'}: {one['msg']}"
        for one in error.errors(include_url=False, include_input=False, include_context=False)
    ]
    return "; ".join(found[:10])
