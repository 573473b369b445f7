"""Who and what the MCP server refuses over HTTP, and that it lives on."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from pathlib import Path

import anyio
import httpx2
import pytest
from starlette.types import Message, Receive, Scope, Send

from perstack.errors import UsageError
from perstack.serving.mcp import http
from perstack.serving.mcp.guard import BODY_LIMIT, Guard
from perstack.serving.mcp.http import Listening
from tests.fakes.mcp_http_door import ACCEPTS, INITIALIZE, KNOWN, http_client, http_door

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("mode", ["auto", "legacy"])
async def test_the_official_client_lists_and_calls_tools(tmp_path: Path, mode: str) -> None:
    async with http_door(tmp_path) as url, http_client(url, mode=mode) as client:
        names = {tool.name for tool in (await client.list_tools()).tools}
        assert {"agent_list", "expert_run"} <= names
        result = await client.call_tool("agent_types", {})
        assert result.structured_content is not None
        assert result.structured_content["count"] >= 11


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        (ACCEPTS, 401),
        ({**ACCEPTS, "Authorization": "Bearer wrong"}, 401),
        ({**ACCEPTS, "Authorization": "Basic dTpw"}, 401),
        ({**KNOWN, "Host": "evil.example"}, 403),
        ({**KNOWN, "Host": "127.0.0.1.evil.example:80"}, 403),
        ({**KNOWN, "Host": "["}, 403),
        ({**KNOWN, "Origin": "https://evil.example"}, 403),
        ({**KNOWN, "Origin": "null"}, 403),
        (KNOWN, 200),
        ({**KNOWN, "Origin": "http://localhost:3000"}, 200),
    ],
)
async def test_only_who_is_known_and_from_here_is_let_in(
    tmp_path: Path, headers: dict[str, str], status: int
) -> None:
    async with http_door(tmp_path) as url, httpx2.AsyncClient() as client:
        answer = await client.post(url, json=INITIALIZE, headers=headers)
        assert answer.status_code == status
        assert "Traceback" not in answer.text


async def test_a_body_that_is_too_large_is_refused_declared_or_not(tmp_path: Path) -> None:
    async def pieces() -> AsyncGenerator[bytes]:
        for _ in range(80):
            yield b"x" * 65_536

    async with http_door(tmp_path) as url, httpx2.AsyncClient(timeout=30) as client:
        headers = {**KNOWN, "Content-Type": "application/json"}
        declared = await client.post(url, content=b"x" * (BODY_LIMIT + 1), headers=headers)
        streamed = await client.post(url, content=pieces(), headers=headers)
        assert (declared.status_code, streamed.status_code) == (413, 413)
        assert (await client.post(url, json=INITIALIZE, headers=KNOWN)).status_code == 200


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (b"{", "application/json"),
        (b"[]", "application/json"),
        (b"[" * 100_000, "application/json"),
        (b"{}", "text/plain"),
        (b"\xff\xfe", "application/json"),
    ],
)
async def test_what_is_no_message_is_refused_and_the_next_is_served(
    tmp_path: Path, content: bytes, kind: str
) -> None:
    async with http_door(tmp_path) as url, httpx2.AsyncClient() as client:
        headers = {**KNOWN, "Content-Type": kind}
        answer = await client.post(url, content=content, headers=headers)
        assert 400 <= answer.status_code < 500
        assert (await client.post(url, json=INITIALIZE, headers=KNOWN)).status_code == 200


async def test_sessions_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "MOST_SESSIONS", 2)
    async with http_door(tmp_path) as url, httpx2.AsyncClient() as client:
        opened = [
            (await client.post(url, json=INITIALIZE, headers=KNOWN)).status_code for _ in range(3)
        ]
        assert opened == [200, 200, 503]


async def test_another_path_is_not_found(tmp_path: Path) -> None:
    async with http_door(tmp_path) as url, httpx2.AsyncClient() as client:
        answer = await client.get(url.replace("/mcp", "/etc/passwd"), headers=KNOWN)
        assert answer.status_code == 404


async def test_a_body_that_never_comes_is_waited_for_no_longer_than_the_limit() -> None:
    sent: list[Message] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        pytest.fail("it was handed on")

    async def receive() -> Message:
        await anyio.sleep_forever()
        raise AssertionError

    async def send(message: Message) -> None:
        sent.append(message)

    scope = {"type": "http", "method": "POST", "path": "/mcp", "headers": [(b"host", b"localhost")]}
    guard = Guard(app, hosts=["localhost"], token=None, body_within_s=0.01)
    with anyio.fail_after(10):
        await guard(scope, receive, send)
    assert sent[0]["status"] == 408


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "example.com"])
async def test_an_address_that_others_reach_needs_a_token(host: str) -> None:
    with pytest.raises(UsageError, match="token"):
        Listening(host).check()
    Listening(host, token="x" * 16).check()


async def test_a_port_that_is_taken_is_said(tmp_path: Path) -> None:
    async with http_door(tmp_path) as url:
        port = int(url.split(":")[2].removesuffix("/mcp"))
        with pytest.raises(UsageError, match=f"port {port} cannot be listened on"):
            await anyio.to_thread.run_sync(http.bound_to, Listening(port=port))
