"""Experts of a registry, run by name: the real program against a real registry.

The scripted provider stands in for a model.
"""

from __future__ import annotations

import signal
import socket
import sys
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Final

import pytest

from perstack.config.lock_pins import read_pins
from perstack.config.registry_place import RegistryPlace
from perstack.domain.registry import PublishRequest, Status, parse_key
from perstack.integrations.registry_client import HttpRegistry
from tests.fakes.cli import Program, Ran
from tests.fakes.registry_server import RegistryServer, registry_server
from tests.integration.test_cli_coordination import at_work, tables_of

pytestmark = pytest.mark.anyio

SCENARIO: Final = """
[[turns]]
expert = "lead"
turn = 1
calls = [{ tool = "helper", args = { query = "help" } }]
[[turns]]
expert = "asker"
turn = 1
calls = [{ tool = "ask", args = { question = "Which?" } }]
[[turns]]
text = "Your move."
"""
ENDLESS: Final = """
[defaults]
latency_ms = 20
[[turns]]
expert = "lead"
after = "now delegate"
calls = [{ tool = "helper", args = { query = "help" } }]
[[turns]]
expert = "lead"
after = "I helped"
text = "Done."
[[turns]]
expert = "lead"
calls = [{ tool = "listDirectory", args = { path = "." } }]
[[turns]]
text = "I helped."
"""
LEAD: Final = """
model = "scripted-1"
[provider]
providerName = "scripted"
[provider.setting]
scenario = "scenario.toml"
[experts."lead"]
instruction = "Lead."
delegates = ["@acme/helper"]
[experts."solo"]
instruction = "Work alone."
"""
SCRIPTED: Final = ("--provider", "scripted", "--scenario", "scenario.toml")
BASE: Final = {
    "@perstack/base": {"type": "mcpStdioSkill", "command": "npx", "packageName": "@perstack/base"}
}
WEB: Final = {
    "type": "mcpStdioSkill",
    "command": "npx",
    "packageName": "exa-mcp-server",
    "requiredEnv": ["EXA_API_KEY"],
}
ASK: Final = {
    "type": "interactiveSkill",
    "tools": {"ask": {"description": "Ask.", "inputJsonSchema": '{"type": "object"}'}},
}


class Author:
    """Publishes to the registry, as somebody else would; keeps what it published."""

    def __init__(self, server: RegistryServer) -> None:
        self._server = server
        self._keys = {True: server.key("acme"), False: server.key(None)}

    async def publish(
        self,
        name: str,
        version: str = "1.0.0",
        *,
        instruction: str = "You play.",
        delegates: Sequence[str] = (),
        skills: Mapping[str, object] | None = None,
    ) -> None:
        given = {
            "name": name,
            "version": version,
            "description": f"Does what {name} does.",
            "instruction": instruction,
            "skills": BASE | dict(skills or {}),
            "delegates": list(delegates),
        }
        registry = self._registry(name)
        try:
            await registry.publish(PublishRequest.model_validate(given))
        finally:
            await registry.aclose()

    async def set_status(self, key: str, status: Status) -> None:
        registry = self._registry(key)
        try:
            await registry.set_status(parse_key(key), status)
        finally:
            await registry.aclose()

    def _registry(self, name: str) -> HttpRegistry:
        return HttpRegistry(RegistryPlace(self._server.url, self._keys[name.startswith("@")]))


@pytest.fixture
async def server(tmp_path: Path) -> AsyncGenerator[RegistryServer]:
    async with registry_server(tmp_path / "registry") as server:
        yield server


@pytest.fixture
def author(server: RegistryServer) -> Author:
    return Author(server)


@pytest.fixture
def empty(tmp_path: Path, server: RegistryServer) -> Program:
    """A folder without a perstack.toml; only what the scripted model says is in it."""
    return in_empty_folder(tmp_path / "empty", server.url)


@pytest.fixture
def team(tmp_path: Path, server: RegistryServer) -> Program:
    """A project whose lead delegates to an Expert of the registry."""
    env = {"PERSTACK_API_BASE_URL": server.url}
    return Program.make(tmp_path / "team", LEAD, scenario=SCENARIO, env=env)


