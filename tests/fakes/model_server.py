"""A model vendor on loopback: real sockets, both protocols, and everything that can go wrong.

In a test:

    async with model_server(Reply(text=["hi"])) as server:
        ...  # base URL: server.url (Anthropic), server.url + "/v1" (OpenAI)

Which protocol is spoken goes by the path, so the clouds that serve Claude are answered too.

As a process, it prints its URL and decides by the number of assistant messages in each request:

    python -m tests.fakes.model_server --steps 20 --tool record --args '{"key": "k{{turn}}"}'
    python -m tests.fakes.model_server --script replies.json --latency-ms 30
"""

from __future__ import annotations

import argparse
import gzip
import itertools
import json
import socket
import struct
import sys
import time
import zlib
from collections import deque
from collections.abc import AsyncGenerator, Callable, Iterable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, cast

import anyio
from anyio.abc import ByteStream, SocketAttribute
from anyio.streams.buffered import BufferedByteReceiveStream

from tests.fakes.bedrock_wire import CONTENT_TYPE, bedrock_exception, bedrock_frames
from tests.fakes.model_wire import (
    Call,
    Fault,
    Refusal,
    Reply,
    anthropic_events,
    error_event,
    odd_events,
    openai_events,
)
from tests.fakes.responses_wire import responses_error, responses_events, responses_odd
from tests.fakes.skills_api import SkillsApi

Protocol = Literal["anthropic", "openai", "responses", "bedrock"]
_OF_THE_MODEL = ("reasoning", "function_call")


@dataclass(frozen=True, slots=True)
class Seen:
    """A request as it arrived; header names are lower-case, `at` is monotonic seconds."""

    protocol: Protocol
    path: str
    headers: Mapping[str, str]
    body: dict[str, Any]
    at: float
    raw: bytes = b""
    method: str = "POST"

    @property
    def assistant_messages(self) -> int:
        """How many turns of the model's the request holds."""
        if self.protocol == "responses":
            return sum(1 for model, _ in itertools.groupby(self.body["input"], _is_said) if model)
        return sum(message["role"] == "assistant" for message in self.body["messages"])


def _is_said(item: Mapping[str, Any]) -> bool:
    return item.get("type") in _OF_THE_MODEL or item.get("role") == "assistant"


Answer = Reply | Refusal
Decide = Callable[[Seen], Answer]


@dataclass
class ModelServer:
    """What a test sees of the server. Queued replies go first, then `decide` is asked."""

    url: str
    decide: Decide | None = None
    queue: deque[Answer] = field(default_factory=deque[Answer])
    requests: list[Seen] = field(default_factory=list[Seen])
    skills: SkillsApi = field(default_factory=SkillsApi)
    max_in_flight: int = 0
    connections: int = 0
    _in_flight: int = 0

    def add(self, *replies: Answer) -> None:
        """Queue replies."""
        self.queue.extend(replies)

    def next_reply(self, seen: Seen) -> Answer:
        """Return what to answer."""
        if self.queue:
            return self.queue.popleft()
        if self.decide is None:
            return Refusal(500, "the test has no reply left", "api_error")
        return self.decide(seen)

    async def serve(self, stream: ByteStream) -> None:
        """Answer one connection's requests."""
        self.connections += 1
        try:
            await self._serve(BufferedByteReceiveStream(stream), stream)
        except (anyio.BrokenResourceError, anyio.ClosedResourceError, anyio.EndOfStream):
            pass  # The client went away, as clients do.
        except anyio.IncompleteRead:
            pass

    async def _serve(self, source: BufferedByteReceiveStream, sink: ByteStream) -> None:
        while True:
            seen = await _read_request(source)
            if seen.path.startswith("/v1/skills"):
                await sink.send(self.skills.answer(seen.method, seen.path, seen.raw))
                continue
            self.requests.append(seen)
            self._in_flight += 1
            self.max_in_flight = max(self.max_in_flight, self._in_flight)
            try:
                if not await _respond(sink, seen.protocol, self.next_reply(seen)):
                    return
            finally:
                self._in_flight -= 1


def model_server(
    *replies: Answer, decide: Decide | None = None
) -> AbstractAsyncContextManager[ModelServer]:
    """Serve on a free port of 127.0.0.1 until the block ends."""
    return _serving(replies, decide)


