"""The HTTP server as it is started: who is told what, what it refuses to be, how it ends."""

from __future__ import annotations

import logging
import os
import re
import signal
import socket
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import anyio
import httpx2
import psutil
import pytest
from anyio.abc import SocketStream

from perstack.errors import ConflictError, UsageError
from perstack.ports.system import SystemClock, Uuids
from perstack.services.users import UserService
from perstack.serving.backend import Place
from perstack.serving.http import connections
from perstack.serving.rest.passwords import Argon2Passwords
from perstack.serving.rest.server import Listening, serve
from perstack.wiring import open_tables
from tests.fakes.cli import SCRIPTED, Program, Running
from tests.fakes.consensus import until
from tests.fakes.rest_answers import API, becomes

pytestmark = pytest.mark.anyio

TOKEN = "s" * 40
TEAM = SCRIPTED + '[experts."writer"]\ninstruction = "You write."\n'
ENDLESS = """
[[turns]]
latency_ms = 50
calls = [{ tool = "listDirectory", args = { path = "." } }]
"""
SAYS = """
[[turns]]
text = "Written."
"""


@dataclass
class Serving:
    """A server in this process, and what it said."""

    lines: list[str] = field(default_factory=list[str])
    ready: anyio.Event = field(default_factory=anyio.Event)
    over: anyio.Event = field(default_factory=anyio.Event)

    def say(self, line: str) -> None:
        self.lines.append(line)
        if line.startswith("Ctrl-C"):
            self.ready.set()

    @property
    def base(self) -> str:
        found = re.search(r"http://[^ ]+:\d+", "\n".join(self.lines))
        assert found is not None
        return found[0]

    @property
    def port(self) -> int:
        return int(self.base.rpartition(":")[2])

    @property
    def token(self) -> str:
        (line,) = (line for line in self.lines if line.startswith("Token"))
        return line.rpartition(" ")[2]


@asynccontextmanager
async def serving(
    workspace: Path, asked: Listening | None = None, env: dict[str, str] | None = None
) -> AsyncGenerator[Serving]:
    """Serve on a free port, until the block ends: then as a signal ends it."""
    found = Serving()

    async def run() -> None:
        await serve(Place(workspace), asked or Listening(port=0), env or {}, found.say)
        found.over.set()

    async with anyio.create_task_group() as group:
        group.start_soon(run)
        with anyio.fail_after(20):
            await found.ready.wait()
            async with httpx2.AsyncClient(base_url=found.base) as client:
                assert (await client.get("/api/v1")).status_code == 200
        yield found
        # Once it is over nobody waits for the signal, which would end the tests.
        if not found.over.is_set():
            os.kill(os.getpid(), signal.SIGTERM)
        with anyio.fail_after(20):
            await found.over.wait()


async def add_admin(workspace: Path) -> None:
    tables = open_tables(workspace)
    users = UserService(
        tables.stores, passwords=Argon2Passwords(), clock=SystemClock(), ids=Uuids()
    )
    await users.add(email="ann@x.org", username="ann", password="long enough", role="admin")
    await tables.aclose()


async def test_without_users_a_token_is_made_and_told_once(tmp_path: Path) -> None:
    async with serving(tmp_path) as server, httpx2.AsyncClient(base_url=server.base) as client:
        assert (await client.get("/api/v1/agents")).status_code == 401
        headers = {"Authorization": f"Bearer {server.token}"}
        assert (await client.get("/api/v1/agents", headers=headers)).status_code == 200
    said = "\n".join(server.lines)
    assert said.count(server.token) == 1
    assert len(server.token) >= 43
    assert server.token not in "".join(
        file.read_text(errors="replace") for file in tmp_path.rglob("*") if file.is_file()
    )


async def test_with_an_admin_no_token_is_told(tmp_path: Path) -> None:
    await add_admin(tmp_path)
    async with serving(tmp_path) as server, httpx2.AsyncClient(base_url=server.base) as client:
        body = {"email": "ann@x.org", "password": "long enough"}
        signed_in = await client.post("/api/v1/auth/login", json=body)
    assert signed_in.status_code == 200
    assert not [line for line in server.lines if "Token" in line]