def in_empty_folder(folder: Path, url: str) -> Program:
    program = Program.make(folder, "", env={"PERSTACK_API_BASE_URL": url})
    (folder / "perstack.toml").unlink()
    (folder / "scenario.toml").write_text(SCENARIO)
    return program


def check(ran: Ran, code: int, *words: str) -> None:
    assert ran.code == code, ran.stderr
    assert "Traceback" not in ran.stderr
    for word in words:
        assert word in ran.stderr


def told(ran: Ran) -> list[tuple[str, str]]:
    """Who ended with what."""
    return [(event["expertKey"], event["text"]) for event in ran.all("completeRun")]


def lock_of(program: Program) -> Path:
    return program.workspace / "perstack.lock"


# ---------------------------------------------------------------- by name, anywhere


async def test_an_expert_of_the_registry_runs_by_name_in_an_empty_directory(
    author: Author, empty: Program
) -> None:
    await author.publish("tic-tac-toe")
    ran = await empty.run("start", "tic-tac-toe", "Let's play!", "--plain", "--yes", *SCRIPTED)
    check(ran, 0)
    assert "Your move." in ran.stdout
    assert sorted(path.name for path in empty.workspace.iterdir()) == ["perstack", "scenario.toml"]


async def test_what_it_would_do_is_listed_until_it_is_accepted_and_never_again(
    author: Author, empty: Program
) -> None:
    await author.publish("@acme/news", skills={"web": WEB}, instruction="Tell all \x1b[31mnews.")
    asked = ("run", "@acme/news", "go", *SCRIPTED)
    ran = await empty.run(*asked)
    check(ran, 1, "Instruction\n  Tell all", "news.", "is given      EXA_API_KEY")
    assert "\x1b" not in ran.stderr
    check(ran, 1, "have not been accepted yet", "run @acme/news@1.0.0 of acme", "sha256-")
    check(ran, 1, "start npx exa-mcp-server with EXA_API_KEY", "--yes")
    assert empty.jobs() == []
    await author.publish("@acme/tool")
    asked = ("run", "@acme/tool", "go", *SCRIPTED)
    check(await empty.run(*asked), 1, "@acme/tool@1.0.0")
    check(await empty.run(*asked, "--yes"), 0)
    once_more = await empty.run(*asked)
    check(once_more, 0)
    assert once_more.stderr == ""


async def test_what_was_accepted_counts_for_those_very_bytes_wherever_they_are_run(
    author: Author, empty: Program, tmp_path: Path
) -> None:
    await author.publish("@acme/tool")
    asked = ("run", "@acme/tool", "go", *SCRIPTED)
    check(await empty.run(*asked, "--yes"), 0)
    elsewhere = replace(empty, workspace=tmp_path / "elsewhere")
    elsewhere.workspace.mkdir()
    (elsewhere.workspace / "scenario.toml").write_text(SCENARIO)
    check(await elsewhere.run(*asked), 0)
    await author.publish("@acme/tool", "1.1.0", instruction="You play otherwise.")
    check(await elsewhere.run(*asked), 1, "@acme/tool@1.1.0")
    check(await elsewhere.run("run", "@acme/tool@1.0.0", "go", *SCRIPTED), 0)


async def test_once_resolved_it_runs_without_the_registry(
    author: Author, empty: Program, server: RegistryServer
) -> None:
    await author.publish("@acme/part")
    await author.publish("@acme/whole", delegates=["@acme/part"])
    asked = ("run", "@acme/whole", "go", *SCRIPTED)
    check(await empty.run(*asked, "--yes"), 0)
    server.stop()
    ran = await empty.run(*asked)
    check(ran, 0, "the registry cannot be reached", "@acme/whole@1.0.0", "as kept on this disk")
    check(await empty.run("run", "@acme/other", "go", *SCRIPTED), 1, "@acme/other", "not found")