@asynccontextmanager
async def _serving(
    replies: Iterable[Answer], decide: Decide | None, port: int = 0
) -> AsyncGenerator[ModelServer]:
    multi = await anyio.create_tcp_listener(local_host="127.0.0.1", local_port=port)
    listener = multi.listeners[0]
    bound = listener.extra(SocketAttribute.local_port)
    server = ModelServer(f"http://127.0.0.1:{bound}", decide, deque(replies))

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


async def _read_request(source: BufferedByteReceiveStream) -> Seen:
    head = (await source.receive_until(b"\r\n\r\n", 1_000_000)).decode("latin-1")
    first, *lines = head.split("\r\n")
    headers = {
        name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)
    }
    body = await source.receive_exactly(int(headers.get("content-length", "0")))
    method, path, _ = first.split(" ")
    is_json = headers.get("content-type", "").startswith("application/json")
    read: dict[str, Any] = json.loads(body) if is_json and body else {}
    return Seen(_protocol(path), path, headers, read, time.monotonic(), body, method)


def _protocol(path: str) -> Protocol:
    plain = path.partition("?")[0]
    if plain.endswith("/chat/completions"):
        return "openai"
    if plain.endswith("/responses"):
        return "responses"
    return "bedrock" if plain.endswith("/invoke-with-response-stream") else "anthropic"


async def _respond(sink: ByteStream, protocol: Protocol, reply: Answer) -> bool:
    """Answer; return whether the connection can carry another request."""
    if isinstance(reply, Refusal):
        await _refuse(sink, protocol, reply)
        return True
    if reply.gate is not None:
        await reply.gate.wait()
    await anyio.sleep(reply.latency_s)
    events = list(_render(protocol, reply))
    if reply.fault is None:
        await _stream(sink, events, protocol)
        return True
    return await _fail(sink, protocol, events, reply.fault)


def _render(protocol: Protocol, reply: Reply) -> Iterable[bytes]:
    match protocol:
        case "anthropic":
            return anthropic_events(reply)
        case "bedrock":
            return bedrock_frames(anthropic_events(reply))
        case "openai":
            return openai_events(reply)
        case "responses":
            return responses_events(reply)


