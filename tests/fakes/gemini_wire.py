"""Google's model over HTTP on loopback, as the Gemini CLI asks it: whole answers and streams.

    async with gemini_server(decide=turns(calls("write_file", ...), Reply(["Done."]))) as server:
        ...  # GOOGLE_GEMINI_BASE_URL is server.url

Only answers that are streamed are of the conversation; the program asks side questions (which
model fits, who speaks next), too, which are answered in its own words and counted apart.
"""

from __future__ import annotations

import json
import re
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Final, cast

import anyio
from anyio.abc import ByteStream, SocketAttribute
from anyio.streams.buffered import BufferedByteReceiveStream

from tests.fakes.model_wire import Refusal, Reply

Json = dict[str, Any]
Answer = Reply | Refusal

_PATH: Final = re.compile(r"/(?:models/)?(?P<model>[^/:]+):(?P<verb>\w+)(?:\?|$)")
_GONE: Final = (anyio.BrokenResourceError, anyio.ClosedResourceError, anyio.EndOfStream)
_ASIDE: Final = Reply(
    [json.dumps({"next_speaker": "user", "model_choice": "flash", "reasoning": "as scripted"})]
)


@dataclass(frozen=True, slots=True)
class Asked:
    """A request of the conversation; header names are lower-case."""

    model: str
    headers: Mapping[str, str]
    body: Json

    @property
    def turns(self) -> int:
        """How many answers of the model's the request holds."""
        return sum(content.get("role") == "model" for content in self.body["contents"])

    @property
    def text(self) -> str:
        """All the texts of the conversation, and no system prompt."""
        parts = (part for content in self.body["contents"] for part in content.get("parts", ()))
        return "\n".join(part["text"] for part in parts if "text" in part)

    @property
    def results(self) -> list[Json]:
        """The results of tools that the request holds, in order."""
        parts = (part for content in self.body["contents"] for part in content.get("parts", ()))
        return [part["functionResponse"] for part in parts if "functionResponse" in part]


Decide = Callable[[Asked], Answer]


@dataclass
class GeminiServer:
    """What a test sees of the server."""

    url: str
    decide: Decide
    requests: list[Asked] = field(default_factory=list[Asked])
    asides: int = 0

    async def serve(self, stream: ByteStream) -> None:
        """Answer one connection's requests until the client goes away, as clients do."""
        source = BufferedByteReceiveStream(stream)
        try:
            while True:
                await self._answer(source, stream)
        except (*_GONE, anyio.IncompleteRead):
            pass

    async def _answer(self, source: BufferedByteReceiveStream, sink: ByteStream) -> None:
        path, headers, body = await _read(source)
        found = _PATH.search(path)
        if found is None or found["verb"] not in {"streamGenerateContent", "generateContent"}:
            await _whole(sink, 200, {"totalTokens": 1})
            return
        if found["verb"] == "generateContent":
            self.asides += 1
            aside = _chunk(found["model"], _ASIDE, [{"text": _ASIDE.text[0]}])
            await _whole(sink, 200, aside)
            return
        asked = Asked(found["model"], headers, body)
        self.requests.append(asked)
        answer = self.decide(asked)
        if isinstance(answer, Refusal):
            error = {"code": answer.status, "message": answer.message, "status": answer.kind}
            await _whole(sink, answer.status, {"error": error})
            return
        if answer.gate is not None:
            await answer.gate.wait()
        await _streamed(sink, asked.model, answer)


def turns(*replies: Answer) -> Decide:
    """Decide by the number of the model's answers in a request; the last is given for ever."""
    return lambda asked: replies[min(asked.turns, len(replies) - 1)]


def _chunk(model: str, reply: Reply, parts: list[Json], *, last: bool = True) -> Json:
    """Return one piece of an answer as Google sends it."""
    candidate: Json = {"content": {"role": "model", "parts": parts}, "index": 0}
    made: Json = {"candidates": [candidate], "modelVersion": model}
    if last:
        candidate["finishReason"] = reply.stop_reason or "STOP"
        total = reply.input_tokens + reply.output_tokens + reply.reasoning_tokens
        made["usageMetadata"] = {
            "promptTokenCount": reply.input_tokens,
            "candidatesTokenCount": reply.output_tokens,
            "thoughtsTokenCount": reply.reasoning_tokens,
            "cachedContentTokenCount": reply.cached_tokens,
            "totalTokenCount": total,
        }
    return made


def _chunks(model: str, reply: Reply) -> list[Json]:
    """Return a reply's pieces: thoughts, texts one by one, all calls together."""
    pieces: list[list[Json]] = [[{"text": text, "thought": True}] for text in reply.thinking]
    pieces += [[{"text": text}] for text in reply.text]
    if reply.calls:
        pieces.append([{"functionCall": _call(call.name, call.args)} for call in reply.calls])
    pieces = pieces or [[]]
    return [_chunk(model, reply, parts, last=parts is pieces[-1]) for parts in pieces]


def _call(name: str, args: Mapping[str, object] | str) -> Json:
    return {"name": name, "args": json.loads(args) if isinstance(args, str) else dict(args)}


async def _read(source: BufferedByteReceiveStream) -> tuple[str, Mapping[str, str], Json]:
    head = (await source.receive_until(b"\r\n\r\n", 1_000_000)).decode("latin-1")
    first, *lines = head.split("\r\n")
    headers = {
        name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)
    }
    raw = await source.receive_exactly(int(headers.get("content-length", "0")))
    body = cast("Json", json.loads(raw)) if raw else {}
    return first.split(" ")[1], headers, body


async def _whole(sink: ByteStream, status: int, body: Json) -> None:
    raw = json.dumps(body).encode()
    head = f"HTTP/1.1 {status} So\r\ncontent-type: application/json\r\ncontent-length: {len(raw)}"
    await sink.send(head.encode() + b"\r\n\r\n" + raw)


async def _streamed(sink: ByteStream, model: str, reply: Reply) -> None:
    head = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked"
    await sink.send(head + b"\r\n\r\n")
    for piece in _chunks(model, reply):
        event = b"data: " + json.dumps(piece).encode() + b"\r\n\r\n"
        await sink.send(b"%x\r\n%b\r\n" % (len(event), event))
    await sink.send(b"0\r\n\r\n")


@asynccontextmanager
async def gemini_server(*, decide: Decide) -> AsyncGenerator[GeminiServer]:
    """Serve on a free port of 127.0.0.1 until the block ends."""
    multi = await anyio.create_tcp_listener(local_host="127.0.0.1", local_port=0)
    listener = multi.listeners[0]
    server = GeminiServer(f"http://127.0.0.1:{listener.extra(SocketAttribute.local_port)}", decide)

    async def handle(stream: ByteStream) -> None:
        async with stream:
            await server.serve(stream)

    # Entered by hand, so that a failing test's own error comes out and not a group holding it.
    group = anyio.create_task_group()
    await group.__aenter__()
    group.start_soon(listener.serve, handle, group)
    try:
        yield server
    finally:
        group.cancel_scope.cancel()
        try:
            await group.__aexit__(None, None, None)
        finally:
            with anyio.CancelScope(shield=True):
                await listener.aclose()
