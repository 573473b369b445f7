"""What `perstack create` finds out by itself: Ollama's models, and nothing it must wait for."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import anyio.abc
import pytest

from perstack.cli.create_detect import detect, local_models

pytestmark = pytest.mark.anyio
TWO = b'{"models": [{"name": "qwen3:8b", "size": 1}, {"name": "gpt-oss:20b"}]}'


@asynccontextmanager
async def answering(said: bytes, *, hangs: bool = False) -> AsyncGenerator[str]:
    """A server that answers whatever it is asked with these bytes."""

    async def answer(stream: anyio.abc.SocketStream) -> None:
        async with stream:
            await stream.receive()
            await stream.send(said)
            if hangs:
                await anyio.sleep_forever()

    listener = await anyio.create_tcp_listener(local_host="127.0.0.1")
    async with listener, anyio.create_task_group() as group:
        group.start_soon(listener.serve, answer)
        port = listener.extra(anyio.abc.SocketAttribute.local_port)
        yield f"http://127.0.0.1:{port}"
        group.cancel_scope.cancel()


def ok(body: bytes, status: str = "200 OK") -> bytes:
    head = f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    return head.encode() + body


@pytest.mark.parametrize("suffix", ["", "/", "/v1", "/api"])
async def test_the_models_of_ollama_are_found_however_its_address_is_written(suffix: str) -> None:
    async with answering(ok(TWO)) as url:
        assert await local_models({"OLLAMA_BASE_URL": url + suffix}) == ("qwen3:8b", "gpt-oss:20b")


@pytest.mark.parametrize(
    "said",
    [
        ok(b"[]"),
        ok(b"not json"),
        ok(b'{"models": "none"}'),
        ok(TWO, "500 Broken"),
        ok(TWO, "302 Elsewhere"),
        ok(b'{"models": [' + b" " * 2_000_000 + b"]}"),
        ok(TWO)[:-10],
        b"SSH-2.0-OpenSSH\r\n",
        b"",
    ],
)
async def test_what_is_no_ollama_is_not_offered(said: bytes) -> None:
    async with answering(said) as url:
        assert await local_models({"OLLAMA_BASE_URL": url}) is None


async def test_a_server_that_never_answers_is_given_up() -> None:
    async with answering(ok(TWO)[:-10], hangs=True) as url:
        with anyio.fail_after(20):
            assert await local_models({"OLLAMA_BASE_URL": url}) is None


@pytest.mark.parametrize("url", ["http://127.0.0.1:9", "ftp://x", "not a url", "http://"])
async def test_an_address_where_nobody_is_finds_nothing(url: str) -> None:
    assert await local_models({"OLLAMA_BASE_URL": url}) is None


async def test_a_name_that_would_act_on_a_terminal_is_left_out() -> None:
    evil = b'{"models": [{"name": "a\\u001b[2J"}, {"name": "fine"}]}'
    async with answering(ok(evil)) as url:
        assert await local_models({"OLLAMA_BASE_URL": url}) == ("fine",)


async def test_keys_and_programs_are_found_by_the_environment(tmp_path: Path) -> None:
    program = tmp_path / "codex"
    program.write_text("#!/bin/sh\necho 'codex-cli 0.50.0'\n")
    program.chmod(0o755)
    env = {
        "PATH": str(tmp_path),
        "GOOGLE_GENERATIVE_AI_API_KEY": "k",
        "OLLAMA_BASE_URL": "http://127.0.0.1:9",
    }
    found = await detect(env, tmp_path)
    assert found.vendors == ("google",)
    assert [one.name for one in found.programs] == ["codex"]
    assert found.models is None
