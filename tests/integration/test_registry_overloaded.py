"""A registry that is asked for too much, or cannot answer: what its clients are told and do."""

from __future__ import annotations

import socket
import sqlite3
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager, closing, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Final, NoReturn, cast

import anyio
import anyio.abc
import httpx2
import pytest

from perstack.config.registry_place import RegistryPlace
from perstack.domain.registry import API, ExpertQuery, parse_key
from perstack.errors import RegistryRefusedError, RegistryUnreachableError
from perstack.integrations import registry_client
from perstack.integrations.registry_client import HttpRegistry
from perstack.serving.http import connections
from perstack.serving.http.rules import Rules
from perstack.storage.database import opener
from tests.fakes.cli import Program, Ran
from tests.fakes.registry_refusals import version
from tests.fakes.registry_relay import Change, registry_relay, telling
from tests.fakes.registry_server import (
    Bound,
    RegistryServer,
    registry_running,
    registry_server,
)
from tests.fakes.registry_wire import Asked

pytestmark = pytest.mark.anyio

WRITER: Final = """
[experts."@acme/writer"]
instruction = "You write what you are asked to write, and then you write it again, but shorter."
"""


@asynccontextmanager
async def asking(url: str, key: str | None = None) -> AsyncGenerator[HttpRegistry]:
    registry = HttpRegistry(RegistryPlace(url, key))
    try:
        yield registry
    finally:
        await registry.aclose()


def one_at_once(rules: Rules) -> Rules:
    return replace(rules, requests_at_once=1, body_s=60.0)


@contextmanager
def slot_taken(server: RegistryServer) -> Generator[socket.socket]:
    """Take a place among the requests that are answered at once, until the socket is closed."""
    lines = (f"POST {API}/ HTTP/1.1", "Host: localhost", f"Authorization: Bearer {server.key()}")
    with socket.create_connection(("127.0.0.1", server.port)) as holder:
        holder.sendall("\r\n".join((*lines, "Content-Length: 10", "", "")).encode())
        until_answered(server, 503)
        yield holder


def until_answered(server: RegistryServer, status: int) -> None:
    """Ask until that is the answer, at most 2,000 times."""
    with httpx2.Client() as client:
        for _ in range(2_000):
            if client.get(f"{server.url}{API}/").status_code == status:
                return
    raise AssertionError(f"it never answered {status}")


async def send_for_ever(stream: anyio.abc.ByteSendStream) -> NoReturn:
    while True:
        await stream.send(b"x" * 65_536)


@contextmanager
def held(folder: Path) -> Generator[None]:
    """Let nobody else write to the tables meanwhile."""
    with closing(sqlite3.connect(opener.database_path(folder), isolation_level=None)) as tables:
        tables.execute("BEGIN IMMEDIATE")
        yield


async def test_who_sends_far_too_much_is_told_so_while_it_is_still_being_sent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(registry_client, "DEFINITION_BYTES", 1 << 30)
    async with registry_server(tmp_path) as server, asking(server.url, server.key()) as registry:
        with pytest.raises(RegistryRefusedError, match=r"larger than 3,145,728 bytes") as told:
            await registry.publish(version("@acme/x", instruction="x" * 30_000_000))
        assert (await registry.search(ExpertQuery())).total == 0
    assert told.value.status == 413


