"""The model server as a process of its own: as cheap as can be, since both sides pay for it.

It answers from bytes made beforehand and looks into requests no further than it must. What it saw
is asked for over HTTP, so that the floors can make the very same requests.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import subprocess
import sys
import time
import urllib.request
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import IO, Any, Final

from bench.measure import ROOT
from tests.fakes.model_wire import Call, Reply, anthropic_events, openai_events

COORDINATOR: Final = "You are the coordinator."
_STEP_TEXT: Final = "I look at the next part of the file before I go on, to be sure what it says. "
_ASSISTANT: Final = re.compile(rb'"role": ?"assistant"')
_LENGTH: Final = re.compile(rb"\r\ncontent-length: ?(\d+)", re.IGNORECASE)
_HEAD: Final = b"HTTP/1.1 200 OK\r\ncontent-type: %b\r\ncontent-length: %d\r\n\r\n"


@dataclass(frozen=True, slots=True)
class Server:
    """A running server as the benchmark sees it."""

    url: str
    _output: IO[str]

    def first_requests(self) -> list[dict[str, Any]]:
        """Return the first request's JSON, and that of the first delegate if there was one."""
        with urllib.request.urlopen(f"{self.url}/first") as answer:
            return json.load(answer)

    def began_at(self) -> float:
        """Return when the last run's first request came, as `time.perf_counter` has it here."""
        with urllib.request.urlopen(f"{self.url}/began") as answer:
            return json.load(answer)

    def span_s(self) -> float:
        """Wait for a coordinator's last answer; return the seconds since its first request."""
        return float(self._output.readline())


@contextmanager
def serving(mode: str, number: int, latency_ms: int = 0) -> Generator[Server]:
    """Serve from another process.

    `mode` "steps": `number` tool calls, then the result. "delegates": the coordinator calls
    `number` delegates at once. Every answer begins after `latency_ms`.
    """
    with subprocess.Popen(
        [sys.executable, "-m", "bench.server", mode, str(number), str(latency_ms)],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        text=True,
    ) as child:
        if child.stdout is None:
            raise RuntimeError("the server's output was not captured")
        try:
            yield Server(child.stdout.readline().strip(), child.stdout)
        finally:
            child.kill()


@dataclass(frozen=True, slots=True)
class _Script:
    """The three answers that there are, as whole HTTP responses by vendor."""

    call: Mapping[str, bytes]
    end: Mapping[str, bytes]
    child: Mapping[str, bytes]


@dataclass(slots=True)
class _Desk:
    """What all connections share."""

    script: _Script
    calls: int
    coordinates: bool
    latency_s: float
    first: dict[bool, bytes] = field(default_factory=dict[bool, bytes])
    began: float = 0.0

    def answer(self, path: bytes, body: bytes) -> tuple[bytes, bool]:
        """Return the response, and whether it ends a coordinator's work."""
        vendor = "anthropic" if path.endswith(b"/messages") else "openai"
        is_child = self.coordinates and COORDINATOR.encode() not in body
        self.first.setdefault(is_child, body)
        if is_child:
            return self.script.child[vendor], False
        turns = len(_ASSISTANT.findall(body))
        if turns == 0:
            self.began = time.perf_counter()
        if turns < self.calls:
            return self.script.call[vendor], False
        return self.script.end[vendor], self.coordinates

    def when_begun(self) -> bytes:
        # On Linux and macOS all processes of a machine read the same monotonic clock.
        found = str(self.began).encode()
        return _HEAD % (b"application/json", len(found)) + found

    def first_requests(self) -> bytes:
        found = b"[%b]" % b",".join(self.first[key] for key in sorted(self.first))
        return _HEAD % (b"application/json", len(found)) + found


class _Connection(asyncio.Protocol):
    def __init__(self, desk: _Desk) -> None:
        self._desk = desk
        self._transport: asyncio.WriteTransport | None = None
        self._received = bytearray()
        self._body_at = 0
        self._ends_at = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        if isinstance(transport, asyncio.WriteTransport):
            self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._received += data
        if not self._ends_at and (head := self._received.find(b"\r\n\r\n")) >= 0:
            length = _LENGTH.search(self._received, 0, head)
            self._body_at = head + 4
            self._ends_at = self._body_at + (int(length[1]) if length else 0)
        if self._ends_at and len(self._received) >= self._ends_at:
            self._serve()

    def _serve(self) -> None:
        path = bytes(self._received[: self._body_at].split(b" ", 2)[1])
        body = bytes(self._received[self._body_at : self._ends_at])
        del self._received[: self._ends_at]
        self._ends_at = 0
        if path == b"/first":
            self._send(self._desk.first_requests(), ends=False)
            return
        if path == b"/began":
            self._send(self._desk.when_begun(), ends=False)
            return
        response, ends = self._desk.answer(path, body)
        if self._desk.latency_s:
            loop = asyncio.get_running_loop()
            loop.call_later(self._desk.latency_s, lambda: self._send(response, ends=ends))
        else:
            self._send(response, ends=ends)

    def _send(self, response: bytes, *, ends: bool) -> None:
        if self._transport is not None:
            self._transport.write(response)
        if ends:
            print(time.perf_counter() - self._desk.began, flush=True)


def _responses(reply: Reply) -> dict[str, bytes]:
    made = {"anthropic": anthropic_events(reply), "openai": openai_events(reply)}
    bodies = {vendor: b"".join(events) for vendor, events in made.items()}
    return {
        vendor: _HEAD % (b"text/event-stream", len(body)) + body for vendor, body in bodies.items()
    }


def _desk(mode: str, number: int, latency_ms: int) -> _Desk:
    if mode == "steps":
        step = Reply(text=[_STEP_TEXT], calls=[Call("readTextFile", {"path": "notes.txt"})])
        end = Reply(text=["All read."])
    else:
        step = Reply(calls=[Call("worker", {"query": f"part {n}"}) for n in range(number)])
        end = Reply(text=["All done."])
    script = _Script(_responses(step), _responses(end), _responses(Reply(text=["Done."])))
    calls = number if mode == "steps" else 1
    return _Desk(script, calls, mode == "delegates", latency_ms / 1000)


async def _serve(desk: _Desk) -> None:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: _Connection(desk), "127.0.0.1", 0, backlog=512)
    host, port = server.sockets[0].getsockname()
    print(f"http://{host}:{port}", flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(_serve(_desk(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))))