async def test_the_environments_token_is_believed_and_never_told(tmp_path: Path) -> None:
    env = {"PERSTACK_SERVER_TOKEN": TOKEN}
    async with (
        serving(tmp_path, env=env) as server,
        httpx2.AsyncClient(base_url=server.base, headers={"x-api-key": TOKEN}) as client,
    ):
        assert (await client.get("/api/v1/agents")).status_code == 200
    assert TOKEN not in "".join(server.lines)


async def test_without_authentication_everybody_on_this_machine_may(tmp_path: Path) -> None:
    async with (
        serving(tmp_path, Listening(port=0, no_auth=True)) as server,
        httpx2.AsyncClient(base_url=server.base) as client,
    ):
        assert (await client.get("/api/v1/agents")).status_code == 200
        assert (await client.get("/api/v1/auth/me")).json()["role"] == "admin"


@pytest.mark.parametrize(
    ("asked", "env", "said"),
    [
        (Listening(host="0.0.0.0", port=0, no_auth=True), {}, "--no-auth is for this machine"),
        (Listening(host="0.0.0.0", port=0), {}, "there is no admin"),
        (Listening(port=0), {"PERSTACK_SERVER_TOKEN": "short"}, "at least 32 characters"),
        (Listening(port=0), {"JWT_SECRET": "short"}, "at least 32 bytes"),
        (Listening(port=0, origins=frozenset({"*"})), {}, "is no origin"),
        (Listening(host="no such host", port=0), {}, "is no address"),
    ],
)
async def test_what_would_let_anybody_in_is_refused(
    tmp_path: Path, asked: Listening, env: dict[str, str], said: str
) -> None:
    with pytest.raises(UsageError, match=said):
        await serve(Place(tmp_path), asked, env, lambda line: None)


async def test_a_port_that_is_taken_is_said(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ConflictError, match="cannot be listened on") as raised:
            await serve(Place(tmp_path), Listening(port=port), {}, lambda line: None)
    assert raised.value.hint is not None
    assert "--port" in raised.value.hint


async def test_an_address_of_another_machine_is_said_to_be_one(tmp_path: Path) -> None:
    asked = Listening(host="192.0.2.1", port=0)
    env = {"PERSTACK_SERVER_TOKEN": TOKEN}
    with pytest.raises(ConflictError, match="cannot be listened on") as raised:
        await serve(Place(tmp_path), asked, env, lambda line: None)
    assert raised.value.hint == "--host must be an address of this machine"


async def exchange(port: int, request: bytes) -> bytes:
    """Send bytes as they are, and return what came until the server closed."""
    stream: SocketStream
    async with await anyio.connect_tcp("127.0.0.1", port) as stream:
        await stream.send(request)
        return await until_closed(stream)


async def until_closed(stream: SocketStream) -> bytes:
    received = b""
    with anyio.fail_after(20):
        while True:
            try:
                received += await stream.receive()
            except (anyio.EndOfStream, anyio.BrokenResourceError):
                return received


@pytest.mark.parametrize(
    "path", ["/../../etc/passwd", "/%2e%2e/%2e%2e/etc/passwd", "/api/v1/..%2f..%2fetc/passwd"]
)
async def test_raw_paths_that_climb_lead_nowhere(tmp_path: Path, path: str) -> None:
    async with serving(tmp_path) as server:
        request = f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
        answer = await exchange(server.port, request.encode())
    assert answer.startswith(b"HTTP/1.1 404")
    assert b"root:" not in answer


async def test_a_huge_body_is_refused_before_it_is_read(tmp_path: Path) -> None:
    async with serving(tmp_path) as server:
        head = (
            "POST /api/v1/auth/login HTTP/1.1\r\nHost: localhost\r\n"
            "Content-Type: application/json\r\nContent-Length: 104857600\r\n\r\n"
        )
        answer = await exchange(server.port, head.encode() + b"{")
    assert answer.startswith(b"HTTP/1.1 413")