async def test_a_deprecated_expert_is_warned_of_and_a_disabled_one_refused(
    author: Author, empty: Program
) -> None:
    await author.publish("@acme/tool")
    asked = ("run", "@acme/tool", "go", *SCRIPTED)
    check(await empty.run(*asked, "--yes"), 0)
    await author.set_status("@acme/tool@1.0.0", "deprecated")
    check(await empty.run(*asked), 0, "Warning: @acme/tool@1.0.0 is deprecated")
    await author.set_status("@acme/tool@1.0.0", "disabled")
    disabled = await empty.run("run", "@acme/tool@1.0.0", "go", *SCRIPTED)
    check(disabled, 1, "@acme/tool@1.0.0 is disabled")
    check(await empty.run(*asked), 1, "@acme/tool")
    assert len(empty.jobs()) == 2


async def test_a_changed_hash_under_the_same_version_is_an_error(
    author: Author, empty: Program, server: RegistryServer, tmp_path: Path
) -> None:
    await author.publish("@acme/tool")
    asked = ("run", "@acme/tool", "go", *SCRIPTED)
    check(await empty.run(*asked, "--yes"), 0)
    port = server.port
    server.stop()
    async with registry_server(tmp_path / "other", port=port) as other:
        await Author(other).publish("@acme/tool", instruction="You play something else.")
        check(await empty.run(*asked, "--yes"), 1, "@acme/tool@1.0.0 is not what")
    assert len(empty.jobs()) == 1


# ---------------------------------------------------------------- in a project


async def test_a_delegate_of_the_registry_is_fetched_pinned_and_stays_where_it_is(
    author: Author, team: Program
) -> None:
    await author.publish("@acme/helper")
    check(await team.run("run", "lead", "go"), 1, "run @acme/helper@1.0.0")
    assert team.jobs() == []
    ran = await team.run("run", "lead", "go", "--yes")
    check(ran, 0)
    assert told(ran) == [("@acme/helper", "Your move."), ("lead", "Your move.")]
    (pin,) = read_pins(lock_of(team)).values()
    assert (pin.key, pin.accepted) == ("@acme/helper@1.0.0", "yes")
    await author.publish("@acme/helper", "2.0.0")
    again = await team.run("run", "lead", "go")
    check(again, 0)
    assert again.stderr == ""


async def test_install_locks_what_is_fetched_with_its_tools_and_update_moves_tags_on(
    author: Author, team: Program
) -> None:
    await author.publish("@acme/helper")
    check(await team.run("install"), 1, "run @acme/helper@1.0.0")
    assert (ran := await team.run("install", "--yes")).code == 0, ran.stderr
    assert "Found 3 expert(s)" in ran.stdout
    assert "Collecting tool definitions for @acme/helper..." in ran.stdout
    before = lock_of(team).read_text()
    assert '[experts."@acme/helper"]' in before
    await author.publish("@acme/helper", "2.0.0", instruction="You help better.")
    check(await team.run("install"), 0)
    assert read_pins(lock_of(team))["@acme/helper"].key == "@acme/helper@1.0.0"
    moved = await team.run("install", "--update")
    check(moved, 1, "run @acme/helper@2.0.0")
    assert "@acme/helper moves from 1.0.0 to 2.0.0\n" in moved.stderr
    check(again := await team.run("install", "--update", "--yes"), 0)
    assert "@acme/helper moves from 1.0.0 to 2.0.0\n" in again.stderr
    pin = read_pins(lock_of(team))["@acme/helper"]
    assert (pin.key, pin.accepted) == ("@acme/helper@2.0.0", "yes")
    ran = await team.run("run", "lead", "go")
    check(ran, 0)
    assert ran.stderr == ""


