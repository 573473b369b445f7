"""What the MCP server takes to start and to answer, beside the SDK's own with one trivial tool."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Any, Final

import anyio

from bench.measure import environment, heading, median, program, row
from bench.recall import Vectors, fill

Json = dict[str, Any]

SIZES: Final = (1_000, 100_000)
FLOOR: Final = (sys.executable, "-m", "bench.mcp_floor")
# AgentStack 1.6.1 over its own protocol, whose floor is 0.19 ms.
THEIRS: Final[dict[tuple[str, int], str]] = {
    ("memory_get", 1_000): "0.36",
    ("memory_search, rare word", 1_000): "0.41",
    ("memory_search, rare word", 100_000): "0.42",
    ("memory_search, common word", 1_000): "1.15",
    ("memory_search, common word", 100_000): "51",
    ("memory_list", 1_000): "2.0",
    ("memory_list", 100_000): "57",
    ("system_status", 100_000): "15",
    ("task_create", 1_000): "0.38",
}
_OPENING: Final = {
    "protocolVersion": "2025-06-18",
    "capabilities": {},
    "clientInfo": {"name": "bench", "version": "1"},
}


class Session:
    """A client that only writes and reads lines, so that nearly all it measures is the server."""

    def __init__(self, server: subprocess.Popen[bytes]) -> None:
        self._server = server
        self._ids = count(1)
        self.ask("initialize", _OPENING)
        self._send({"jsonrpc": "2.0", "method": "notifications/initialized"})

    def ask(self, method: str, params: Json) -> Json:
        """Send a request and return its answer."""
        id_ = next(self._ids)
        self._send({"jsonrpc": "2.0", "id": id_, "method": method, "params": params})
        assert self._server.stdout is not None
        while True:
            said: Json = json.loads(self._server.stdout.readline())
            if said.get("id") == id_:
                return said["result"]

    def call_ms(self, tool: str, arguments: Json, rounds: int) -> float:
        """Return the median time of a call, in ms, after some that are not counted."""
        took: list[float] = []
        for number in range(20 * rounds + 5):
            began = time.perf_counter()
            answer = self.ask("tools/call", {"name": tool, "arguments": arguments})
            if answer.get("isError"):
                raise RuntimeError(f"{tool} failed: {answer}")
            if number >= 5:
                took.append((time.perf_counter() - began) * 1_000)
        return median(took)

    def _send(self, message: Json) -> None:
        assert self._server.stdin is not None
        self._server.stdin.write(json.dumps(message).encode() + b"\n")
        self._server.stdin.flush()


@contextmanager
def session(command: Sequence[str], folder: Path) -> Generator[Session]:
    """Start a server in `folder` and open a session."""
    with subprocess.Popen(
        command,
        cwd=folder,
        env=environment({}),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    ) as server:
        yield Session(server)
        assert server.stdin is not None
        server.stdin.close()


def doors_mcp(rounds: int, sizes: Sequence[int] = SIZES) -> None:
    """Print both."""
    heading("MCP over standard input and output")
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        _start(rounds, folder)
    for size in sizes:
        with tempfile.TemporaryDirectory() as made:
            _calls(rounds, size, Path(made))


def _start(rounds: int, folder: Path) -> None:
    def took(command: Sequence[str]) -> float:
        began = time.perf_counter()
        with session(command, folder) as opened:
            opened.ask("tools/list", {})
            return time.perf_counter() - began

    ours_command = program("mcp", "start")
    took(ours_command)
    took(FLOOR)
    pairs = [(took(ours_command), took(FLOOR)) for _ in range(rounds)]
    ours, floor = (median(side) for side in zip(*pairs, strict=True))
    row("start to tools/list", ours, floor, "s", "AgentStack 0.51")


def _calls(rounds: int, size: int, folder: Path) -> None:
    path = folder / "perstack" / "perstack.db"
    path.parent.mkdir()
    anyio.run(fill, path, size, Vectors())
    calls: dict[str, tuple[str, Json]] = {
        "memory_get": ("memory_get", {"key": "key-7"}),
        "memory_search, rare word": ("memory_search", _word("zebrafish")),
        "memory_search, common word": ("memory_search", _word("common")),
        "memory_list": ("memory_list", {}),
        "task_create": ("task_create", {"agentType": "coder", "input": "Mend the gate."}),
        "system_status": ("system_status", {}),
    }
    with session(FLOOR, folder) as bare, session(program("mcp", "start"), folder) as opened:
        for name, (tool, arguments) in calls.items():
            floor = bare.call_ms("echo", {}, rounds)
            ours = opened.call_ms(tool, arguments, rounds)
            theirs = THEIRS.get((name, size))
            aim = f"AgentStack {theirs}" if theirs else ""
            row(f"{name}, {size:,} rows", ours, floor, "ms", aim)


def _word(word: str) -> Json:
    return {"query": word, "useVector": False}
