"""What every HTTP request passes before it reaches the protocol: where it is from, who sends it."""

from __future__ import annotations

import hmac
from collections import deque
from collections.abc import Iterable
from typing import Final
from urllib.parse import urlsplit

import anyio
from starlette.datastructures import Headers
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

BODY_LIMIT: Final = 4 * 1024 * 1024
BODY_WITHIN_S: Final = 15.0
LOOPBACK: Final = ("127.0.0.1", "localhost", "::1")


class Guard:
    """An ASGI application around another.

    A browser that was lured to a name that leads here (DNS rebinding) sends that name as Host or
    Origin, and is refused: only `hosts` are served, None for any, where the token must do.
    `token` None asks nobody who they are.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        hosts: Iterable[str] | None,
        token: str | None,
        body_limit: int = BODY_LIMIT,
        body_within_s: float = BODY_WITHIN_S,
    ) -> None:
        """`body_limit` is in bytes; a body must be there within `body_within_s` seconds."""
        self._app = app
        self._hosts = None if hosts is None else frozenset(host.lower() for host in hosts)
        self._token = token.encode() if token is not None else None
        self._limit = body_limit
        self._within_s = body_within_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Hand a request on, or answer it with why not."""
        if scope["type"] != "http":
            if scope["type"] == "websocket":
                await send({"type": "websocket.close", "code": 1008})
            return
        headers = Headers(scope=scope)
        if not self._is_from_here(headers):
            await _refusal(403, "Forbidden: Host or Origin is not one of this server")(
                scope, receive, send
            )
            return
        if not self._is_known(headers):
            refusal = _refusal(401, "Unauthorized: send the token that the server printed")
            refusal.headers["WWW-Authenticate"] = "Bearer"
            await refusal(scope, receive, send)
            return
        await self._with_body(scope, receive, send, headers)

    def _is_from_here(self, headers: Headers) -> bool:
        if self._hosts is None:
            return True
        if _host_of(f"//{headers.get('host', '')}") not in self._hosts:
            return False
        origins = headers.getlist("origin")
        return all(_host_of(origin) in self._hosts for origin in origins)

    def _is_known(self, headers: Headers) -> bool:
        if self._token is None:
            return True
        kind, _, given = headers.get("authorization", "").partition(" ")
        return kind.lower() == "bearer" and hmac.compare_digest(
            given.strip().encode("utf-8", "replace"), self._token
        )

    async def _with_body(
        self, scope: Scope, receive: Receive, send: Send, headers: Headers
    ) -> None:
        declared = headers.get("content-length", "0")
        read: list[Message] | int = 413
        if not (declared.isdecimal() and len(declared) < 20 and int(declared) > self._limit):
            read = await self._read(receive)
        match read:
            case 413:
                refusal = _refusal(413, f"Content too large: at most {self._limit:,} bytes")
                await refusal(scope, receive, send)
            case int():
                await _refusal(408, "Request timeout: the body took too long")(scope, receive, send)
            case messages:
                await self._app(scope, _replayed(messages, receive), send)

    async def _read(self, receive: Receive) -> list[Message] | int:
        """Return the whole body's messages, or the status that refuses it."""
        messages: list[Message] = []
        size = 0
        with anyio.move_on_after(self._within_s):
            while True:
                message = await receive()
                messages.append(message)
                size += len(message.get("body", b""))
                if size > self._limit:
                    return 413
                if message["type"] != "http.request" or not message.get("more_body", False):
                    return messages
        return 408


def _replayed(messages: list[Message], receive: Receive) -> Receive:
    left = deque(messages)

    async def replay() -> Message:
        return left.popleft() if left else await receive()

    return replay


def _host_of(address: str) -> str | None:
    """Return the host of an address, None for what has none, such as `null`."""
    try:
        return urlsplit(address).hostname
    except ValueError:
        return None


def _refusal(status: int, message: str) -> JSONResponse:
    error = {"code": -32000, "message": message}
    return JSONResponse({"jsonrpc": "2.0", "id": None, "error": error}, status)