async def test_update_lets_go_of_what_was_run_by_name_and_of_what_is_a_delegate_no_more(
    author: Author, team: Program
) -> None:
    for name in ("@acme/helper", "@acme/news", "@acme/old"):
        await author.publish(name)
    check(await team.run("run", "lead", "go", "--yes"), 0)
    for key in ("@acme/news", "@acme/news@1.0.0", "@acme/old"):
        check(await team.run("run", key, "go", "--yes"), 0)
    pinned = read_pins(lock_of(team))
    assert (again := await team.run("install")).code == 0, again.stderr
    assert read_pins(lock_of(team)) == pinned
    await author.publish("@acme/news", "2.0.0", instruction="You tell more.")
    check(await team.run("run", "@acme/news", "go"), 0)
    assert read_pins(lock_of(team)) == pinned

    updated = await team.run("install", "--update")
    check(updated, 0)
    said = "@acme/news is not held at 1.0.0 any more: no Expert here uses it\n"
    assert said in updated.stderr
    assert set(read_pins(lock_of(team))) == {"@acme/helper", "@acme/news@1.0.0"}
    check(await team.run("run", "@acme/news", "go"), 1, "run @acme/news@2.0.0")
    check(await team.run("run", "@acme/news", "go", "--yes"), 0)
    assert read_pins(lock_of(team))["@acme/news"].key == "@acme/news@2.0.0"


async def test_update_that_is_refused_changes_nothing(author: Author, team: Program) -> None:
    await author.publish("@acme/helper")
    await author.publish("@acme/news")
    check(await team.run("run", "lead", "go", "--yes"), 0)
    check(await team.run("run", "@acme/news", "go", "--yes"), 0)
    await author.publish("@acme/helper", "2.0.0", instruction="You help better.")
    before = lock_of(team).read_bytes()
    check(await team.run("install", "--update"), 1, "run @acme/helper@2.0.0")
    assert lock_of(team).read_bytes() == before
    check(await team.run("run", "lead", "go"), 0)


async def test_an_expert_of_the_file_comes_before_one_of_the_registry(
    author: Author, team: Program
) -> None:
    """Also for what a fetched Expert delegates to; a key with a version never means a local one."""
    await author.publish("solo")
    await author.publish("@acme/helper", delegates=["solo"])
    check(await team.run("run", "lead", "go", "--yes"), 0)
    assert set(read_pins(lock_of(team))) == {"@acme/helper"}
    check(await team.run("run", "solo@1.0.0", "go"), 1, "run solo@1.0.0 of")


async def test_a_run_of_the_files_own_experts_alone_asks_no_registry(
    team: Program, server: RegistryServer
) -> None:
    server.stop()
    ran = await team.run("run", "solo", "go")
    check(ran, 0)
    assert ran.stderr == ""
    assert not lock_of(team).exists()


async def test_what_a_lock_accepts_counts_where_its_configuration_is_named(
    author: Author, team: Program, tmp_path: Path
) -> None:
    await author.publish("@acme/helper")
    check(await team.run("run", "lead", "go", "--yes"), 0)
    newcomer = {"HOME": str(tmp_path / "newcomer")}
    (tmp_path / "newcomer").mkdir()
    named = ("run", "lead", "go", "--config", "perstack.toml")
    check(await team.run(*named, env=newcomer), 0)
    found = ("run", "lead", "go", "--trust")
    check(await team.run(*found, env=newcomer), 1, "run @acme/helper@1.0.0")
    lock = lock_of(team)
    lock.write_text(lock.read_text().replace('accepted = "yes"\n', ""))
    check(await team.run(*named, env=newcomer), 1, "run @acme/helper@1.0.0")


async def test_a_found_file_does_not_choose_the_registry_before_it_is_accepted(
    tmp_path: Path, empty: Program
) -> None:
    text = 'perstackApiBaseUrl = "https://experts.example"\n' + LEAD
    (empty.workspace / "perstack.toml").write_text(text)
    without = {"PERSTACK_API_BASE_URL": ""}
    ran = await empty.run("run", "lead", "go", "--yes", env=without)
    check(ran, 1, "take Experts from https://experts.example, with your key for it", "--trust")
    assert "cannot be reached" not in ran.stderr


