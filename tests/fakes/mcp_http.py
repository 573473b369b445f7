"""An MCP server on loopback over real sockets: both HTTP transports, and what can go wrong.

    async with mcp_http() as server:
        ...  # server.url + "/mcp" (streamable HTTP), server.url + "/sse" (the older transport)

`server.fault` strikes at requests whose method is `server.strikes_at`, `server.times` times. Tools:
`echo`, `add` whose description changes once `server.changed` is set, `request`, which makes the
request that it is told to make and answers with what it was answered, and `tell`, which sends the
notifications that it is told to send. With `server.listens`, clients of streamable HTTP get the
stream that is beside all calls, too, and what has `aside` is said there. `server.posts_to` is where
the older transport says that messages are to be sent.
"""

from __future__ import annotations

import json
import ssl
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import urlsplit

import anyio
from anyio.abc import ByteStream, SocketAttribute
from anyio.streams.buffered import BufferedByteReceiveStream
from anyio.streams.tls import TLSListener

Json = dict[str, Any]

FAULTS: Final = (
    "alien",  # an answer that is a web page
    "compressed",
    "cut",  # the connection ends in the middle of the answer
    "fleeting",  # a stream that ends without its answer, which it has when it is opened again
    "forget",  # the session is unknown (404)
    "forget_400",  # the same, as some servers say it
    "garbage",
    "halved",  # a stream whose connection ends in its first event
    "hang",
    "huge",  # an answer that does not end
    "many",  # an answer of a million little things
    "mute",  # accepts a call and never answers it (202)
    "no_jsonrpc",
    "redirect",
    "status",  # `server.status`
    "wrong_id",
)
TOOLS: Final[list[Json]] = [
    {
        "name": "echo",
        "description": "Says it again.",
        "inputSchema": {
            "type": "object",
            "properties": {"text": {"type": "string"}},
            "required": ["text"],
        },
    },
    {"name": "add", "description": "Adds.", "inputSchema": {"type": "object"}},
    {"name": "request", "inputSchema": {"type": "object"}},
    {"name": "tell", "inputSchema": {"type": "object"}},
]
_FLEETING: Final = b"id: 1\nretry: 0\ndata:\n\n"
_NO_SESSION: Final[Json] = {
    "jsonrpc": "2.0",
    "id": None,
    "error": {"code": -32000, "message": "Bad Request: no valid session"},
}
_PLAIN: Final[dict[str, tuple[int, bytes, dict[str, str]]]] = {
    "alien": (200, b"<html>hi</html>", {"content-type": "text/html"}),
    "compressed": (200, b"\x1f\x8b", {"content-encoding": "gzip"}),
    "forget": (404, b"no such session", {}),
    "forget_400": (400, json.dumps(_NO_SESSION).encode(), {}),
    "mute": (202, b"", {}),
}
_TEXTS: Final[dict[str, Callable[[Json], str]]] = {
    "garbage": lambda _good: '{"jsonrpc": "2.0", "id": oops}',
    "many": lambda good: json.dumps({**good, "result": {"a": [[]] * 1_000_000}}),
    "no_jsonrpc": lambda good: json.dumps({"id": good["id"], "result": {}}),
    "wrong_id": lambda good: json.dumps({**good, "id": 4711}),
}
Say = Callable[[Json], Awaitable[None]]
_GONE: Final = (anyio.BrokenResourceError, anyio.ClosedResourceError, anyio.EndOfStream)


@dataclass(frozen=True, slots=True)
class Asked:
    """A request as it arrived; header names are lower-case."""

    verb: str
    path: str
    headers: Mapping[str, str]
    message: Json

    @property
    def place(self) -> str:
        """The path alone, also of a request that came to us as to a proxy."""
        return urlsplit(self.path).path

    @property
    def method(self) -> str:
        return str(self.message.get("method", ""))


