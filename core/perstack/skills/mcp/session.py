"""One conversation with one tool server, through the MCP SDK.

Importing this imports the SDK, which takes half a second: only a run with an MCP skill does.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Final

import anyio
import anyio.from_thread
import anyio.to_thread
from mcp import MCPError
from mcp.client.session import ClientSession
from mcp_types import (
    CONNECTION_CLOSED,
    PARSE_ERROR,
    REQUEST_TIMEOUT,
    CallToolResult,
    Implementation,
    PaginatedRequestParams,
    Tool,
)
from pydantic import JsonValue, TypeAdapter

from perstack import __version__
from perstack.domain.ids import ToolCallId
from perstack.domain.server_events import ServerInfo
from perstack.errors import SkillError
from perstack.ports.skills import ToolOutcome
from perstack.skills.mcp.launch import Launch, Streams
from perstack.skills.mcp.lenient import (
    CONNECTION_CUT,
    CONVERSATION_LOST,
    INPUT_SCHEMA,
    OUTPUT_SCHEMA,
)
from perstack.skills.mcp.limits import MAX_PAGES, MAX_TOOLS
from perstack.skills.mcp.redact import cleaned_object
from perstack.skills.mcp.reports import Reports
from perstack.skills.mcp.requests import Patience, Requests
from perstack.skills.mcp.results import outcome_of
from perstack.skills.mcp.schema import Checker, why_broken
from perstack.skills.mcp.tools import ListedTool
from perstack.skills.mcp.unanswered import Unanswered

_OBJECT: Final[TypeAdapter[dict[str, JsonValue]]] = TypeAdapter(dict[str, JsonValue])
_CLIENT: Final = Implementation(name="perstack", version=__version__)
_SHOWN_CHARS: Final = 300
# How the SDK words that an answer over HTTP ended before it was complete.
_CUT_SHORT: Final = "SSE stream"
# What a server can make the SDK raise besides its own error: results that are no results.
_UNUSABLE: Final = (ValueError, RuntimeError, TypeError, LookupError)


class LateError(Exception):
    """A call was not answered in time."""


class ClosedError(Exception):
    """The server ended before it answered."""


class LostError(Exception):
    """The server knows nothing of this conversation any more, and did nothing."""


@dataclass(frozen=True, slots=True)
class Session:
    """A server that can be asked, from any task, until `over` is set."""

    over: anyio.Event
    _session: ClientSession
    _launch: Launch
    _patience: Patience
    _reports: Reports
    _outputs: dict[str, Checker] = field(default_factory=dict[str, Checker])

    async def introduce(self) -> ServerInfo:
        """Shake hands (`initialize`, which every server of today speaks).

        Raises:
            SkillError: it did not work out.
        """
        try:
            answer = await self._session.initialize()
        except (MCPError, *_UNUSABLE) as error:
            raise SkillError(f"its handshake failed: {_short(error)}") from error
        name, version = (
            self._launch.clean(said)[:_SHOWN_CHARS]
            for said in (answer.server_info.name, answer.server_info.version)
        )
        return ServerInfo(name=name, version=version)

    async def list_tools(self) -> list[ListedTool]:
        """Return the tools of all pages, as far as the bounds allow.

        Raises:
            SkillError: it did not work out.
        """
        try:
            tools = await self._pages()
        except (MCPError, *_UNUSABLE) as error:
            raise SkillError(f"its tools could not be listed: {_short(error)}") from error
        if len(tools) > MAX_TOOLS:
            self._launch.tell(f"only the first {MAX_TOOLS:,} of {len(tools):,} tools are used")
        listed = await anyio.to_thread.run_sync(self._usable, tools[:MAX_TOOLS])
        self._outputs.update({tool.name: Checker(tool.output_schema) for tool in listed})
        return listed

    async def call(
        self,
        tool: str,
        args: Mapping[str, JsonValue],
        *,
        within_s: float,
        tool_call_id: ToolCallId | None = None,
    ) -> ToolOutcome:
        """Call a tool; `tool_call_id` is what its progress is told under.

        Raises:
            LateError: no answer within `within_s`; the server was told that nobody waits.
            ClosedError: the server ended; whether it did what was asked is unknown.
            LostError: the server has forgotten this conversation and did nothing.
            SkillError: the server said no, or something unusable.
        """
        try:
            with self._patience.of_call(within_s), self._reports.of_call(tool_call_id) as progress:
                result = await self._session.call_tool(tool, dict(args), progress_callback=progress)
        except TimeoutError as error:
            raise LateError from error
        except MCPError as error:
            raise self._translated(error) from error
        except _UNUSABLE as error:
            raise SkillError(f"its answer cannot be used: {_short(error)}") from error
        await self._check_output(tool, result)
        return outcome_of(result, tool=tool, args=args, clean=self._launch.clean)

    async def answers(self, *, within_s: float) -> bool:
        """Whether the server still answers a ping."""
        try:
            with anyio.fail_after(within_s):
                await self._session.send_ping()
        except (TimeoutError, MCPError, *_UNUSABLE):
            return False
        return True

    async def _pages(self) -> list[Tool]:
        tools: list[Tool] = []
        cursors: set[str] = set()
        cursor: str | None = None
        for _ in range(MAX_PAGES):
            params = PaginatedRequestParams(cursor=cursor) if cursor is not None else None
            page = await self._session.list_tools(params=params)
            tools += page.tools
            cursor = page.next_cursor
            if cursor is None or cursor in cursors or len(tools) > MAX_TOOLS:
                return tools
            cursors.add(cursor)
        self._launch.tell(
            f"its list of tools has more than {MAX_PAGES} pages; the rest is not used"
        )
        return tools

    def _usable(self, tools: list[Tool]) -> list[ListedTool]:
        """Leave out what would make a model's vendor refuse the whole request."""
        listed: list[ListedTool] = []
        for tool in (_listed(each, self._launch.clean) for each in tools):
            why = why_broken(tool.input_schema)
            if why is None:
                listed.append(tool)
            else:
                anyio.from_thread.run_sync(
                    self._launch.tell,
                    f"the tool {tool.name} was left out: its schema is broken: {why}",
                )
        return listed

    async def _check_output(self, tool: str, result: CallToolResult) -> None:
        checker = self._outputs.get(tool)
        if checker is None or result.is_error:
            return
        value = result.structured_content
        problem = await anyio.to_thread.run_sync(checker.problem, value, abandon_on_cancel=True)
        if problem is not None:
            shown = self._launch.clean(problem)
            raise SkillError(f"its answer is not what it declares: {shown}")

    def _translated(self, error: MCPError) -> Exception:
        if error.code == CONVERSATION_LOST:
            return LostError()
        if error.code == CONNECTION_CUT:
            return ClosedError()
        # Servers use the SDK's code for errors of their own, too.
        ended = self.over.is_set() or error.message.startswith(_CUT_SHORT)
        if error.code == CONNECTION_CLOSED and ended:
            return ClosedError()
        if error.code == REQUEST_TIMEOUT:
            return LateError()
        if error.code == PARSE_ERROR:
            return SkillError("the server's reply breaks the protocol")
        return SkillError(self._launch.clean(error.message))


