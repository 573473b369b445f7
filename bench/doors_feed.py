"""The event stream: 200 clients beside one; and requests a second of two routes over many rows."""

from __future__ import annotations

import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import anyio
import httpx2

from bench.measure import environment
from bench.recall import Vectors, fill

CLIENTS: Final = (1, 200)
EVENTS_A_SECOND: Final = 20
FOLLOW_S: Final = 10.0
RATE_S: Final = 4.0
SIZES: Final = (1_000, 100_000)
_AT_ONCE: Final = 8
_PAGE_BYTES: Final = os.sysconf("SC_PAGE_SIZE")
_TICKS: Final = os.sysconf("SC_CLK_TCK")


@dataclass
class _Arrived:
    """How long after it was recorded each event was read, in ms, over all clients."""

    late_ms: list[float] = field(default_factory=list[float])
    clients: int = 0


def doors_feed(sizes: Sequence[int] = SIZES, clients: Sequence[int] = CLIENTS) -> None:
    """Print what event streams cost, and how often two routes answer."""
    for count in clients:
        anyio.run(_follow, count)
    for size in sizes:
        anyio.run(_rates, size)


async def _follow(clients: int) -> None:
    with tempfile.TemporaryDirectory() as folder, _serving(Path(folder)) as (port, pid):
        arrived = _Arrived()
        with _writing(Path(folder)):
            before = _spent(pid)
            with anyio.move_on_after(FOLLOW_S):
                async with anyio.create_task_group() as group:
                    for _ in range(clients):
                        group.start_soon(_client, port, arrived)
            cpu = (_spent(pid) - before) / FOLLOW_S
        late = sorted(arrived.late_ms)
        p99 = late[int(len(late) * 0.99)]
        print(
            f"events, {clients} clients of {clients} told {len(late) / FOLLOW_S:,.0f}/s:"
            f" p50 {statistics.median(late):.0f} ms, p99 {p99:.0f} ms;"
            f" server {cpu:.0%} of a core, {_resident_mb(pid):.0f} MB",
            flush=True,
        )


async def _client(port: int, arrived: _Arrived) -> None:
    stream = await anyio.connect_tcp("127.0.0.1", port)
    async with stream:
        host = f"127.0.0.1:{port}"
        await stream.send(f"GET /events?types=run:* HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
        arrived.clients += 1
        rest = b""
        while True:
            *lines, rest = (rest + await stream.receive()).split(b"\n")
            now_ms = time.time_ns() / 1e6
            for line in lines:
                if line.startswith(b"data: "):
                    recorded = json.loads(line[6:])["data"]["timestamp"]
                    arrived.late_ms.append(now_ms - recorded)


async def _rates(size: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "perstack" / "perstack.db"
        await fill(path, size, Vectors())
        with _serving(Path(folder)) as (port, _), _floor() as floor_port:
            floor = await _rate(f"http://127.0.0.1:{floor_port}/")
            base = f"http://127.0.0.1:{port}/api/v1"
            agents = await _rate(f"{base}/agents")
            search = await _rate(f"{base}/memory/search?q=zebrafish")
        print(
            f"requests a second, {size:,} memories: GET agents {agents:,.0f},"
            f" memory search {search:,.0f}; bare FastAPI {floor:,.0f}",
            flush=True,
        )


async def _rate(url: str) -> float:
    """Return how many requests a second are answered, eight at a time."""
    done = 0
    limits = httpx2.Limits(max_connections=_AT_ONCE)

    async with httpx2.AsyncClient(limits=limits, timeout=30) as client:

        async def ask() -> None:
            nonlocal done
            while True:
                answer = await client.get(url)
                answer.raise_for_status()
                done += 1

        await client.get(url)
        with anyio.move_on_after(RATE_S):
            async with anyio.create_task_group() as group:
                for _ in range(_AT_ONCE):
                    group.start_soon(ask)
    return done / RATE_S


@contextmanager
def _serving(folder: Path) -> Generator[tuple[int, int]]:
    """Give port and pid of a real server."""
    port = _free_port()
    command = [sys.executable, "-m", "perstack", "serve", "--no-auth", "--port", str(port)]
    with _program(command, folder, port) as pid:
        yield port, pid


@contextmanager
def _floor() -> Generator[int]:
    """Give the port of a server whose only route returns a small object."""
    port = _free_port()
    code = (
        "import uvicorn, fastapi\napp = fastapi.FastAPI()\n"
        "@app.get('/')\nasync def read() -> dict[str, int]:\n    return {'count': 0}\n"
        f"uvicorn.run(app, port={port}, log_config=None, access_log=False)"
    )
    with _program([sys.executable, "-c", code], Path.cwd(), port):
        yield port


@contextmanager
def _writing(folder: Path) -> Generator[None]:
    command = [sys.executable, "-m", "bench.writer", str(folder), str(EVENTS_A_SECOND)]
    child = subprocess.Popen(command, env=environment({}), stdout=subprocess.DEVNULL)
    try:
        yield
    finally:
        child.terminate()
        child.wait()


@contextmanager
def _program(command: Sequence[str], folder: Path, port: int) -> Generator[int]:
    quiet = subprocess.DEVNULL
    child = subprocess.Popen(command, cwd=folder, env=environment({}), stdout=quiet, stderr=quiet)
    try:
        _until_open(port, child)
        yield child.pid
    finally:
        child.terminate()
        child.wait()


def _until_open(port: int, child: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and child.poll() is None:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    raise RuntimeError("the server does not listen")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def _spent(pid: int) -> float:
    """Return the CPU seconds of a process."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


def _resident_mb(pid: int) -> float:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * _PAGE_BYTES / 1e6