@dataclass
class McpHttp:
    """What a test sees of the server, and sets. `streams` are those that clients listen to."""

    url: str
    as_json: bool = False
    fault: str | None = None
    strikes_at: str = "tools/call"
    times: int = 1_000_000
    status: int = 500
    location: str = "http://127.0.0.1:9/elsewhere"
    changed: bool = False
    listens: bool = False
    posts_to: str = "/messages?session=1"
    sessions: set[str] = field(default_factory=set[str])
    asked: list[Asked] = field(default_factory=list[Asked])
    streams: list[ByteStream] = field(default_factory=list[ByteStream])
    _numbers: int = 0
    _owed: Json | None = None
    _writing: anyio.Lock = field(default_factory=anyio.Lock)
    _said: list[Json] = field(default_factory=list[Json])
    _heard: anyio.Event = field(default_factory=anyio.Event)

    def count(self, method: str) -> int:
        """How many requests with that method came."""
        return sum(each.method == method for each in self.asked)

    async def cut_streams(self) -> None:
        """End every stream that clients listen to."""
        for stream in self.streams:
            await stream.aclose()
        self.streams.clear()

    async def serve(self, stream: ByteStream) -> None:
        """Answer one connection's requests."""
        try:
            source = BufferedByteReceiveStream(stream)
            async with stream:
                while await self._answer(await _read(source), stream):
                    pass
        except (*_GONE, anyio.IncompleteRead):
            pass

    async def _answer(self, asked: Asked, sink: ByteStream) -> bool:
        """Answer; False if the connection ends with it."""
        self.asked.append(asked)
        if asked.message.get("id") == "mine" and not asked.method:
            self._said.append(asked.message)
            self._heard.set()
            return await _respond(sink, 202)
        path = asked.place
        if asked.verb == "GET" and self._owed is not None and "last-event-id" in asked.headers:
            owed, self._owed = self._owed, None
            return await self._raw(asked, sink, json.dumps(owed))
        if asked.verb == "GET" and (path == "/sse" or self.listens):
            return await self._listen(asked, sink)
        if asked.verb == "DELETE":
            self.sessions.discard(asked.headers.get("mcp-session-id", ""))
            return await _respond(sink, 200)
        if asked.verb != "POST":
            return await _respond(sink, 405)
        if self.fault is not None and asked.method == self.strikes_at and self.times > 0:
            self.times -= 1
            return await self._misbehave(self.fault, asked, sink)
        if not self._knows(asked, path):
            return await _respond(sink, 404, b"no such session")
        if asked.message.get("params", {}).get("name") in ("request", "tell"):
            return await self._talk(asked, sink)
        return await self._reply(asked, sink, self._work(asked))

    def _knows(self, asked: Asked, path: str) -> bool:
        if path == "/messages":
            return bool(self.streams)
        return asked.method == "initialize" or asked.headers.get("mcp-session-id") in self.sessions

    async def _listen(self, asked: Asked, sink: ByteStream) -> bool:
        if self.fault is not None and self.strikes_at == "GET" and self.times > 0:
            self.times -= 1
            return await self._misbehave(self.fault, asked, sink)
        self.streams.append(sink)
        await _begin(sink, 200, {"content-type": "text/event-stream"})
        if asked.place == "/sse":
            await _event(sink, self.posts_to, "endpoint")
        await anyio.sleep_forever()
        return False

    def _work(self, asked: Asked) -> Json | None:
        number = asked.message.get("id")
        if number is None:
            return None
        return {"jsonrpc": "2.0", "id": number, "result": self._result(asked)}

    def _result(self, asked: Asked) -> Json:
        match asked.method:
            case "initialize":
                return {
                    "protocolVersion": "2025-06-18",
                    "capabilities": {"tools": {}},
                    "serverInfo": {"name": "far", "version": "3.2.1"},
                }
            case "tools/list":
                changed = (
                    [{**TOOLS[1], "description": "Subtracts."}] if self.changed else TOOLS[1:2]
                )
                return {"tools": [TOOLS[0], *changed, *TOOLS[2:], {"name": "two words"}]}
            case "tools/call":
                args: Json = asked.message["params"].get("arguments") or {}
                return {"content": [_text(str(args.get("text", "done")))]}
            case _:
                return {}

    async def _reply(self, asked: Asked, sink: ByteStream, answer: Json | None) -> bool:
        if asked.place == "/messages":
            if answer is not None:
                await self._push(json.dumps(answer))
            return await _respond(sink, 202)
        if answer is None:
            return await _respond(sink, 202)
        headers: dict[str, str] = {}
        if asked.method == "initialize":
            self._numbers += 1
            session = f"session-{self._numbers}"
            self.sessions.add(session)
            headers["mcp-session-id"] = session
        if self.as_json:
            return await _respond(sink, 200, json.dumps(answer).encode(), **headers)
        await _begin(sink, 200, {"content-type": "text/event-stream"} | headers)
        await _event(sink, json.dumps(answer))
        await _chunk(sink, b"")
        return True

    async def _talk(self, asked: Asked, sink: ByteStream) -> bool:
        """Tell or ask what a call wants told or asked, then answer it, all on its stream."""
        older = asked.place == "/messages"
        if not older:
            await _begin(sink, 200, {"content-type": "text/event-stream"})

        async def say(message: Json) -> None:
            if older or message.pop("aside", False):
                await self._push(json.dumps({"jsonrpc": "2.0", **message}))
            else:
                await _event(sink, json.dumps({"jsonrpc": "2.0", **message}))

        params: Json = asked.message["params"]
        told = await self._told(params["name"], params["arguments"], params.get("_meta", {}), say)
        await say({"id": asked.message["id"], "result": {"content": [_text(told)]}})
        if older:
            return await _respond(sink, 202)
        await _chunk(sink, b"")
        return True

    async def _told(self, tool: str, args: Json, meta: Json, say: Say) -> str:
        if tool == "tell":
            for each in args["messages"]:
                if each["params"].get("progressToken") == "TOKEN":
                    each["params"]["progressToken"] = meta.get("progressToken")
                await say(each)
            return "told"
        self._heard = anyio.Event()
        await say({"id": "mine", "method": args["method"], "params": args.get("params", {})})
        if args.get("cancel"):
            await say({"method": "notifications/cancelled", "params": {"requestId": "mine"}})
            return "taken back"
        await self._heard.wait()
        return json.dumps(self._said[-1])

    async def _misbehave(self, fault: str, asked: Asked, sink: ByteStream) -> bool:
        number = asked.message.get("id")
        if fault in ("forget", "forget_400"):
            self.sessions.clear()
        if fault == "status":
            return await _respond(sink, self.status, b"key is sk-very-secret")
        if fault == "redirect":
            return await _respond(sink, 307, location=self.location)
        if fault in _PLAIN:
            status, body, headers = _PLAIN[fault]
            return await _respond(sink, status, body, **headers)
        if fault in _TEXTS:
            good: Json = {"jsonrpc": "2.0", "id": number, "result": self._result(asked)}
            return await self._raw(asked, sink, _TEXTS[fault](good))
        if fault == "fleeting":
            self._owed = self._work(asked)
            await _begin(sink, 200, {"content-type": "text/event-stream"})
            await _chunk(sink, _FLEETING)
            await _chunk(sink, b"")
            return True
        if fault == "halved":
            await _begin(sink, 200, {"content-type": "text/event-stream"})
            await _chunk(sink, b"event: endp")
            return False
        if fault == "hang":
            await anyio.sleep_forever()
        if fault == "huge":
            await self._flood(sink)
        await _begin(sink, 200, {"content-type": "application/json"})
        await _chunk(sink, b'{"jsonrpc": "2.0", "id"')
        return False

    async def _raw(self, asked: Asked, sink: ByteStream, text: str) -> bool:
        if asked.place == "/messages":
            await self._push(text)
            return await _respond(sink, 202)
        if self.as_json:
            return await _respond(sink, 200, text.encode())
        await _begin(sink, 200, {"content-type": "text/event-stream"})
        await _event(sink, text)
        await _chunk(sink, b"")
        return True

    async def _push(self, text: str) -> None:
        """Say something on the newest stream; requests on other connections may do so, too."""
        async with self._writing:
            await _event(self.streams[-1], text)

    async def _flood(self, sink: ByteStream) -> None:
        kind = "application/json" if self.as_json else "text/event-stream"
        await _begin(sink, 200, {"content-type": kind})
        await _chunk(sink, b'{"a": "' if self.as_json else b'data: {"a": "')
        while True:
            await _chunk(sink, b"x" * 1_000_000)