async def test_a_body_that_is_refused_is_never_taken_for_requests(tmp_path: Path) -> None:
    inner = b"GET /openapi.json HTTP/1.1\r\nHost: localhost\r\n\r\n"
    body = inner * 30_000
    head = "POST /api/v1/auth/login HTTP/1.1\r\nHost: localhost\r\n"
    head += f"Content-Length: {len(body)}\r\n\r\n"
    last = b"GET /none HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
    async with serving(tmp_path) as server:
        answer = await exchange(server.port, head.encode() + body + last)
    assert re.findall(rb"HTTP/1\.1 (\d+)", answer) == [b"413", b"404"]


async def test_what_is_no_http_after_an_answer_ends_the_connection_and_is_no_fault(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    head = b"POST /.. HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"
    async with (
        serving(tmp_path) as server,
        await anyio.connect_tcp("127.0.0.1", server.port) as stream,
    ):
        await stream.send(head)
        assert (await stream.receive()).startswith(b"HTTP/1.1 404")
        await stream.send(b"no chunk\r\n")
        assert b"HTTP/" not in await until_closed(stream)
    assert [one for one in caplog.records if one.levelno >= logging.ERROR] == []


async def test_a_client_that_never_asks_anything_is_let_go(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with serving(tmp_path) as server:
        monkeypatch.setattr(connections, "HEAD_WITHIN_S", 0.01)
        assert await exchange(server.port, b"GET / HTTP/1.1\r\nHost: loc") == b""


async def test_a_client_that_never_reads_is_cut_off(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    process = psutil.Process()

    def served() -> int:
        return sum(
            one.laddr.port == server.port and one.status == psutil.CONN_ESTABLISHED
            for one in process.net_connections("tcp")
            if one.raddr
        )

    async with serving(tmp_path) as server:
        monkeypatch.setattr(connections, "READS_WITHIN_S", 0.1)
        async with await anyio.connect_tcp("127.0.0.1", server.port) as stream:
            await stream.send(b"GET /openapi.json HTTP/1.1\r\nHost: localhost\r\n\r\n" * 100)
            await until(lambda: served() > 0)
            await until(lambda: served() == 0)


async def test_more_connections_than_there_is_room_for_are_closed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with serving(tmp_path) as server:
        monkeypatch.setattr(connections, "MOST", 2)
        first = await anyio.connect_tcp("127.0.0.1", server.port)
        second = await anyio.connect_tcp("127.0.0.1", server.port)
        third = await anyio.connect_tcp("127.0.0.1", server.port)
        async with first, second, third:
            assert await until_closed(third) == b""
            await first.send(b"GET /api/v1 HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert (await first.receive()).startswith(b"HTTP/1.1 200")


async def test_1_000_connections_cost_little_and_others_are_answered(tmp_path: Path) -> None:
    process = psutil.Process()
    async with serving(tmp_path) as server, AsyncExitStack() as stack:
        before = process.memory_info().rss
        for _ in range(1_000):
            opened = await anyio.connect_tcp("127.0.0.1", server.port)
            await stack.enter_async_context(opened)
            await opened.send(b"GET /api/v1 HTTP/1.1\r\n")
        async with httpx2.AsyncClient(base_url=server.base) as client:
            assert (await client.get("/api/v1")).status_code == 200
        # Both ends of each are in this process.
        assert process.memory_info().rss - before < 100 * 1024 * 1024


async def test_a_follower_does_not_hold_up_the_end(tmp_path: Path) -> None:
    env = {"PERSTACK_SERVER_TOKEN": TOKEN}
    async with serving(tmp_path, env=env) as server:
        head = f"GET /events HTTP/1.1\r\nHost: localhost\r\nx-api-key: {TOKEN}\r\n\r\n"
        stream = await anyio.connect_tcp("127.0.0.1", server.port)
        await stream.send(head.encode())
        assert (await stream.receive()).startswith(b"HTTP/1.1 200")
        os.kill(os.getpid(), signal.SIGTERM)
        async with stream:
            await until_closed(stream)
        with anyio.fail_after(10):
            await server.over.wait()


async def test_the_program_serves_and_ends_with_0_at_a_signal(tmp_path: Path) -> None:
    program = Program.make(tmp_path, "")
    async with program.running("serve", "--port", "0") as running:
        await running.wait_for(lambda: b"Ctrl-C" in running.err)
        base = re.search(r"http://[^ ]+:\d+", running.err.decode())
        assert base is not None
        async with httpx2.AsyncClient(base_url=base[0]) as client:
            assert (await client.get("/api/v1/system/health/live")).status_code == 200
        running.send(signal.SIGINT)
        ran = await running.ended()
    assert (ran.code, ran.stdout) == (0, "")
    assert "Traceback" not in ran.stderr


def upgrade(path: str, *lines: str) -> bytes:
    asked = (
        f"GET {path} HTTP/1.1",
        "Host: localhost",
        "Connection: Upgrade",
        "Upgrade: websocket",
        "Sec-WebSocket-Version: 13",
        "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==",
        *lines,
    )
    return ("\r\n".join(asked) + "\r\n\r\n").encode()


async def test_a_refused_websocket_is_no_alarm_in_the_log(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with serving(tmp_path) as server:
        answer = await exchange(server.port, upgrade("/ws", "Origin: http://elsewhere.example"))
    assert answer.startswith(b"HTTP/1.1 403")
    assert [record.getMessage() for record in caplog.records if "uvicorn" in record.name] == []


async def test_what_goes_wrong_is_in_the_log_file_and_tokens_are_not(tmp_path: Path) -> None:
    program = Program.make(tmp_path, TEAM)
    env = {"PERSTACK_SERVER_TOKEN": TOKEN, "PERSTACK_LOG_LEVEL": "DEBUG"}
    async with (
        program.running("serve", "--port", "0", env=env) as running,
        client_of(running) as client,
    ):
        stream = await anyio.connect_tcp("127.0.0.1", int(client.base_url.port or 0))
        async with stream:
            await stream.send(upgrade(f"/ws?token={TOKEN}"))
            assert (await stream.receive()).startswith(b"HTTP/1.1 101")
        (program.workspace / "perstack.toml").write_text("[broken")

        async def is_told() -> None:
            while b"the definitions before it stay" not in running.err:
                await client.get("/api/v1/experts")

        with anyio.fail_after(20):
            await is_told()
        running.send(signal.SIGTERM)
        assert (await running.ended()).code == 0
    kept = (program.workspace / "perstack" / "logs" / "perstack.log").read_text()
    assert "is not valid TOML" in kept
    assert TOKEN not in kept


async def test_a_job_at_work_stops_at_a_checkpoint_and_the_next_server_goes_on_with_it(
    tmp_path: Path,
) -> None:
    program = Program.make(tmp_path, TEAM, scenario=ENDLESS)
    env = {"PERSTACK_SERVER_TOKEN": TOKEN}
    async with program.running("serve", "--port", "0", env=env) as running:
        async with client_of(running) as client:
            asked = {"expert": "writer", "query": "go"}
            begun = await client.post("/api/v1/jobs", json=asked)
            assert begun.status_code == 202
            path = f"/api/v1/jobs/{begun.json()['data']['jobId']}"
            await becomes(client, path.removeprefix(API), lambda job: job["steps"] >= 2)
        running.send(signal.SIGTERM)
        ran = await running.ended()
    assert ran.code == 0
    (program.workspace / "scenario.toml").write_text(SAYS)
    async with (
        program.running("serve", "--port", "0", env=env) as running,
        client_of(running) as client,
    ):
        left = (await client.get(path)).json()["data"]
        assert left["state"] == "stopped"
        assert (await client.post(f"{path}/continue", json={})).status_code == 202
        await becomes(client, path.removeprefix(API), lambda job: job["state"] == "completed")


@asynccontextmanager
async def client_of(running: Running) -> AsyncGenerator[httpx2.AsyncClient]:
    await running.wait_for(lambda: b"Ctrl-C" in running.err)
    base = re.search(r"http://[^ ]+:\d+", running.err.decode())
    assert base is not None
    async with httpx2.AsyncClient(base_url=base[0], headers={"x-api-key": TOKEN}) as client:
        yield client