@pytest.mark.parametrize("words", [("run", "lead", "go"), ("install",)])
async def test_an_env_file_does_not_choose_the_registry_before_it_is_accepted(
    team: Program, words: tuple[str, ...]
) -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as other:
        other.setblocking(False)
        elsewhere = f"http://127.0.0.1:{other.getsockname()[1]}"
        # Beside a key of the shell it needs a word, also on this machine.
        (team.workspace / ".env").write_text(f"PERSTACK_API_BASE_URL={elsewhere}\n")
        around = {"PERSTACK_API_BASE_URL": "", "PERSTACK_API_KEY": "psr_of_the_shell"}
        ran = await team.run(*words, "--yes", env=around)
        check(ran, 1, f"set PERSTACK_API_BASE_URL={elsewhere} from .env", "add --trust (once)")
        with pytest.raises(BlockingIOError):
            other.accept()
    assert not lock_of(team).exists()


async def test_a_lock_that_says_no_pins_is_refused_and_not_written_over(team: Program) -> None:
    lock_of(team).write_text('version = "1"\nconfigPath = "perstack.toml"\nregistry = 1\n')
    check(await team.run("run", "lead", "go", "--yes"), 1, "perstack.lock", "registry")
    assert "registry = 1" in lock_of(team).read_text()


# ---------------------------------------------------------------- going on


async def test_a_job_goes_on_also_without_the_registry(
    author: Author, empty: Program, server: RegistryServer
) -> None:
    await author.publish("asker", skills={"talk": ASK})
    asked = await empty.run("run", "asker", "go", "--yes", *SCRIPTED)
    check(asked, 0, "A question waits")
    server.stop()
    answered = await empty.run("run", "asker", "this one", "--continue", "-i", *SCRIPTED)
    check(answered, 0, "as kept on this disk")
    assert told(answered) == [("asker", "Your move.")]
    more = ("run", "asker", "more", "--continue-job", asked.job_id)
    check(await empty.run(*more, *SCRIPTED), 0)
    checkpoint = answered.one("completeRun")["checkpoint"]["id"]
    check(await empty.run(*more, "--resume-from", checkpoint, *SCRIPTED), 0)
    plain = await empty.run("start", "--plain", "--continue", "asker", "on", *SCRIPTED)
    check(plain, 0)


async def test_a_job_goes_on_with_its_own_definitions_when_nothing_is_kept(
    author: Author, empty: Program, server: RegistryServer, tmp_path: Path
) -> None:
    await author.publish("@acme/tool")
    began = await empty.run("run", "@acme/tool", "go", "--yes", *SCRIPTED)
    server.stop()
    bare = {"XDG_CACHE_HOME": str(tmp_path / "bare")}
    more = ("run", "@acme/tool", "more", "--continue-job", began.job_id, *SCRIPTED)
    check(await empty.run(*more, env=bare), 1, "cannot be reached")
    check(await empty.run(*more, "--own-definitions", env=bare), 0)


async def test_a_fork_takes_the_newest_definition_of_the_registry(
    author: Author, empty: Program
) -> None:
    await author.publish("@acme/tool")
    began = await empty.run("run", "@acme/tool", "go", "--yes", *SCRIPTED)
    await author.publish("@acme/tool", "2.0.0", instruction="You play better.")
    checkpoint = began.one("completeRun")["checkpoint"]["id"]
    fork = ("fork", checkpoint, "--newest-definition", "--same-files", "--json")
    check(await empty.run(*fork), 1, "run @acme/tool@2.0.0")
    check(await empty.run(*fork, "--yes"), 0)


# ---------------------------------------------------------------- other doors


async def test_several_runtimes_are_compared_on_an_expert_of_the_registry(
    author: Author, empty: Program
) -> None:
    await author.publish("@acme/tool")
    compare = ("compare", "@acme/tool", "go", "--on", "perstack", "--on", "perstack:other")
    check(await empty.run(*compare, *SCRIPTED), 1, "run @acme/tool@1.0.0")
    ran = await empty.run(*compare, "--yes", *SCRIPTED)
    check(ran, 0)
    assert ran.stdout.count("completed") >= 2


