"""`perstack registry`: serving one, its organisations and its keys."""

from __future__ import annotations

import json
import re
import signal
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import pytest
from typer.testing import CliRunner

from perstack.cli.app import app
from perstack.domain.registry import API
from perstack.errors import ConflictError, NotFoundError, UsageError
from perstack.serving.registry.server import Listening, serve
from tests.fakes.cli import Program
from tests.fakes.registry_calls import calling, expert_in, reason_in
from tests.fakes.registry_server import registry_running
from tests.fakes.stored import typed


def registry(workspace: Path, *words: str) -> str:
    """Run `perstack registry ...` in a folder, and return what it printed."""
    return typed("registry", *words, "--workspace", str(workspace)).stdout


def told(workspace: Path, *words: str) -> dict[str, object]:
    return json.loads(registry(workspace, *words, "--json"))


def test_a_key_is_printed_once_alone_on_standard_output(tmp_path: Path) -> None:
    registry(tmp_path, "org", "add", "acme")
    made = typed("registry", "key", "add", "--org", "acme", "--workspace", str(tmp_path))
    assert re.fullmatch(r"psr_[A-Za-z0-9_-]{43}\n", made.stdout)
    assert "not shown again" in made.stderr
    assert made.stdout.strip() not in made.stderr
    listed = registry(tmp_path, "key", "list")
    assert made.stdout[:12] in listed
    assert made.stdout.strip() not in listed + registry(tmp_path, "key", "list", "--json")


def test_a_key_of_the_command_line_publishes_and_is_revoked_by_how_it_begins(
    tmp_path: Path,
) -> None:
    registry(tmp_path, "org", "add", "acme")
    key = registry(tmp_path, "key", "add", "--org", "acme", "--expires", "90d").strip()

    async def publish(url: str, version: str) -> int:
        async with calling(url, key) as calls:
            return (await calls.publish(version=version)).status_code

    with registry_running(tmp_path, orgs=()) as server:
        assert anyio.run(publish, server.url, "1.0.0") == 200
        assert registry(tmp_path, "key", "revoke", key[:12]) == f"Revoked {key[:12]}.\n"
        assert anyio.run(publish, server.url, "2.0.0") == 401
    (kept,) = json.loads(registry(tmp_path, "key", "list", "--json"))["keys"]
    assert kept["prefix"] == key[:12]
    assert kept["revokedAt"]
    assert kept["lastUsedAt"]
    assert kept["expiresAt"] > kept["createdAt"]


def test_scopes_are_those_that_were_named(tmp_path: Path) -> None:
    made = told(tmp_path, "org", "add")
    assert "name" not in made or made["name"] is None
    organisation = str(made["id"])
    registry(tmp_path, "key", "add", "--org", organisation, "--scope", "read")
    registry(tmp_path, "key", "add", "--org", organisation, "--scope", "manage", "--scope", "read")
    kept = json.loads(registry(tmp_path, "key", "list", "--json"))["keys"]
    assert [each["scopes"] for each in kept] == [["read"], ["read", "manage"]]


def test_lists_of_a_folder_without_tables_are_empty_and_make_none(tmp_path: Path) -> None:
    none = registry(tmp_path, "org", "list")
    assert none == "There are no organisations. To add one: perstack registry org add NAME\n"
    none = registry(tmp_path, "key", "list")
    assert none == "There are no keys. To make one: perstack registry key add --org NAME\n"
    assert json.loads(registry(tmp_path, "org", "list", "--json")) == {
        "count": 0,
        "organisations": [],
    }
    assert list(tmp_path.iterdir()) == []


def test_organisations_are_listed_with_their_ids(tmp_path: Path) -> None:
    made = [told(tmp_path, "org", "add", "acme"), told(tmp_path, "org", "add")]
    listed = registry(tmp_path, "org", "list")
    for each in made:
        assert str(each["id"]) in listed
    assert "acme" in listed


