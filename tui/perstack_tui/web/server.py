"""Serves the cockpit to a browser on this machine: a process of its own for each session."""

from __future__ import annotations

import asyncio
import os
import signal
import socket as socketlib
import sys
import webbrowser
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

import textual_serve
from aiohttp import WSMsgType, web
from aiohttp.typedefs import Handler
from textual_serve.app_service import AppService
from textual_serve.download_manager import DownloadManager

from perstack.errors import UsageError
from perstack.ports.frontend import IN_BROWSER, WebRequest
from perstack_tui.web.door import Door
from perstack_tui.web.page import POLICY, SCRIPT, STYLE, page

LOOPBACK: Final = "127.0.0.1"
STATIC: Final = Path(textual_serve.__file__).parent / "static"
LONGEST_MESSAGE: Final = 1 << 20
END_S: Final = 12.0
LARGEST_SIDE: Final = 1_000


class Session(AppService):
    """A cockpit's process: started without a shell, in a session of its own, ended in time."""

    def __init__(self, argv: Sequence[str], socket: web.WebSocketResponse) -> None:
        super().__init__(
            "",
            write_bytes=socket.send_bytes,
            write_str=socket.send_str,
            close=_closing(socket),
            download_manager=DownloadManager(),
        )
        self._argv = argv

    async def _open_app_process(
        self, width: int = 80, height: int = 24
    ) -> asyncio.subprocess.Process:
        process = await asyncio.create_subprocess_exec(
            *self._argv,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env=self._build_environment(width, height) | {IN_BROWSER: "1"},
            start_new_session=True,
        )
        self._process, self._stdin = process, process.stdin
        return process

    async def end(self) -> None:
        """Have it leave, and end it by force when it does not."""
        with suppress(asyncio.TimeoutError):
            await asyncio.wait_for(self.stop(), END_S)
        process = self._process
        if process is not None and process.returncode is None:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            await process.wait()