@asynccontextmanager
async def mcp_http(
    *, as_json: bool = False, port: int = 0, tls: ssl.SSLContext | None = None
) -> AsyncGenerator[McpHttp]:
    """Serve on a port of 127.0.0.1, a free one unless it is given, until the block ends."""
    listener = await anyio.create_tcp_listener(local_host="127.0.0.1", local_port=port)
    port = listener.extra(SocketAttribute.local_port)
    server = McpHttp(f"http://127.0.0.1:{port}", as_json=as_json)
    # Entered by hand, so that a failing test's own error comes out and not a group holding it.
    group = anyio.create_task_group()
    await group.__aenter__()
    taking = listener if tls is None else TLSListener(listener, tls, standard_compatible=False)
    group.start_soon(taking.serve, server.serve)
    try:
        yield server
    finally:
        group.cancel_scope.cancel()
        try:
            await group.__aexit__(None, None, None)
        finally:
            with anyio.CancelScope(shield=True):
                await listener.aclose()


def _text(text: str) -> Json:
    return {"type": "text", "text": text}


async def _read(source: BufferedByteReceiveStream) -> Asked:
    head = (await source.receive_until(b"\r\n\r\n", 65_536)).decode()
    first, *lines = head.split("\r\n")
    verb, path, _ = first.split(" ")
    headers = {
        name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)
    }
    body = await source.receive_exactly(int(headers.get("content-length", "0")))
    return Asked(verb, path, headers, json.loads(body) if body else {})


async def _respond(sink: ByteStream, status: int, body: bytes = b"", **headers: str) -> bool:
    given = {"content-type": "application/json", **headers, "content-length": str(len(body))}
    await sink.send(_head(status, given) + body)
    return True


async def _begin(sink: ByteStream, status: int, headers: Mapping[str, str]) -> None:
    await sink.send(_head(status, {**headers, "transfer-encoding": "chunked"}))


async def _event(sink: ByteStream, data: str, kind: str = "message") -> None:
    await _chunk(sink, f"event: {kind}\ndata: {data}\n\n".encode())


async def _chunk(sink: ByteStream, data: bytes) -> None:
    await sink.send(f"{len(data):x}\r\n".encode() + data + b"\r\n")


def _head(status: int, headers: Mapping[str, str]) -> bytes:
    lines = [f"HTTP/1.1 {status} X", *(f"{name}: {value}" for name, value in headers.items())]
    return "\r\n".join([*lines, "", ""]).encode()