@pytest.mark.parametrize(
    ("words", "error", "about"),
    [
        (("org", "add", "@acme"), UsageError, "not the name"),
        (("org", "add", "acme"), ConflictError, "acme"),
        (("key", "add", "--org", "nobody"), NotFoundError, "no organisation"),
        (("key", "add", "--org", "acme", "--scope", "all"), UsageError, "Invalid scope"),
        (("key", "add", "--org", "acme", "--expires", "soon"), UsageError, "is no time"),
        (("key", "add", "--org", "acme", "--expires", "0d"), UsageError, "is no time"),
        (("key", "add", "--org", "acme", "--expires", "99y"), UsageError, "ten years"),
        (("key", "revoke", "psr_"), NotFoundError, "no key"),
    ],
)
def test_what_cannot_be_is_refused(
    tmp_path: Path, words: tuple[str, ...], error: type[Exception], about: str
) -> None:
    registry(tmp_path, "org", "add", "acme")
    result = CliRunner().invoke(app, ["registry", *words, "--workspace", str(tmp_path)])
    assert isinstance(result.exception, error)
    assert about in str(result.exception)


class Told:
    """What a server says to the person at the terminal."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.ready = anyio.Event()

    def say(self, line: str) -> None:
        self.lines.append(line)
        if line.startswith("Ctrl-C"):
            self.ready.set()

    @property
    def text(self) -> str:
        return "\n".join(self.lines)


@asynccontextmanager
async def serving(workspace: Path, asked: Listening) -> AsyncGenerator[Told]:
    """Serve in this process, until the block ends."""
    said = Told()
    async with anyio.create_task_group() as group:
        group.start_soon(serve, workspace, asked, said.say)
        with anyio.fail_after(20):
            await said.ready.wait()
        yield said
        group.cancel_scope.cancel()


@pytest.mark.anyio
async def test_a_server_says_where_it_is_and_what_is_missing(tmp_path: Path) -> None:
    async with serving(tmp_path, Listening(port=0)) as said:
        found = re.search(r"PERSTACK_API_BASE_URL=(http://127\.0\.0\.1:\d+)$", said.text, re.M)
        assert found is not None
        assert f"{found[1]}{API}" in said.text
        assert "perstack registry org add" in said.text
        assert "TLS" not in said.text
        async with calling(found[1]) as calls:
            assert (await calls.search()).json()["meta"]["total"] == 0


@pytest.mark.anyio
async def test_a_server_that_others_reach_says_that_keys_can_be_read(tmp_path: Path) -> None:
    asked = Listening(host="0.0.0.0", port=0, private=True, names=frozenset({"box"}))
    async with serving(tmp_path, asked) as said:
        assert "put it behind TLS" in said.text
        assert "reading needs a key" in said.text
        assert "PERSTACK_API_BASE_URL" not in said.text
        port = re.search(r":(\d+)/api", said.text)
        assert port is not None
        async with calling(f"http://127.0.0.1:{port[1]}") as calls:
            for host, status in (("10.1.2.3", 401), ("Box:99", 401), ("evil.org", 403)):
                answered = await calls.client.get(f"{API}/", headers={"Host": host})
                assert reason_in(answered, status)


@pytest.mark.anyio
async def test_a_port_that_is_taken_is_said(tmp_path: Path) -> None:
    with registry_running(tmp_path) as server, pytest.raises(ConflictError, match="listened on"):
        await serve(tmp_path, Listening(port=server.port), lambda _: None)


@pytest.mark.anyio
@pytest.mark.timeout(120)
async def test_the_program_serves_until_it_is_told_to_end(tmp_path: Path) -> None:
    await anyio.to_thread.run_sync(registry, tmp_path, "org", "add", "acme")
    made = await anyio.to_thread.run_sync(registry, tmp_path, "key", "add", "--org", "acme")
    program = Program.make(tmp_path, "")
    async with program.running("registry", "serve", "--port", "0") as running:
        await running.wait_for(lambda: b"Ctrl-C" in running.err)
        found = re.search(r"PERSTACK_API_BASE_URL=(\S+)", running.err.decode())
        assert found is not None
        async with calling(found[1], made.strip()) as calls:
            expert_in(await calls.publish())
        running.send(signal.SIGTERM)
        ran = await running.ended()
    assert ran.code == 0
    assert ran.stdout == ""