async def _refuse(sink: ByteStream, protocol: Protocol, refusal: Refusal) -> None:
    error = {"type": refusal.kind, "message": refusal.message}
    named = {"type": "error", "error": error} if protocol == "anthropic" else {"error": error}
    body = json.dumps(named).encode() if refusal.body is None else refusal.body
    headers = {"content-type": "application/json", **refusal.headers}
    lines = [f"HTTP/1.1 {refusal.status} No", f"content-length: {len(body)}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    await sink.send("\r\n".join(lines).encode() + b"\r\n\r\n" + body)


_HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n"


async def _begin(sink: ByteStream, protocol: Protocol) -> None:
    head = _HEAD
    if protocol == "bedrock":
        head = head.replace(b"text/event-stream", CONTENT_TYPE.encode())
    await sink.send(head + b"transfer-encoding: chunked\r\n\r\n")


async def _chunks(sink: ByteStream, pieces: Iterable[bytes]) -> None:
    for piece in pieces:
        await sink.send(b"%x\r\n%b\r\n" % (len(piece), piece))


async def _stream(sink: ByteStream, pieces: Iterable[bytes], protocol: Protocol) -> None:
    await _begin(sink, protocol)
    await _chunks(sink, pieces)
    await sink.send(b"0\r\n\r\n")


async def _fail(sink: ByteStream, protocol: Protocol, events: list[bytes], fault: Fault) -> bool:
    altered = _altered(protocol, events, fault)
    if altered is not None:
        await _stream(sink, altered, protocol)
        return True
    if fault.kind in {"gzip", "gzip_bomb"}:
        is_bomb = fault.kind == "gzip_bomb"
        body = _bomb(fault.megabytes) if is_bomb else gzip.compress(b"".join(events))
        head = f"content-encoding: gzip\r\ncontent-length: {len(body)}\r\n\r\n".encode()
        await sink.send(_HEAD + head + body)
        return True
    await _break_off(sink, events, fault, protocol)
    return False


def _bomb(megabytes: int) -> bytes:
    """Return that many megabytes of nothing, which are a thousandth of that while packed."""
    packer = zlib.compressobj(1, wbits=31)
    nothing = bytes(1_000_000)
    return b"".join(packer.compress(nothing) for _ in range(megabytes)) + packer.flush()


def _altered(protocol: Protocol, events: list[bytes], fault: Fault) -> Iterable[bytes] | None:
    """Return what to stream instead, where the fault lies in the events alone."""
    match fault.kind:
        case "sse_error":
            error = responses_error() if protocol == "responses" else error_event(protocol)
            return [*events[: fault.after], error]
        case "exception":
            return [*events[: fault.after], bedrock_exception("throttlingException", "Slow down")]
        case "bad_json":
            return [*events[: fault.after], b'event: content_block_delta\ndata: {"type": \n\n']
        case "no_terminator":
            return events[: -fault.after]
        case "unknown_events":
            odd = responses_odd() if protocol == "responses" else odd_events(protocol)
            return [piece for event in events for piece in (*odd, event)]
        case "crlf":
            return [event.replace(b"\n", b"\r\n") for event in events]
        case "fragments":
            return [bytes([byte]) for byte in b"".join(events)]
        case "invalid_utf8":
            return [event.replace(b"BAD", b"\xff\xfe") for event in events]
        case "huge_text":
            return _huge(events, fault.megabytes)
        case _:
            return None


def _huge(events: list[bytes], megabytes: int) -> Iterable[bytes]:
    """Repeat the event holding the word HUGE, each time a megabyte long."""
    for event in events:
        times = megabytes if b"HUGE" in event else 1
        for _ in range(times):
            yield event.replace(b"HUGE", b"x" * 1_000_000)


async def _break_off(
    sink: ByteStream, events: list[bytes], fault: Fault, protocol: Protocol
) -> None:
    """Begin to answer, then break the connection or fall silent."""
    first = events[: fault.after]
    match fault.kind:
        case "refuse":
            _reset_on_close(sink)
            return
        case "hang":
            await anyio.sleep_forever()
        case "short_body":
            body = b"".join(first)
            await sink.send(_HEAD + b"content-length: %d\r\n\r\n" % (len(body) + 500) + body)
            return
        case _:
            await _begin(sink, protocol)
            await _chunks(sink, first)
    match fault.kind:
        case "stall_mid":
            await anyio.sleep_forever()
        case "reset_mid":
            _reset_on_close(sink)
        case "bad_chunk":
            await sink.send(b"not-a-size\r\n")
        case _:  # close_mid: the end of the chunked body never comes.
            pass


def _reset_on_close(sink: ByteStream) -> None:
    raw = sink.extra(SocketAttribute.raw_socket)
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def steps(count: int, *, tool: str, args: str = "{}", latency_s: float = 0.0) -> Decide:
    """Decide by turns: `count` calls of `tool`, then attemptCompletion, then a closing text.

    `{{turn}}` in `args` becomes the number of the call, from 0.
    """

    def decide(seen: Seen) -> Answer:
        turn = seen.assistant_messages
        text = [f"Step {turn}. "]
        if turn < count:
            call = Call(tool, args.replace("{{turn}}", str(turn)), f"call_{turn}")
            return Reply(text, calls=[call], latency_s=latency_s)
        if turn == count:
            call = Call("attemptCompletion", {}, f"call_{turn}")
            return Reply(calls=[call], latency_s=latency_s)
        return Reply(["All done."], latency_s=latency_s)

    return decide


def script(replies: list[dict[str, Any]], *, latency_s: float = 0.0) -> Decide:
    """Decide by turns: the reply at the number of assistant messages, the last one for ever."""

    def decide(seen: Seen) -> Answer:
        said = replies[min(seen.assistant_messages, len(replies) - 1)]
        fault = said.get("fault")
        return Reply(
            text=[said["text"]] if said.get("text") else [],
            thinking=[said["thinking"]] if said.get("thinking") else [],
            calls=[Call(call["name"], call.get("args", {})) for call in said.get("calls", [])],
            latency_s=said.get("latency_ms", latency_s * 1000) / 1000,
            fault=Fault(fault) if fault else None,
        )

    return decide


async def _main(args: argparse.Namespace) -> None:
    latency_s = args.latency_ms / 1000
    if args.script:
        text = await anyio.Path(args.script).read_text()
        decide = script(cast("list[dict[str, Any]]", json.loads(text)), latency_s=latency_s)
    else:
        decide = steps(args.steps, tool=args.tool, args=args.args, latency_s=latency_s)
    async with _serving((), decide, args.port) as server:
        sys.stdout.write(server.url + "\n")
        sys.stdout.flush()
        await anyio.sleep_forever()


def main() -> None:
    """Serve until killed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--script", type=Path)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--steps", type=int, default=3)
    parser.add_argument("--tool", default="think")
    parser.add_argument("--args", default="{}")
    parser.add_argument("--latency-ms", type=float, default=0.0)
    anyio.run(_main, parser.parse_args())


if __name__ == "__main__":
    main()
