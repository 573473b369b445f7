"""What Claude Code asks us while it works: may it do this, and what does the user say to that.

An MCP server of ours, on loopback, for one talk. Whoever reads the talk's file of servers, which
is its user's alone, can ask it to ask a person, and nothing else.
"""

from __future__ import annotations

import hmac
import json
import secrets
import socket
from collections.abc import AsyncGenerator, Generator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from typing import Any, Final

import anyio
import anyio.to_thread
import uvicorn
from mcp.server import Server, ServerRequestContext
from mcp.server.streamable_http_manager import StreamableHTTPSessionManager
from mcp.types import (
    CallToolRequestParams,
    CallToolResult,
    ListToolsResult,
    PaginatedRequestParams,
    TextContent,
    Tool,
)
from pydantic import JsonValue
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from perstack.domain.ids import ToolCallId
from perstack.domain.messages import ToolCallPart
from perstack.errors import ProgramError
from perstack.ports.programs import Asks, Permission, Report, Turn
from perstack.runtimes.claude_reader import ClaudeReader
from perstack.runtimes.running import Record, Running

SERVER: Final = "perstack"
PATH: Final = "/mcp"
# It asks by another pipe than the one that its answers come by.
_KNOWN_WITHIN_S: Final = 60.0
# Calls of subagents may be told only once they are over.
_QUIET_FOR_S: Final = 2.0
_BACKLOG: Final = 16
_MOST_CONNECTIONS: Final = 64
_CLOSE_S: Final = 1
_LONGEST_REPLY: Final = 2_000
_UNKNOWN: Final = "Perstack does not know this call, so nobody could be asked."
_INSIDE: Final = (
    "Nobody can be asked on behalf of a subagent. Let the main agent do this itself, or do without."
)
_OVER: Final = "The talk is over."
_DENIED: Final = "The user does not want this done."

Context = ServerRequestContext[dict[str, Any], Any]
Decision = dict[str, JsonValue]


@dataclass(frozen=True, slots=True)
class Question:
    """A tool of an interactive skill: what the model calls to ask the user something."""

    name: str
    description: str
    input_schema: dict[str, JsonValue]


@dataclass(frozen=True, slots=True)
class Door:
    """Where the server is, and what opens it."""

    url: str
    token: str = field(repr=False)


def permission_tool(questions: Iterable[str]) -> str:
    """Return the name of the tool that asks for permission, which is none of the `questions`."""
    name, taken = "approve", set(questions)
    while name in taken:
        name += "_"
    return name


class Gate:
    """Holds what the program asks until it has an answer; made for one talk.

    It reads along (`runtimes.running.Reader`), so that a call is told before anybody is asked.
    """

    def __init__(self, reader: ClaudeReader, questions: Sequence[Question]) -> None:
        self._reader = reader
        self._questions = {question.name: question for question in questions}
        self._permission = permission_tool(self._questions)
        self._heard: Running | None = None
        self._told: dict[ToolCallId, ToolCallPart] = {}
        self._more = anyio.Event()
        self._waiting: set[anyio.Event] = set()
        self._over = anyio.Event()

    def open(self, heard: Running) -> None:
        """Say where questions go."""
        self._heard = heard
        self._look()

    def close(self) -> None:
        """Deny what still waits: nobody hears the questions any more."""
        self._over.set()
        for waiting in self._waiting:
            waiting.set()

    def read(self, record: Record) -> Iterable[Report]:
        """Return what a record tells; when the next is asked for, the one before was told."""
        for report in self._reader.read(record):
            yield report
            if isinstance(report, Turn):
                calls = [part for part in report.parts if isinstance(part, ToolCallPart)]
                self._told.update((call.tool_call_id, call) for call in calls)
        self._look()

    def ended(self, failure: ProgramError | None) -> Iterable[Report]:
        """Return what is left to tell.

        Raises:
            ProgramError: nothing came of the talk.
        """
        return self._reader.ended(failure)

    def _look(self) -> None:
        self._more.set()
        self._more = anyio.Event()

    # ---------------------------------------------------------------- what the program asks

    async def asked(self, args: Mapping[str, JsonValue]) -> Decision:
        """Ask a person for the call that the program wants to make, and wait for the answer."""
        named = args.get("tool_use_id")
        id_ = ToolCallId(named if isinstance(named, str) else "")
        await self._until_told(id_)
        if (call := self._told.get(id_)) is None or self._heard is None:
            is_inside = id_ in self._reader.inside or self._reader.hears_subagents_only
            return _denial(_INSIDE if is_inside else _UNKNOWN)
        answers: list[Permission] = []
        answered = anyio.Event()

        async def answer(permission: Permission) -> None:
            answers.append(permission)
            answered.set()

        self._waiting.add(answered)
        await self._heard.push(Asks(call, answer))
        await answered.wait()
        self._waiting.discard(answered)
        if not answers:
            return _denial(_OVER)
        if answers[0].allowed:
            # What people saw is done, not what the program may have made of it since.
            return {"behavior": "allow", "updatedInput": call.args}
        return _denial((answers[0].feedback or "").strip()[:_LONGEST_REPLY] or _DENIED)

    async def _until_told(self, id_: ToolCallId) -> None:
        """Wait until it is known whose call it is, or is not going to be told in time."""
        with anyio.move_on_after(_KNOWN_WITHIN_S):
            while self._heard is None or not (id_ in self._told or id_ in self._reader.inside):
                more = self._more
                quiet_s = _QUIET_FOR_S if self._reader.hears_subagents_only else _KNOWN_WITHIN_S
                with anyio.move_on_after(quiet_s):
                    await more.wait()
                if not more.is_set():
                    return

    # ---------------------------------------------------------------- as an MCP server

    async def list_tools(self, _: Context, __: PaginatedRequestParams | None) -> ListToolsResult:
        """List the tool that asks for permission, and those that ask the user."""
        permission = Tool(
            name=self._permission,
            description="Asks a person whether a tool may be used. Not for the model.",
            input_schema={"type": "object"},
        )
        asking = [
            Tool(name=one.name, description=one.description, input_schema=one.input_schema)
            for one in self._questions.values()
        ]
        return ListToolsResult(tools=[permission, *asking])

    async def call_tool(self, _: Context, params: CallToolRequestParams) -> CallToolResult:
        """Answer a prompt; what asks the user has its answer when the talk is taken up again."""
        args: dict[str, JsonValue] = dict(params.arguments or {})
        if params.name in self._questions:
            await self._over.wait()
            return _result(_OVER, is_error=True)
        if params.name != self._permission:
            return _result("Unknown tool", is_error=True)
        return _result(json.dumps(await self.asked(args)))