async def test_who_never_stops_sending_is_cut_off(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with registry_server(tmp_path) as server:
        lines = (f"POST {API}/ HTTP/1.1", "Host: localhost", "Content-Length: 1000000000000")
        head = "\r\n".join((*lines, f"Authorization: Bearer {server.key()}", "", ""))
        async with await anyio.connect_tcp("127.0.0.1", server.port) as stream:
            await stream.send(head.encode())
            assert (await stream.receive()).startswith(b"HTTP/1.1 413 ")
            monkeypatch.setattr(connections, "HEAD_WITHIN_S", 0.01)
            with anyio.fail_after(20), pytest.raises(anyio.BrokenResourceError):
                await send_for_ever(stream)


async def test_tables_that_somebody_holds_are_told_as_busy_and_when_to_come_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usual = cast("dict[str, object]", opener.open_stores.__kwdefaults__)
    monkeypatch.setitem(usual, "busy_s", 0.1)
    async with registry_server(tmp_path) as server, asking(server.url, server.key()) as registry:
        await registry.search(ExpertQuery())  # so that the use of the key is noted already
        with held(tmp_path), pytest.raises(RegistryUnreachableError) as told:
            await registry.publish(version("@acme/x"))
    assert "cannot answer now (HTTP 503): the registry is busy, ask again" in told.value.message
    assert told.value.hint == "try again in 1 s"


async def test_what_is_damaged_in_the_tables_is_told_and_the_log_alone_says_what(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with registry_server(tmp_path) as server, asking(server.url, server.key()) as registry:
        await registry.publish(version("@acme/x"))
        with closing(sqlite3.connect(opener.database_path(tmp_path))) as tables, tables:
            tables.execute("UPDATE registry_versions SET definition = '{}'")
        with pytest.raises(RegistryUnreachableError) as told:
            await registry.find(parse_key("@acme/x"))
    why = "fails (HTTP 500): the registry could not answer; its log says why"
    assert told.value.message.endswith(why)
    assert "try again" in (told.value.hint or "")
    assert "the registry could not answer" in caplog.text


async def test_a_read_of_a_busy_registry_is_made_again_when_it_said(tmp_path: Path) -> None:
    requests: list[Asked] = []
    with registry_running(tmp_path, bound=one_at_once) as server, slot_taken(server) as holder:

        def freed_meanwhile(asked: Asked) -> Asked:
            requests.append(asked)
            if len(requests) == 2:
                holder.close()
                until_answered(server, 200)
            return asked

        with registry_relay(server.url, freed_meanwhile) as relay:
            async with asking(relay.url) as registry:
                assert (await registry.search(ExpertQuery())).total == 0
    assert len(requests) == 2


async def test_what_would_change_something_is_not_sent_again_to_a_busy_registry(
    tmp_path: Path,
) -> None:
    with registry_running(tmp_path, bound=one_at_once) as server, slot_taken(server) as holder:
        async with asking(server.url, server.key()) as registry:
            with pytest.raises(RegistryUnreachableError, match="The server is busy") as told:
                await registry.publish(version("@acme/x"))
            holder.close()
            until_answered(server, 200)
            assert (await registry.publish(version("@acme/x"))).version == "1.0.0"
    assert told.value.hint == "try again in 1 s"


TYPED: Final[dict[str, tuple[str, Bound, str, str]]] = {
    "search, too often": (
        "search writer",
        lambda rules: replace(rules, per_s=0.1, burst=0),
        "the registry at HOST was asked too often and answers again in 10 s",
        "try again in 10 s",
    ),
    "publish, too often": (
        "publish @acme/writer",
        lambda rules: replace(rules, per_s=0.1, burst=0),
        "the registry at HOST was asked too often and answers again in 10 s",
        "try again in 10 s",
    ),
    "search, busy": (
        "search writer",
        lambda rules: replace(rules, requests_at_once=0),
        "the registry at HOST cannot answer now (HTTP 503): The server is busy: come again",
        "try again in 1 s",
    ),
    "publish, busy": (
        "publish @acme/writer",
        lambda rules: replace(rules, requests_at_once=0),
        "the registry at HOST cannot answer now (HTTP 503): The server is busy: come again",
        "try again in 1 s",
    ),
    "publish, too large": (
        "publish @acme/writer",
        lambda rules: replace(rules, body_bytes=100),
        "publishing @acme/writer@1.0.0 failed: The body is larger than 100 bytes",
        "what is published of one Expert is at most 1 MB",
    ),
    "publish, too slow": (
        "publish @acme/writer",
        lambda rules: replace(rules, body_s=0.05),
        "publishing @acme/writer@1.0.0 failed: The body did not arrive in time",
        "try again where the network is faster",
    ),
}


async def typed(folder: Path, command: str, url: str, key: str) -> Ran:
    """What the program does with a registry and a key for it."""
    env = {"PERSTACK_API_BASE_URL": url, "PERSTACK_API_KEY": key}
    return await Program.make(folder, WRITER, env=env).run(*command.split())


def check_told(ran: Ran, error: str, hint: str) -> None:
    """Check that it failed with one sentence and what to do, and printed no result."""
    assert (ran.code, ran.stdout) == (1, ""), ran
    *_, said, remedy = ran.stderr.splitlines()
    assert (said, remedy) == (f"Error: {error}", f"Hint: {hint}")
    assert ran.stderr.count("Error: ") == 1
    assert "Traceback" not in ran.stderr


@pytest.mark.parametrize("case", TYPED)
async def test_a_command_says_in_one_sentence_what_the_registry_has_no_room_for(
    tmp_path: Path, case: str
) -> None:
    command, bound, error, hint = TYPED[case]
    held_back = 1 if "slow" in case else 0
    with (
        registry_running(tmp_path / "registry", bound=bound) as server,
        registry_relay(server.url, held_back=held_back) as relay,
    ):
        ran = await typed(tmp_path / "work", command, relay.url, server.key())
    check_told(ran, error.replace("HOST", relay.url.removeprefix("http://")), hint)


ALTERED: Final[dict[str, tuple[Change, str, str]]] = {
    "another type": (
        telling(content_type="text/plain"),
        "Only JSON is taken: send Content-Type: application/json",
        "what was sent was changed on its way: is there a proxy before the registry?",
    ),
    "another host": (
        telling(host="registry.example"),
        "Host not allowed: perstack registry serve --allow-host NAME",
        "use the name it is known by, or ask who runs it to allow this one",
    ),
}


@pytest.mark.parametrize("case", ALTERED)
async def test_a_command_says_what_a_proxy_did_to_its_request(tmp_path: Path, case: str) -> None:
    change, error, hint = ALTERED[case]
    with (
        registry_running(tmp_path / "registry") as server,
        registry_relay(server.url, change) as relay,
    ):
        ran = await typed(tmp_path / "work", "publish @acme/writer", relay.url, server.key())
    check_told(ran, f"publishing @acme/writer@1.0.0 failed: {error}", hint)