class CockpitServer:
    """Routes: the page, what it loads, and the web socket that the terminal speaks over."""

    def __init__(self, request: WebRequest, door: Door) -> None:
        self._request = request
        self._door = door
        self._sockets: set[web.WebSocketResponse] = set()
        self._first = True

    def application(self) -> web.Application:
        """Return the application."""
        app = web.Application(middlewares=[self._guard])
        app.add_routes(
            [
                web.get("/", self._index),
                web.get("/page.css", _style),
                web.get("/page.js", _script),
                web.get("/ws", self._terminal),
                web.static("/static", STATIC),
            ]
        )
        app.on_shutdown.append(self._close_all)
        return app

    @web.middleware
    async def _guard(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        if not self._door.is_here(request.headers.get("Host")):
            raise web.HTTPMisdirectedRequest(text="this server has another name\n")
        token = request.query.get("token")
        if request.path == "/" and token is not None:
            return self._welcome(token)
        if not self._door.knows(request.cookies.get(self._door.cookie_name)):
            raise web.HTTPForbidden(
                text="Open the address that perstack start --web printed. It counts once.\n"
            )
        response = await handler(request)
        if not response.prepared:
            _harden(response, request.host)
        return response

    def _welcome(self, token: str) -> web.Response:
        cookie = self._door.admit(token)
        if cookie is None:
            raise web.HTTPForbidden(text="This address was used before, or is wrong.\n")
        response = web.HTTPSeeOther("/")
        name = self._door.cookie_name
        response.set_cookie(name, cookie, httponly=True, samesite="Strict", path="/")
        response.headers["Referrer-Policy"] = "no-referrer"
        response.headers["Cache-Control"] = "no-store"
        raise response

    async def _index(self, request: web.Request) -> web.Response:
        socket = f"ws://{request.host}/ws"
        size = _bounded(request.query.get("fontsize"), 16, 64)
        return web.Response(text=page(self._request.title, socket, size), content_type="text/html")

    async def _terminal(self, request: web.Request) -> web.StreamResponse:
        if not self._door.is_own_page(request.headers.get("Origin")):
            raise web.HTTPForbidden(text="another page asked\n")
        socket = web.WebSocketResponse(heartbeat=15, max_msg_size=LONGEST_MESSAGE)
        await socket.prepare(request)
        self._sockets.add(socket)
        session = Session(self._next_argv(), socket)
        try:
            width = _bounded(request.query.get("width"), 80, LARGEST_SIDE)
            height = _bounded(request.query.get("height"), 24, LARGEST_SIDE)
            await session.start(width, height)
            await _relay(socket, session)
        finally:
            self._sockets.discard(socket)
            await asyncio.shield(session.end())
        return socket

    def _next_argv(self) -> Sequence[str]:
        """Return how to start a cockpit: what was asked for is done by the first alone."""
        first, self._first = self._first, False
        return self._request.first_argv if first else self._request.later_argv

    async def _close_all(self, app: web.Application) -> None:
        for socket in list(self._sockets):
            await socket.close(code=1001, message=b"the server ends")


async def _relay(socket: web.WebSocketResponse, session: Session) -> None:
    """Hand on what the browser says; what is none of the protocol is left out."""
    async for message in socket:
        if message.type is not WSMsgType.TEXT:
            continue
        try:
            kind, *rest = message.json()
            if kind == "stdin":
                await session.send_bytes(str(rest[0]).encode(errors="replace"))
            elif kind == "resize":
                width, height = int(rest[0]["width"]), int(rest[0]["height"])
                if 0 < width <= LARGEST_SIDE and 0 < height <= LARGEST_SIDE:
                    await session.set_terminal_size(width, height)
            elif kind == "ping":
                await socket.send_json(["pong", rest[0]])
            elif kind == "blur":
                await session.blur()
            elif kind == "focus":
                await session.focus()
        except (ValueError, TypeError, KeyError, IndexError):
            continue


def serve(request: WebRequest) -> int:
    """Serve until interrupted; return the exit code.

    Raises:
        UsageError: the port cannot be had.
    """
    return asyncio.run(_serve(request))


async def _serve(request: WebRequest) -> int:
    ended = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, ended.set)
    listening = _listen(request.port)
    door = Door(listening.getsockname()[1])
    runner = web.AppRunner(CockpitServer(request, door).application(), shutdown_timeout=END_S)
    await runner.setup()
    try:
        await web.SockSite(runner, listening).start()
        _announce(door, open_browser=request.open_browser)
        await ended.wait()
    finally:
        await runner.cleanup()
    return 0


def _listen(port: int) -> socketlib.socket:
    found = socketlib.socket(socketlib.AF_INET, socketlib.SOCK_STREAM)
    found.setsockopt(socketlib.SOL_SOCKET, socketlib.SO_REUSEADDR, 1)
    try:
        found.bind((LOOPBACK, port))
    except (OSError, OverflowError) as error:
        found.close()
        raise UsageError(
            f"port {port} cannot be had: {error}", hint="--port 0 takes any that is free"
        ) from error
    return found


def _announce(door: Door, *, open_browser: bool) -> None:
    sys.stdout.write(f"The cockpit is at {door.invitation}\n")
    sys.stdout.write("The address counts once, on this machine. Ctrl+C ends it.\n")
    sys.stdout.flush()
    if open_browser:
        webbrowser.open(door.invitation)


def _closing(socket: web.WebSocketResponse) -> Callable[[], Awaitable[None]]:
    async def close() -> None:
        await socket.close()

    return close


async def _style(request: web.Request) -> web.Response:
    return web.Response(text=STYLE, content_type="text/css")


async def _script(request: web.Request) -> web.Response:
    return web.Response(text=SCRIPT, content_type="text/javascript")


def _harden(response: web.StreamResponse, host: str) -> None:
    response.headers["Content-Security-Policy"] = POLICY.format(socket=f"ws://{host}")
    response.headers["X-Content-Type-Options"] = "nosniff"
    response.headers["Referrer-Policy"] = "no-referrer"
    response.headers["Cache-Control"] = "no-store"


def _bounded(text: str | None, otherwise: int, most: int) -> int:
    number = int(text) if text is not None and text.isdecimal() else otherwise
    return max(1, min(most, number))