async def test_an_agent_can_be_an_expert_of_the_registry(author: Author, team: Program) -> None:
    await author.publish("@acme/tool")
    check(await team.run("agent", "run", "-t", "@acme/tool", "-p", "go"), 1, "run @acme/tool@")
    ran = await team.run("agent", "run", "-t", "@acme/tool", "-p", "go", "-n", "Tom", "--yes")
    check(ran, 0)
    assert "Your move." in ran.stdout
    check(await team.run("agent", "exec", "-n", "Tom", "-p", "more"), 0)
    check(await team.run("agent", "spawn", "-t", "@acme/tool", "-n", "Ann"), 0)
    check(await team.run("agent", "exec", "-n", "Ann", "-p", "more"), 0)
    for key in ("nobody", "@acme/nobody"):
        check(await team.run("agent", "spawn", "-t", key), 1, f"Unknown agent type: {key}")


# ---------------------------------------------------------------- waiting for it


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("run", "@acme/tool", "go", *SCRIPTED), b"Asking the registry for @acme/tool"),
        (("info", "@acme/tool"), b"Asking the registry at http://127.0.0.1:"),
    ],
)
async def test_a_slow_registry_is_told_of_and_ctrl_c_ends_at_once(
    tmp_path: Path, words: tuple[str, ...], told: bytes
) -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as nobody:
        program = in_empty_folder(tmp_path / "w", f"http://127.0.0.1:{nobody.getsockname()[1]}")
        async with program.running(*words) as running:
            await running.wait_for(lambda: told in running.err)
            running.send(signal.SIGINT)
            ran = await running.ended()
    assert ran.code == 130
    assert "Traceback" not in ran.stderr


async def test_a_name_that_is_close_to_a_known_one_is_guessed(team: Program) -> None:
    for key in ("sollo", "solo@1.0.0"):
        ran = await team.run("run", key, "go")
        check(ran, 1, f"{key!r} not found here, and", "did you mean solo? ")


async def test_what_can_be_no_key_is_not_asked_for(team: Program, server: RegistryServer) -> None:
    server.stop()
    ran = await team.run("run", "../../etc/passwd", "go")
    check(ran, 1, "not found")
    assert "cannot be reached" not in ran.stderr


# ---------------------------------------------------------------- while it runs


@pytest.mark.long
async def test_a_run_at_work_takes_a_delegate_of_the_registry_that_was_saved_meanwhile(
    author: Author, team: Program
) -> None:
    await author.publish("@acme/helper")
    alone = LEAD.replace('delegates = ["@acme/helper"]\n', "")
    (team.workspace / "perstack.toml").write_text(alone)
    (team.workspace / "scenario.toml").write_text(ENDLESS)
    async with team.running("run", "lead", "go", "--max-steps", "4000") as running:
        async with tables_of(team) as tables:
            run_id = (await at_work(tables)).id
        (team.workspace / "perstack.toml").write_text(LEAD)
        take = ("agent", "take", "-i", run_id)
        check(await team.run(*take), 1, "run @acme/helper@1.0.0")
        check(await team.run(*take, "--yes"), 0)
        taken = await running.until("takeDefinition")
        check(await team.run("agent", "steer", "-i", run_id, "now delegate"), 0)
        ran = await running.ended()
    check(ran, 0)
    assert taken["changes"] == ["delegates"]
    assert told(ran) == [("@acme/helper", "I helped."), ("lead", "Done.")]


# ---------------------------------------------------------------- the usual way


async def test_a_run_without_the_registry_loads_nothing_of_it(team: Program) -> None:
    ran = await team.run_words(
        sys.executable, "-X", "importtime", "-m", "perstack", "run", "solo", "go"
    )
    assert ran.code == 0
    loaded = {line.rpartition("|")[2].strip() for line in ran.stderr.splitlines()}
    assert "perstack.fetching" in loaded
    late = ("services.resolving", "storage.registry_cache", "config.lock_pins", "config.published")
    assert loaded.isdisjoint({f"perstack.{name}" for name in late})
    assert not any(name.startswith("perstack.integrations.registry") for name in loaded)
    assert not any(name.partition(".")[0] in ("httpx2", "tomlkit") for name in loaded)