@asynccontextmanager
async def open_session(
    streams: Streams, over: anyio.Event, launch: Launch
) -> AsyncGenerator[Session]:
    """Speak with a server for as long as the context lasts."""
    patience, reports = Patience(), Reports(launch)
    requests = Requests(launch, patience, reports)
    watched = Unanswered(over, launch.tell).watching(streams)
    async with (
        anyio.create_task_group() as group,
        ClientSession(
            watched.incoming,
            watched.outgoing,
            sampling_callback=requests.sampling,
            elicitation_callback=requests.elicitation,
            list_roots_callback=requests.roots,
            logging_callback=requests.log,
            client_info=_CLIENT,
        ) as session,
    ):
        group.start_soon(reports.follow)
        yield Session(over, session, launch, patience, reports)
        group.cancel_scope.cancel()


def _short(error: Exception) -> str:
    """Return the first line, since pydantic's errors quote everything."""
    return str(error).partition("\n")[0][:_SHOWN_CHARS]


def _listed(tool: Tool, clean: Callable[[str], str]) -> ListedTool:
    meta = _OBJECT.validate_python(tool.meta or {})
    return ListedTool(
        name=tool.name,
        description=clean(tool.description or ""),
        input_schema=cleaned_object(_OBJECT.validate_python(meta.get(INPUT_SCHEMA)), clean),
        output_schema=meta.get(OUTPUT_SCHEMA),
    )
