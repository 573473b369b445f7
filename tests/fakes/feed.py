"""Clients of the feed, in memory: of the hub itself, of its server-sent events, of its sockets."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import cast

import anyio
import anyio.lowlevel
from anyio.abc import ObjectReceiveStream, ObjectSendStream
from fastapi import FastAPI
from pydantic import JsonValue
from starlette.types import Message, Scope

from perstack.serving.feed.hub import Feed
from perstack.serving.feed.news import News, Wanted
from tests.fakes.consensus import until

Json = dict[str, JsonValue]
HOST = (b"host", b"127.0.0.1")


@dataclass
class Heard:
    """What a client of the hub was told so far."""

    news: list[News] = field(default_factory=list[News])
    over: bool = False

    @property
    def types(self) -> list[str]:
        return [one.type for one in self.news]

    def of(self, kind: str) -> list[News]:
        return [one for one in self.news if one.type == kind]

    async def until(self, *types: str) -> None:
        """Return once all of these were told."""
        try:
            await until(lambda: all(one in self.types for one in types), within_s=20)
        except AssertionError:
            raise AssertionError(f"waited for {types}, heard {self.types}") from None


@asynccontextmanager
async def hearing(
    feed: Feed, wanted: Wanted | None = None, *, after: str | None = None
) -> AsyncGenerator[Heard]:
    """Listen for as long as the block runs."""
    heard = Heard()
    began = anyio.Event()

    async def hear() -> None:
        async with feed.listen(wanted or Wanted(), after) as listener:
            began.set()
            async for some in listener.news(silence_s=60):
                heard.news += some
        heard.over = True

    async with anyio.create_task_group() as group:
        group.start_soon(hear)
        await began.wait()
        yield heard
        group.cancel_scope.cancel()


class Stream:
    """An answer that goes on, as server-sent events."""

    def __init__(self) -> None:
        self.status = 0
        self.headers: dict[str, str] = {}
        self.events: list[Json] = []
        self.text = ""
        self.place = ""
        """What the client would say as `Last-Event-ID`."""
        self.over = False
        self._pending = ""

    def take(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            pairs = cast("Sequence[tuple[bytes, bytes]]", message["headers"])
            self.headers = {name.decode().lower(): value.decode() for name, value in pairs}
            return
        self.text += message.get("body", b"").decode("ascii")
        self._pending += message.get("body", b"").decode("ascii")
        *blocks, self._pending = self._pending.split("\n\n")
        for block in blocks:
            self._block(block)
        self.over = not message.get("more_body", False)

    def _block(self, block: str) -> None:
        lines = [line.split(": ", 1) for line in block.split("\n") if not line.startswith(":")]
        fields = {pair[0]: pair[1] for pair in lines if len(pair) == 2}
        self.place = fields.get("id", self.place)
        if "data" in fields:
            told = cast("Json", json.loads(fields["data"]))
            assert told["type"] == fields["event"]
            self.events.append(told)

    @property
    def types(self) -> list[str]:
        return [str(one["type"]) for one in self.events]

    async def until(self, *types: str) -> None:
        await until(lambda: all(one in self.types for one in types), within_s=20)


@asynccontextmanager
async def streaming(
    app: FastAPI, path: str = "/events", query: str = "", *headers: tuple[bytes, bytes]
) -> AsyncGenerator[Stream]:
    """Ask for an event stream; the client goes away when the block ends."""
    stream, gone = Stream(), anyio.Event()
    began = anyio.Event()
    asked = [{"type": "http.request", "body": b"", "more_body": False}]

    async def receive() -> Message:
        if asked:
            return asked.pop()
        await gone.wait()
        return {"type": "http.disconnect"}

    async def send(message: Message) -> None:
        stream.take(message)
        if message["type"] == "http.response.body":
            began.set()
        await anyio.lowlevel.checkpoint()

    scope: Scope = _scope("http", path, query, headers) | {"method": "GET"}
    async with anyio.create_task_group() as group:

        async def answer() -> None:
            await app(scope, receive, send)

        group.start_soon(answer)
        await began.wait()
        yield stream
        gone.set()


class Socket:
    """The client's end of a WebSocket."""

    def __init__(
        self, to_app: ObjectSendStream[Message], from_app: ObjectReceiveStream[Message]
    ) -> None:
        self._to_app = to_app
        self._from_app = from_app
        self.refused = False
        self.closed: int | None = None

    async def say(self, name: str, payload: JsonValue = None, **more: JsonValue) -> None:
        await self.raw(json.dumps({"type": name, "payload": payload, **more}))

    async def raw(self, text: str) -> None:
        await self._to_app.send({"type": "websocket.receive", "text": text})

    async def raw_bytes(self, data: bytes) -> None:
        await self._to_app.send({"type": "websocket.receive", "bytes": data})

    async def next(self) -> Json | None:
        """Return the next frame, None once the server closed or refused."""
        with anyio.fail_after(20):
            message = await self._from_app.receive()
        match message["type"]:
            case "websocket.accept":
                return await self.next()
            case "websocket.send":
                return cast("Json", json.loads(message["text"]))
            case "websocket.close":
                self.closed = message.get("code")
            case _:
                self.refused = True
        return None

    async def until(self, name: str, fits: Callable[[Json], bool] = lambda _: True) -> Json:
        """Return the next frame of that type, passing over others."""
        while True:
            frame = await self.next()
            assert frame is not None, f"closed with {self.closed} before {name}"
            if frame["type"] == name and fits(frame):
                return frame


@asynccontextmanager
async def socket(
    app: FastAPI, query: str = "", *headers: tuple[bytes, bytes]
) -> AsyncGenerator[Socket]:
    """Connect to /ws; the client goes away when the block ends."""
    to_app, app_receive = anyio.create_memory_object_stream[Message](100)
    app_send, from_app = anyio.create_memory_object_stream[Message](10_000)
    await to_app.send({"type": "websocket.connect"})
    scope: Scope = _scope("websocket", "/ws", query, headers) | {"subprotocols": []}
    with to_app, app_receive, app_send, from_app:
        async with anyio.create_task_group() as group:

            async def talk() -> None:
                await app(scope, app_receive.receive, app_send.send)

            group.start_soon(talk)
            yield Socket(to_app, from_app)
            with suppress(anyio.BrokenResourceError):
                await to_app.send({"type": "websocket.disconnect", "code": 1000})


def _scope(
    kind: str, path: str, query: str, headers: Sequence[tuple[bytes, bytes]]
) -> dict[str, object]:
    named = {name for name, _ in headers}
    return {
        "type": kind,
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "extensions": {"websocket.http.response": {}},
        "http_version": "1.1",
        "scheme": "http" if kind == "http" else "ws",
        "path": path,
        "raw_path": path.encode(),
        "root_path": "",
        "query_string": query.encode(),
        "headers": [*headers, *([] if b"host" in named else [HOST])],
        "client": ("127.0.0.1", 5),
        "server": ("127.0.0.1", 80),
    }