def _denial(why: str) -> Decision:
    return {"behavior": "deny", "message": why}


def _result(text: str, *, is_error: bool = False) -> CallToolResult:
    return CallToolResult(content=[TextContent(type="text", text=text)], is_error=is_error)


# -------------------------------------------------------------------- over HTTP


@asynccontextmanager
async def serving(gate: Gate) -> AsyncGenerator[Door]:
    """Serve on a free port of loopback until the block ends; whoever still waits is cut off.

    Raises:
        ProgramError: there is no free port.
    """
    server = Server(SERVER, on_list_tools=gate.list_tools, on_call_tool=gate.call_tool)
    manager = StreamableHTTPSessionManager(server, session_idle_timeout=None)
    token = secrets.token_urlsafe(32)
    bound = await anyio.to_thread.run_sync(_bound)
    with bound:
        port: int = bound.getsockname()[1]
        app = _guarded(manager.handle_request, f"127.0.0.1:{port}", token)
        async with _uvicorn(app, bound):
            # Entered by hand, so that what ends the talk comes out as it is and not in a group.
            sessions = manager.run()
            await sessions.__aenter__()
            try:
                yield Door(f"http://127.0.0.1:{port}{PATH}", token)
            finally:
                await sessions.__aexit__(None, None, None)


def _bound() -> socket.socket:
    try:
        listener = socket.create_server(("127.0.0.1", 0), backlog=_BACKLOG)
    except OSError as error:
        raise ProgramError(f"claude's questions cannot be listened for: {error}") from error
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listener


def _guarded(app: ASGIApp, host: str, token: str) -> ASGIApp:
    """Let only those in who have the token, and no web page that a browser was lured to."""
    wanted = f"Bearer {token}".encode()

    async def guarded(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        headers: dict[bytes, bytes] = dict(scope["headers"])
        is_known = hmac.compare_digest(headers.get(b"authorization", b""), wanted)
        if not is_known or headers.get(b"host", b"") != host.encode() or b"origin" in headers:
            await Response("Forbidden", 403)(scope, receive, send)
        elif scope["path"] != PATH:
            await Response("Not found", 404)(scope, receive, send)
        else:
            await app(scope, receive, send)

    return guarded


class _Quiet(uvicorn.Server):
    """A server that leaves signals to whoever started it."""

    @contextmanager
    def capture_signals(self) -> Generator[None]:
        """Capture none."""
        yield


@asynccontextmanager
async def _uvicorn(app: ASGIApp, bound: socket.socket) -> AsyncGenerator[None]:
    config = uvicorn.Config(
        app,
        lifespan="off",
        log_config=None,
        access_log=False,
        log_level="warning",
        server_header=False,
        limit_concurrency=_MOST_CONNECTIONS,
        timeout_graceful_shutdown=_CLOSE_S,
        ws="none",
    )
    server = _Quiet(config)

    async def serve() -> None:
        # It ends by itself soon after it is told to; cut off, it would leave connections open.
        with anyio.CancelScope(shield=True):
            await server.serve([bound])

    # By hand, as above.
    group = anyio.create_task_group()
    await group.__aenter__()
    group.start_soon(serve)
    try:
        yield
    finally:
        server.should_exit = True
        await group.__aexit__(None, None, None)
