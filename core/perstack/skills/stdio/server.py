"""One MCP skill during one run: started, called, started again when it died."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Final

import anyio
import anyio.abc
import anyio.to_thread
from pydantic import JsonValue

from perstack.config.commands import server_command
from perstack.domain.expert import McpStdioSkill
from perstack.domain.messages import TextPart
from perstack.errors import ConfigError, SkillError
from perstack.ports.skills import RunContext, SkillNotice, ToolOutcome
from perstack.skills.environment import for_server
from perstack.skills.gated import check_gated
from perstack.skills.stdio.connection import Connection, Launch, live
from perstack.skills.stdio.limits import ServerLimits
from perstack.skills.stdio.redact import Redactor
from perstack.skills.stdio.schema import Checker

if TYPE_CHECKING:
    from perstack.skills.stdio.session import ListedTool

_DOWNLOADERS: Final = frozenset({"npx", "uvx", "pnpx", "bunx", "pipx", "docker", "deno"})


class StdioServer:
    """A skill whose tools come from a server process."""

    def __init__(
        self,
        name: str,
        skill: McpStdioSkill,
        *,
        context: RunContext,
        cwd: int,
        notice: Callable[[SkillNotice], None],
        limits: ServerLimits,
    ) -> None:
        """Check what can be checked before anything is started.

        Raises:
            ConfigError: the command is incomplete, or a required variable is not set.
        """
        self.name = name
        self.skill = skill
        secret = {each: context.env.get(each, "") for each in skill.required_env}
        self._launch = Launch(
            skill_name=name,
            command=_command(name, skill),
            env=for_server(name, skill.required_env, context),
            cwd=cwd,
            start_s=limits.slow_start_s if _downloads(skill) else limits.start_s,
            limits=limits,
            clean=Redactor(secret).clean,
            notice=notice,
        )
        self._limits = limits
        self._group: anyio.abc.TaskGroup | None = None
        self._connection: Connection | None = None
        self._tools: dict[str, ListedTool] = {}
        self._checkers: dict[str, Checker] = {}
        self._restarts = 0
        self._starting = anyio.Lock()

    @property
    def tools(self) -> list[ListedTool]:
        """The tools that `pick` and `omit` leave, as first listed."""
        pick, omit = self.skill.pick, self.skill.omit
        return [
            tool
            for tool in self._tools.values()
            if (not pick or tool.name in pick) and tool.name not in omit
        ]

    def tell(self, message: str) -> None:
        """Let it be known what happened to one of the tools."""
        self._launch.tell(message)

    async def start(self, group: anyio.abc.TaskGroup) -> None:
        """Start the server; `group` holds it until it ended.

        Raises:
            SkillError: it did not get ready.
            ConfigError: `requireApproval` names a tool that it does not have.
        """
        self._group = group
        connection = await group.start(live, self._launch)
        self._connection = connection
        for tool in connection.tools:
            if tool.name in self._tools:
                self.tell(f"the tool {tool.name} was listed twice; the first one is used")
            self._tools.setdefault(tool.name, tool)
        check_gated(self.name, self.skill.require_approval, self._tools)
        self._checkers = {each.name: Checker(each.input_schema) for each in self._tools.values()}

    def stop(self) -> None:
        """Have the server ended; the group that holds it waits until it is."""
        if self._connection is not None:
            self._connection.over.set()

    async def call(self, tool: str, args: Mapping[str, JsonValue]) -> ToolOutcome:
        """Call a tool of `tools`; what goes wrong is an error outcome."""
        value: JsonValue = dict(args)
        problem = await anyio.to_thread.run_sync(
            self._checkers[tool].problem, value, abandon_on_cancel=True
        )
        if problem is not None:
            return _error(f"Error calling tool {tool}: the arguments do not fit: {problem}")
        try:
            connection, note = await self._ready(tool)
        except SkillError as error:
            return _error(error.message)
        outcome = await self._ask(connection, tool, args)
        return replace(outcome, parts=(*outcome.parts, TextPart(text=note))) if note else outcome

    async def _ask(
        self, connection: Connection, tool: str, args: Mapping[str, JsonValue]
    ) -> ToolOutcome:
        from perstack.skills.stdio.session import ClosedError, LateError

        within_s = self._limits.call_s
        try:
            return await connection.session.call(tool, args, within_s=within_s)
        except SkillError as error:
            return _error(f"Error calling tool {tool}: {error.message}")
        except ClosedError:
            return _error(
                f"Error calling tool {tool}: the server of skill {self.name} ended before it "
                "answered. Whether it did what was asked is unknown."
            )
        except LateError:
            stopped = await self._stop_if_stuck(connection)
            return _error(
                f"Error calling tool {tool}: no answer within {within_s:g} s. Whether it did, or "
                f"still does, what was asked is unknown.{stopped}"
            )

    async def _stop_if_stuck(self, connection: Connection) -> str:
        """End a server that answers nothing any more; one that is only slow may go on."""
        if await connection.session.answers(within_s=self._limits.ping_s):
            return ""
        connection.over.set()
        return " Its server no longer answers at all and was stopped."

    async def _ready(self, tool: str) -> tuple[Connection, str]:
        """Return a server that lives, and what to tell the model if it had to be started again.

        Raises:
            SkillError: it is gone for good, or came back with another definition of the tool.
        """
        async with self._starting:
            connection = self._connection
            if connection is not None and not connection.over.is_set():
                return connection, ""
            connection = self._connection = await self._start_again(connection)
        if self._tools[tool] not in connection.tools:
            raise SkillError(
                f"Error calling tool {tool}: the server of skill {self.name} had ended, was "
                "started again, and now defines this tool differently. It is not called."
            )
        return connection, f"(The server of skill {self.name} had ended and was started again.)"

    async def _start_again(self, last: Connection | None) -> Connection:
        group = self._group
        if group is None or self._restarts >= self._limits.restarts:
            raise SkillError(
                f"The server of skill {self.name} is gone: it ended {self._restarts + 1} times in "
                "this run and is not started again. Do without its tools."
            )
        self._restarts += 1
        if last is not None:
            await last.gone.wait()
        return await group.start(live, self._launch)


def _command(name: str, skill: McpStdioSkill) -> tuple[str, ...]:
    if not skill.package_name and not skill.args:
        raise ConfigError(f"Skill {name} has no packageName or args")
    if skill.package_name and skill.args:
        raise ConfigError(f"Skill {name} has both packageName and args")
    program, args = server_command(skill)
    return (program, *args)


def _downloads(skill: McpStdioSkill) -> bool:
    return skill.command.rpartition("/")[2] in _DOWNLOADERS


def _error(text: str) -> ToolOutcome:
    return ToolOutcome((TextPart(text=text),), is_error=True)
