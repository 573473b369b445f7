"""What is refused before any route is asked: who may reach the server at all, and with what."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator
from typing import Final, Protocol

import anyio
import pydantic_core
from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import HTTPConnection
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from perstack.errors import PerstackError
from perstack.serving.http.limits import Buckets
from perstack.serving.http.rules import Rules

_SAFE: Final = frozenset({"GET", "HEAD", "OPTIONS"})
# A string that never ends reaches to the end, and nothing is tried twice: the time is linear.
_STRINGS: Final = re.compile(rb'"(?:[^"\\]|\\.)*+"?', re.DOTALL)
_NO_BRACKETS: Final = bytes(set(range(256)) - set(b"[]{}"))
_ALLOWED_METHODS: Final = "GET, POST, PUT, DELETE, PATCH, OPTIONS"
_ALLOWED_HEADERS: Final = "Content-Type, Authorization, X-Requested-With, X-Api-Key, Last-Event-ID"
_HOST: Final = re.compile(r"(?:\[([^][]+)]|([^][:]+?)\.?)(?::[0-9]{1,5})?")
_PREFLIGHT_S: Final = "86400"
_PART_BYTES: Final = 32 * 1024
_ALWAYS: Final = {
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",
    "Referrer-Policy": "no-referrer",
    "X-Frame-Options": "DENY",
}


class Answers(Protocol):
    """How a door words what it refuses."""

    def refusal(
        self, status: int, error: str, code: str, *, hint: str | None = None, **headers: str
    ) -> Response:
        """Return an error as an answer. A `_` in the name of a header stands for `-`."""
        ...

    def answer_for(self, error: Exception) -> Response:
        """Return what is answered for an error."""
        ...


class Gate:
    """Refuses foreign hosts and origins, paths that climb, and more than can be answered.

    `streams` are paths whose answers stay.
    """

    def __init__(
        self, app: ASGIApp, rules: Rules, answers: Answers, *, streams: frozenset[str] = frozenset()
    ) -> None:
        self._app = app
        self._rules = rules
        self._answers = answers
        self._stream_paths = streams
        self._rate = Buckets(per_s=rules.per_s, burst=rules.burst)
        self._requests = 0
        self._streams = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Hand on what may pass."""
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        origin = headers.get("origin")
        answering = _with_headers(send, origin if origin in self._rules.origins else None)
        refused = self._refused(scope, headers) or self._preflight(scope, headers)
        if refused is not None:
            await refused(scope, receive, answering)
            return
        await self._counted(scope, receive, answering)

    def _refused(self, scope: Scope, headers: Headers) -> Response | None:
        if not self._knows_host(headers.getlist("host")):
            return self._answers.refusal(
                403,
                "Host not allowed",
                "denied.host",
                hint=f"{self._rules.program} --allow-host NAME",
            )
        if (
            scope["type"] == "websocket" or scope["method"] not in _SAFE
        ) and not self._knows_origin(headers):
            return self._foreign_origin()
        if ".." in str(scope["path"]).replace("\\", "/").split("/"):
            return self._answers.refusal(404, "Not found", "not_found")
        try:
            self._rate.take(_address(scope))
        except PerstackError as error:
            return self._answers.answer_for(error)
        return None

    def _foreign_origin(self) -> Response:
        hint = f"{self._rules.program} --cors ORIGIN" if self._rules.takes_origins else None
        return self._answers.refusal(403, "Origin not allowed", "denied.origin", hint=hint)

    def _preflight(self, scope: Scope, headers: Headers) -> Response | None:
        if scope["type"] != "http" or scope["method"] != "OPTIONS" or "origin" not in headers:
            return None
        if headers["origin"] not in self._rules.origins:
            return self._foreign_origin()
        return Response(
            status_code=204,
            headers={
                "Access-Control-Allow-Methods": _ALLOWED_METHODS,
                "Access-Control-Allow-Headers": _ALLOWED_HEADERS,
                "Access-Control-Max-Age": _PREFLIGHT_S,
            },
        )

    async def _counted(self, scope: Scope, receive: Receive, send: Send) -> None:
        stays = scope["type"] == "websocket" or scope["path"] in self._stream_paths
        most = self._rules.streams_at_once if stays else self._rules.requests_at_once
        if (self._streams if stays else self._requests) >= most:
            busy = self._answers.refusal(
                503, "The server is busy", "limit.busy", hint="come again", Retry_After="1"
            )
            await busy(scope, receive, send)
            return
        if not stays:
            await self._answered(scope, receive, send)
            return
        self._streams += 1
        try:
            await self._app(scope, receive, send)
        finally:
            self._streams -= 1

    async def _answered(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Count a request until its answer is there: who reads slowly takes nobody's place."""
        self._requests += 1
        working = True

        def done() -> None:
            nonlocal working
            if working:
                working = False
                self._requests -= 1

        async def sending(message: Message) -> None:
            done()
            await send(message)

        try:
            await self._app(scope, receive, sending)
        finally:
            done()

    def _knows_host(self, given: list[str]) -> bool:
        if len(given) != 1:
            return False
        name = _host_name(given[0])
        return name in self._rules.hosts or (self._rules.any_address and _is_address(name))

    def _knows_origin(self, headers: Headers) -> bool:
        """Tell whether it is a page of this server, one that was allowed, or no page at all."""
        origins = headers.getlist("origin")
        if not origins:
            return True
        origin = origins[0]
        own = {f"{scheme}://{headers.get('host', '').lower()}" for scheme in ("http", "https")}
        return len(origins) == 1 and (origin in self._rules.origins or origin.lower() in own)


class Bodies:
    """Takes in bodies before anything works on them: JSON only, not too large, slow or deep."""

    def __init__(self, app: ASGIApp, rules: Rules, answers: Answers) -> None:
        self._app = app
        self._rules = rules
        self._answers = answers

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Hand on a request whose body can be used."""
        if scope["type"] != "http" or not _has_body(Headers(scope=scope)):
            await self._app(scope, receive, send)
            return
        try:
            with anyio.fail_after(self._rules.body_s):
                body = await self._read(scope, receive)
        except TimeoutError:
            slow = self._answers.refusal(
                408, "The body did not arrive in time", "limit.time", Connection="close"
            )
            await slow(scope, receive, send)
            return
        if body is None:
            return
        refused = body if isinstance(body, Response) else self._checked(scope, body)
        if isinstance(body, bytes) and refused is None:
            await self._app(scope, _replaying(body, receive), send)
        elif refused is not None:
            await refused(scope, receive, send)

    async def _read(self, scope: Scope, receive: Receive) -> bytes | Response | None:
        """Return the body, why it is not taken, or None when the client went away."""
        declared = Headers(scope=scope).get("content-length", "")
        if declared.isdecimal() and int(declared) > self._rules.body_bytes:
            return self._too_large()
        body = bytearray()
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                return None
            body += message.get("body", b"")
            if len(body) > self._rules.body_bytes:
                return self._too_large()
            if not message.get("more_body", False):
                return bytes(body)

    def _too_large(self) -> Response:
        most = f"{self._rules.body_bytes:,} bytes"
        # Without `Connection: close`: a client that is still sending would be told of a reset and
        # read no answer. What it sends is let go by for as long as a head may take.
        return self._answers.refusal(413, f"The body is larger than {most}", "limit.size")

    def _checked(self, scope: Scope, body: bytes) -> Response | None:
        if not body:
            return None
        if not _is_json(Headers(scope=scope).get("content-type", "")):
            hint = "send Content-Type: application/json"
            return self._answers.refusal(
                403, "Only JSON is taken", "denied.content_type", hint=hint
            )
        if _is_deeper(body, self._rules.json_depth):
            return self._answers.refusal(400, "The JSON is nested too deep", "usage")
        try:
            pydantic_core.from_json(body, allow_inf_nan=False)
        except ValueError:
            return self._answers.refusal(400, "Invalid JSON body", "usage")
        return None


def _with_headers(send: Send, origin: str | None) -> Send:
    async def sending(message: Message) -> None:
        if message["type"] in ("http.response.start", "websocket.http.response.start"):
            headers = MutableHeaders(raw=list(message.get("headers", [])))
            for name, value in _ALWAYS.items():
                headers.setdefault(name, value)
            headers.add_vary_header("Origin")
            if origin is not None:
                headers["Access-Control-Allow-Origin"] = origin
                headers["Access-Control-Allow-Credentials"] = "true"
            message = {**message, "headers": headers.raw}
        for part in _in_parts(message):
            await send(part)

    return sending


def _in_parts(message: Message) -> Iterator[Message]:
    """Yield a message; a large body part by part, each of which waits for the client to read."""
    body = message.get("body", b"")
    if message["type"] != "http.response.body" or len(body) <= _PART_BYTES:
        yield message
        return
    for start in range(0, len(body), _PART_BYTES):
        more = message.get("more_body", False) or start + _PART_BYTES < len(body)
        yield {**message, "body": body[start : start + _PART_BYTES], "more_body": more}


def _replaying(body: bytes, receive: Receive) -> Receive:
    given = False

    async def replay() -> Message:
        nonlocal given
        if given:
            return await receive()
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return replay


def _has_body(headers: Headers) -> bool:
    return headers.get("content-length", "0") != "0" or "transfer-encoding" in headers


def _is_json(content_type: str) -> bool:
    kind = content_type.partition(";")[0].strip().lower()
    return kind == "application/json" or (
        kind.startswith("application/") and kind.endswith("+json")
    )


def _is_deeper(body: bytes, most: int) -> bool:
    depth = 0
    for bracket in _STRINGS.sub(b"", body).translate(None, _NO_BRACKETS):
        depth += 1 if bracket in b"[{" else -1
        if depth > most:
            return True
    return False


def _address(scope: Scope) -> str:
    client = HTTPConnection(scope).client
    return "" if client is None else client.host


def _host_name(given: str) -> str:
    """Return what a `Host` header names, without a port, in lower case; "" if it is none."""
    found = _HOST.fullmatch(given.lower())
    return "" if found is None else found[1] or found[2]


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
