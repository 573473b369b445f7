"""One MCP skill during one run: started, called, started again when it died."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

import anyio
import anyio.abc
import anyio.to_thread
from pydantic import JsonValue

from perstack.domain.expert import BASE_SKILL, McpSkill, RemoteSkill
from perstack.domain.ids import ToolCallId
from perstack.domain.messages import TextPart
from perstack.errors import ConfigError, SkillError
from perstack.ports.skills import ToolOutcome, ToolSpec
from perstack.skills.gated import check_gated
from perstack.skills.mcp.connection import Connection, live
from perstack.skills.mcp.launch import Launch
from perstack.skills.mcp.tools import ListedTool, PinnedTools


class McpServer:
    """A skill whose tools come from a server of its own.

    With tools that a lock file lists, the server is reached at the first call only.
    """

    def __init__(self, launch: Launch, listed: Iterable[ToolSpec] | None = None) -> None:
        self._launch = launch
        self._limits = launch.limits
        self._group: anyio.abc.TaskGroup | None = None
        self._connection: Connection | None = None
        self._pinned = PinnedTools()
        self._starts = 0
        self._starting = anyio.Lock()
        self._lazily = anyio.CancelScope()
        self._settled = anyio.Event()
        self._failure: SkillError | None = None
        self._is_listed = listed is not None
        if listed is not None:
            self._pinned.pin_locked(listed)

    @property
    def name(self) -> str:
        """The skill's name."""
        return self._launch.skill_name

    @property
    def skill(self) -> McpSkill:
        """The skill as the Expert defines it."""
        return self._launch.skill

    @property
    def is_settled(self) -> bool:
        """Whether `tools` is complete, or never will be."""
        return self._settled.is_set()

    @property
    def tools(self) -> list[ListedTool]:
        """The tools that `pick` and `omit` leave, as first listed."""
        return [tool for tool in self._pinned.all if self.skill.offers(tool.name)]

    def tell(self, message: str) -> None:
        """Let it be known what happened to one of the tools."""
        self._launch.tell(message)

    async def start(self, group: anyio.abc.TaskGroup) -> None:
        """Start the server, if it is to be there from the beginning; `group` holds it.

        Raises:
            SkillError: it did not get ready.
            ConfigError: `requireApproval` names a tool that it does not have.
        """
        self._group = group
        if self._is_listed:
            self._check_gated()
            self._settled.set()
        elif self.skill.lazy_init and self.name != BASE_SKILL:
            group.start_soon(self._start_lazily)
        else:
            await self._start_first()
            self._settled.set()

    async def ready(self) -> None:
        """Wait until `tools` is complete; as long as a start may take.

        Raises:
            SkillError: a server with `lazyInit` did not get ready, or lacks a gated tool.
        """
        await self._settled.wait()
        if self._failure is not None:
            raise self._failure

    def stop(self) -> None:
        """Have the server ended; the group that holds it waits until it is."""
        self._lazily.cancel()
        if self._connection is not None:
            self._connection.over.set()

    async def call(
        self, tool: str, args: Mapping[str, JsonValue], tool_call_id: ToolCallId | None = None
    ) -> ToolOutcome:
        """Call a tool of `tools`; what goes wrong is an error outcome."""
        problem = await anyio.to_thread.run_sync(
            self._pinned.problem, tool, args, abandon_on_cancel=True
        )
        if problem is not None:
            return _error(f"Error calling tool {tool}: the arguments do not fit: {problem}")
        try:
            outcome = await self._call_once(tool, args, tool_call_id)
            # The server knew nothing of our conversation any more, so it did nothing yet.
            return outcome or await self._call_once(tool, args, tool_call_id) or self._lost(tool)
        except SkillError as error:
            return _error(error.message)

    async def _call_once(
        self, tool: str, args: Mapping[str, JsonValue], tool_call_id: ToolCallId | None
    ) -> ToolOutcome | None:
        connection, note = await self._ready(tool)
        outcome = await self._ask(connection, tool, args, tool_call_id)
        if outcome is None:
            connection.over.set()
            return None
        return replace(outcome, parts=(*outcome.parts, TextPart(text=note))) if note else outcome

    async def _ask(
        self,
        connection: Connection,
        tool: str,
        args: Mapping[str, JsonValue],
        tool_call_id: ToolCallId | None,
    ) -> ToolOutcome | None:
        """Return what the call gave, None if it surely reached nothing and may be made again."""
        from perstack.skills.mcp.session import ClosedError, LateError, LostError

        within_s = self._limits.call_s
        try:
            return await connection.session.call(
                tool, args, within_s=within_s, tool_call_id=tool_call_id
            )
        except SkillError as error:
            return _error(f"Error calling tool {tool}: {error.message}")
        except LostError:
            return None
        except ClosedError:
            return _error(
                f"Error calling tool {tool}: {self._what_ended} before it answered. Whether it did "
                "what was asked is unknown."
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
            SkillError: it is gone for good, or defines the tool otherwise than it is pinned.
        """
        async with self._starting:
            connection, again = self._connection, False
            if connection is None or connection.over.is_set():
                again = connection is not None
                connection = await self._start_again(connection)
        if not self._pinned.agrees(tool, connection.tools):
            raise SkillError(self._changed(tool))
        return connection, f"({self._started_again}.)" if again else ""

    async def _start_again(self, last: Connection | None) -> Connection:
        if self._starts > self._limits.restarts:
            raise SkillError(
                f"The server of skill {self.name} is gone: it ended {self._starts} times in this "
                "run and is not started again. Do without its tools."
            )
        if last is not None:
            await last.gone.wait()
        connection = await self._start()
        self._pinned.compare(connection.tools)
        return connection

    async def _start(self) -> Connection:
        assert self._group is not None  # noqa: S101  nothing is called before `start`
        self._starts += 1
        connection: Connection = await self._group.start(live, self._launch)
        self._connection = connection
        return connection

    async def _start_first(self) -> None:
        connection = await self._start()
        self._pinned.pin(connection.tools, self.tell)
        self._check_gated()

    async def _start_lazily(self) -> None:
        with self._lazily:
            try:
                await self._start_first()
            except (SkillError, ConfigError) as error:
                self._failure = SkillError(error.message, hint=error.hint)
        self._settled.set()

    def _check_gated(self) -> None:
        check_gated(self.name, self.skill.require_approval, self._pinned.names)

    def _changed(self, tool: str) -> str:
        if self._pinned.is_locked(tool):
            return (
                f"Error calling tool {tool}: the server of skill {self.name} does not define it as "
                "perstack.lock does. It is not called: the lock is stale, and the user can renew "
                "it with `perstack install`."
            )
        return (
            f"Error calling tool {tool}: {self._started_again}, and now defines this tool "
            "differently. It is not called."
        )

    @property
    def _what_ended(self) -> str:
        if isinstance(self.skill, RemoteSkill):
            return f"the connection to the server of skill {self.name} was lost"
        return f"the server of skill {self.name} ended"

    @property
    def _started_again(self) -> str:
        if isinstance(self.skill, RemoteSkill):
            return f"The connection to the server of skill {self.name} was lost and was made again"
        return f"The server of skill {self.name} had ended and was started again"

    def _lost(self, tool: str) -> ToolOutcome:
        return _error(
            f"Error calling tool {tool}: the server of skill {self.name} keeps forgetting the "
            "conversation. Nothing was done."
        )


def _error(text: str) -> ToolOutcome:
    return ToolOutcome((TextPart(text=text),), is_error=True)
