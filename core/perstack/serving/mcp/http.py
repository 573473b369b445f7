"""The MCP server over streamable HTTP: many clients, until the process is told to end."""

from __future__ import annotations

import socket
from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Final

import anyio
import anyio.to_thread
import uvicorn
from mcp.server.streamable_http_manager import StreamableHTTPSessionManager
from starlette.types import ASGIApp

from perstack.engine.groups import unwrapped
from perstack.errors import UsageError
from perstack.services.whoami import whoami
from perstack.serving.backend import Backend, Place, open_backend
from perstack.serving.jobs import ServedJobs, open_jobs
from perstack.serving.mcp.clients import Clients
from perstack.serving.mcp.guard import LOOPBACK, Guard
from perstack.serving.mcp.server import ToolServer, offered
from perstack.serving.mcp.stdio import STOP_WITHIN_S, stop_at_signals

PATH: Final = "/mcp"
MOST_SESSIONS: Final = 64
SESSION_IDLE_S: Final = 1_800.0
MOST_CONNECTIONS: Final = 256
_BACKLOG: Final = 128
_CLOSE_S: Final = 1


@dataclass(frozen=True, slots=True)
class Listening:
    """Where clients reach it; `token` None asks nobody who they are.

    `port` 0 takes any that is free.
    """

    host: str = "127.0.0.1"
    port: int = 0
    token: str | None = None

    def check(self) -> None:
        """Refuse to let everybody in the network in.

        Raises:
            UsageError: the address is not this machine's own, and no token is asked for.
        """
        if self.token is None and not is_loopback(self.host):
            raise UsageError(
                f"{self.host!a} can be reached from other machines, so a token is needed",
                hint="leave out --no-token, or listen on 127.0.0.1",
            )


def is_loopback(host: str) -> bool:
    """Tell whether only this machine reaches it; of names, `localhost` alone is believed."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


async def serve_http(
    place: Place, at: Listening, *, reviews: bool = False, said: Callable[[str], None]
) -> None:
    """Serve until a signal ends it; jobs stop at a checkpoint. `said` is told the URL once.

    Raises:
        ConfigError, UsageError: the place cannot be served, or the address cannot be listened on.
    """
    at.check()
    with unwrapped():
        async with (
            open_backend(place) as backend,
            open_jobs(backend, stop_within_s=STOP_WITHIN_S) as jobs,
            anyio.create_task_group() as group,
        ):
            group.start_soon(stop_at_signals, group.cancel_scope)
            async with listening(backend, jobs, at, reviews=reviews) as url:
                said(url)
                await anyio.sleep_forever()


@asynccontextmanager
async def listening(
    backend: Backend, jobs: ServedJobs, at: Listening, *, reviews: bool = False
) -> AsyncGenerator[str]:
    """Listen while the block lasts, and give the URL.

    Raises:
        UsageError: the address cannot be listened on.
    """
    server = ToolServer(backend, jobs, offered(backend, reviews=reviews), Clients(whoami())).build()
    # The guard has judged Host, Origin and size already, with statuses of one kind.
    manager = StreamableHTTPSessionManager(
        server, max_sessions=MOST_SESSIONS, session_idle_timeout=SESSION_IDLE_S
    )
    bound = await anyio.to_thread.run_sync(bound_to, at)
    with bound:
        port: int = bound.getsockname()[1]
        shown = f"[{at.host}]" if ":" in at.host else at.host
        app = Guard(_only_at(PATH, manager.handle_request), hosts=_hosts(at), token=at.token)
        async with _uvicorn(app, bound), manager.run():
            yield f"http://{shown}:{port}{PATH}"


def _hosts(at: Listening) -> tuple[str, ...] | None:
    """Return the names it is known by; what others can reach has any, and a token."""
    return (*LOOPBACK, at.host.lower()) if is_loopback(at.host) else None


def bound_to(at: Listening) -> socket.socket:
    """Return a socket that listens. May wait for a name server.

    Raises:
        UsageError: the address cannot be listened on.
    """
    try:
        listener = socket.create_server(
            (at.host, at.port),
            family=socket.AF_INET6 if ":" in at.host else socket.AF_INET,
            backlog=_BACKLOG,
        )
    except (OSError, OverflowError) as error:
        why = error.strerror if isinstance(error, OSError) else "no such port"
        raise UsageError(
            f"{at.host!a} port {at.port} cannot be listened on: {why}", hint="choose another --port"
        ) from error
    # Connections have it from here. Without it each answer's body waits 40 ms behind its head.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listener


def _only_at(path: str, app: ASGIApp) -> ASGIApp:
    """Return an application that has one place."""
    from starlette.responses import Response
    from starlette.types import Receive, Scope, Send

    async def routed(scope: Scope, receive: Receive, send: Send) -> None:
        found = app if scope["path"].rstrip("/") == path else Response("Not found", 404)
        await found(scope, receive, send)

    return routed


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
        limit_concurrency=MOST_CONNECTIONS,
        timeout_graceful_shutdown=_CLOSE_S,
        ws="none",
    )
    server = _Quiet(config)

    async def serve() -> None:
        # It ends by itself soon after it is told to; cut off, it would leave connections open.
        with anyio.CancelScope(shield=True):
            await server.serve([bound])

    async with anyio.create_task_group() as group:
        group.start_soon(serve)
        try:
            yield
        finally:
            server.should_exit = True
