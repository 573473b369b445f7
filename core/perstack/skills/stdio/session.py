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
    REQUEST_TIMEOUT,
    CallToolResult,
    Implementation,
    PaginatedRequestParams,
    Tool,
)
from pydantic import JsonValue, TypeAdapter

from perstack import __version__
from perstack.domain.events import ServerInfo
from perstack.errors import SkillError
from perstack.ports.skills import ToolOutcome
from perstack.skills.process import Supervised
from perstack.skills.stdio.lenient import INPUT_SCHEMA, OUTPUT_SCHEMA
from perstack.skills.stdio.limits import MAX_PAGES, MAX_TOOLS
from perstack.skills.stdio.link import Link
from perstack.skills.stdio.results import outcome_of
from perstack.skills.stdio.schema import Checker, why_broken

_OBJECT: Final[TypeAdapter[dict[str, JsonValue]]] = TypeAdapter(dict[str, JsonValue])
_CLIENT: Final = Implementation(name="perstack", version=__version__)
_SHOWN_CHARS: Final = 300
# What a server can make the SDK raise besides its own error: results that are no results.
_UNUSABLE: Final = (ValueError, RuntimeError, TypeError, LookupError)


@dataclass(frozen=True, slots=True)
class ListedTool:
    """A tool as the server lists it."""

    name: str
    description: str
    input_schema: dict[str, JsonValue]
    output_schema: JsonValue = None


class LateError(Exception):
    """A call was not answered in time."""


class ClosedError(Exception):
    """The server ended before it answered."""


@dataclass(frozen=True, slots=True)
class Session:
    """A server that can be asked, from any task, until `over` is set."""

    over: anyio.Event
    _session: ClientSession
    _tell: Callable[[str], None]
    _clean: Callable[[str], str]
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
        return ServerInfo(name=answer.server_info.name, version=answer.server_info.version)

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
            self._tell(f"only the first {MAX_TOOLS:,} of {len(tools):,} tools are used")
        listed = await anyio.to_thread.run_sync(self._usable, tools[:MAX_TOOLS])
        self._outputs.update({tool.name: Checker(tool.output_schema) for tool in listed})
        return listed

    async def call(
        self, tool: str, args: Mapping[str, JsonValue], *, within_s: float
    ) -> ToolOutcome:
        """Call a tool.

        Raises:
            LateError: no answer within `within_s`; the server was told that nobody waits.
            ClosedError: the server ended; whether it did what was asked is unknown.
            SkillError: the server said no, or something unusable.
        """
        try:
            # The SDK's own clock begins when the request was written, which may take for ever.
            with anyio.fail_after(within_s * 1.5 + 1.0):
                result = await self._session.call_tool(
                    tool, dict(args), read_timeout_seconds=within_s
                )
        except TimeoutError as error:
            raise LateError from error
        except MCPError as error:
            raise self._translated(error) from error
        except _UNUSABLE as error:
            raise SkillError(f"its answer cannot be used: {_short(error)}") from error
        await self._check_output(tool, result)
        return outcome_of(result, tool=tool, args=args, clean=self._clean)

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
        self._tell(f"its list of tools has more than {MAX_PAGES} pages; the rest is not used")
        return tools

    def _usable(self, tools: list[Tool]) -> list[ListedTool]:
        """Leave out what would make a model's vendor refuse the whole request."""
        listed: list[ListedTool] = []
        for tool in map(_listed, tools):
            why = why_broken(tool.input_schema)
            if why is None:
                listed.append(tool)
            else:
                anyio.from_thread.run_sync(
                    self._tell, f"the tool {tool.name} was left out: its schema is broken: {why}"
                )
        return listed

    async def _check_output(self, tool: str, result: CallToolResult) -> None:
        checker = self._outputs.get(tool)
        if checker is None or result.is_error:
            return
        value = result.structured_content
        problem = await anyio.to_thread.run_sync(checker.problem, value, abandon_on_cancel=True)
        if problem is not None:
            raise SkillError(f"its answer is not what it declares: {problem}")

    def _translated(self, error: MCPError) -> Exception:
        if error.code == CONNECTION_CLOSED and self.over.is_set():
            return ClosedError()
        if error.code == REQUEST_TIMEOUT:
            return LateError()
        return SkillError(self._clean(error.message))


@asynccontextmanager
async def open_session(
    process: Supervised,
    over: anyio.Event,
    *,
    tell: Callable[[str], None],
    clean: Callable[[str], str],
) -> AsyncGenerator[Session, None]:
    """Speak with a server for as long as the context lasts; requests by the server are refused."""
    link = Link(process, over, tell)
    try:
        async with anyio.create_task_group() as group:
            group.start_soon(link.read)
            group.start_soon(link.write)
            async with ClientSession(link.incoming, link.outgoing, client_info=_CLIENT) as session:
                yield Session(over, session, tell, clean)
            group.cancel_scope.cancel()
    finally:
        link.close()


def _short(error: Exception) -> str:
    """Return the first line, since pydantic's errors quote everything."""
    return str(error).partition("\n")[0][:_SHOWN_CHARS]


def _listed(tool: Tool) -> ListedTool:
    meta = _OBJECT.validate_python(tool.meta or {})
    return ListedTool(
        name=tool.name,
        description=tool.description or "",
        input_schema=_OBJECT.validate_python(meta.get(INPUT_SCHEMA)),
        output_schema=meta.get(OUTPUT_SCHEMA),
    )
