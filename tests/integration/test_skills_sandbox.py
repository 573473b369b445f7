"""`exec` under bubblewrap: real namespaces, real attempts to get out."""

from __future__ import annotations

import os
import re
import socket
import sys
import tempfile
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import replace
from pathlib import Path

import anyio
import anyio.to_thread
import pytest
from pydantic import JsonValue

from perstack.domain.expert import BaseSkill
from perstack.domain.ids import ToolCallId
from perstack.domain.settings import ExecSettings
from perstack.errors import ConfigError
from perstack.ports.skills import RunContext
from perstack.skills.base.skill import OpenBaseSkill
from tests.fakes.cli import Program, by_expert, calls, finishes, play
from tests.fakes.model_wire import Call
from tests.fakes.skill_host import ShowingHost
from tests.unit.skills.support import context_for, failure, none_survive, result, until

pytestmark = pytest.mark.anyio

Run = dict[str, JsonValue]


def _shut_in(workspace: Path, *, network: bool = False, path: str | None = None) -> RunContext:
    context = context_for(workspace, env={"SECRET": "canary"} | ({"PATH": path} if path else {}))
    return replace(context, exec=ExecSettings(sandbox="bubblewrap", network=network))


@contextmanager
def _open(context: RunContext) -> Generator[OpenBaseSkill]:
    base = OpenBaseSkill(context, BaseSkill())
    try:
        yield base
    finally:
        base.close()


@asynccontextmanager
async def _opened(
    context: RunContext, host: ShowingHost | None = None
) -> AsyncGenerator[OpenBaseSkill]:
    """Open where an event loop runs, as the program does it: in a thread, since it blocks."""
    base = await anyio.to_thread.run_sync(OpenBaseSkill, context, BaseSkill(), host)
    try:
        yield base
    finally:
        base.close()


@pytest.fixture
def context(tmp_path: Path) -> RunContext:
    """A workspace whose commands are shut in, where the machine lets that be."""
    workspace = tmp_path / "ws"
    (workspace / "perstack" / "jobs").mkdir(parents=True)
    (workspace / "perstack" / "jobs" / "events.jsonl").write_text("the history")
    (workspace / "perstack" / "perstack.db").write_text("the gates")
    context = _shut_in(workspace)
    try:
        with _open(context):
            pass
    except ConfigError as error:
        pytest.skip(error.message)
    return context


@pytest.fixture
def base(context: RunContext) -> Generator[OpenBaseSkill]:
    with _open(context) as opened:
        yield opened


@pytest.fixture
def elsewhere() -> Generator[Path]:
    """A folder that is neither in the workspace nor in `/tmp`."""
    with tempfile.TemporaryDirectory(dir="/var/tmp") as name:
        (Path(name) / "file").write_text("as it was")
        yield Path(name)


def _sh(script: str, *args: str, **others: JsonValue) -> dict[str, JsonValue]:
    return {"command": "sh", "args": ["-c", script, "sh", *args], **others}


async def test_the_workspace_is_writable_and_nothing_else(
    base: OpenBaseSkill, context: RunContext, elsewhere: Path
) -> None:
    script = 'echo new > mine; cat "$1/file"; echo pwned > "$1/file"; echo pwned > "$1/new"'
    told = await base.call("exec", _sh(script, str(elsewhere)))

    assert "as it was" in str(failure(told)["stdout"])
    assert "Read-only file system" in str(failure(told)["stderr"])
    assert (context.workspace / "mine").read_text() == "new\n"
    assert {path.name: path.read_text() for path in elsewhere.iterdir()} == {"file": "as it was"}


@pytest.mark.parametrize(
    "script",
    [
        "echo pwned >> perstack/jobs/events.jsonl",
        "echo pwned > perstack/perstack.db",
        "touch perstack/perstack.db-wal",
        "rm -rf perstack",
        "mv perstack elsewhere",
        "ln perstack/jobs/events.jsonl alias && echo pwned > alias",
        "ln -s perstack link; echo pwned > link/perstack.db",
        "chmod 777 perstack",
        "mount -o remount,rw,bind perstack",
        "umount perstack",
        "unshare -Urm sh -c 'mount -o remount,rw,bind perstack && echo x > perstack/perstack.db'",
        "unshare -Urm sh -c 'umount perstack && echo x > perstack/perstack.db'",
        "cd /proc/1/root && echo pwned > .$PWD/perstack/perstack.db",
    ],
)
async def test_the_history_can_be_read_and_not_changed(
    base: OpenBaseSkill, context: RunContext, script: str
) -> None:
    data = context.workspace / "perstack"
    mode = data.stat().st_mode

    failure(await base.call("exec", _sh(f"{script} && ls")))

    assert (data / "jobs" / "events.jsonl").read_text() == "the history"
    assert (data / "perstack.db").read_text() == "the gates"
    assert sorted(path.name for path in data.iterdir()) == ["jobs", "perstack.db"]
    assert data.stat().st_mode == mode
    read = await base.call("exec", {"command": "cat", "args": ["perstack/jobs/events.jsonl"]})
    assert result(read) == {"output": "the history"}


async def test_a_history_that_does_not_exist_cannot_be_made_by_a_command(
    tmp_path: Path, context: RunContext
) -> None:
    del context
    workspace = tmp_path / "fresh"
    workspace.mkdir()
    async with _opened(_shut_in(workspace)) as base:
        failure(await base.call("exec", _sh("rm -rf perstack; ln -s /etc perstack && ls")))
        failure(await base.call("exec", _sh("echo x > perstack/perstack.db")))
    assert (workspace / "perstack").is_dir()
    assert not (workspace / "perstack").is_symlink()
    assert list((workspace / "perstack").iterdir()) == []


async def test_a_history_behind_a_link_cannot_be_protected_so_nothing_runs(
    base: OpenBaseSkill, context: RunContext
) -> None:
    (context.workspace / "perstack").rename(context.workspace / "moved")
    (context.workspace / "perstack").symlink_to("moved")
    told = failure(await base.call("exec", {"command": "touch", "args": ["begun"]}))
    assert told["error"] == "NoSandbox"
    assert not (context.workspace / "begun").exists()


async def test_temporary_files_and_the_sockets_of_services_are_its_own(
    base: OpenBaseSkill, tmp_path: Path
) -> None:
    outside = tmp_path / "outside"
    outside.write_text("not for it")
    script = 'cat "$1"; mktemp -p /tmp private.XXXXXX; echo "$TMPDIR"; ls -A /run'
    told = str(result(await base.call("exec", _sh(script, str(outside))))["output"])
    made, named, *run = [line for line in told.splitlines() if line and "No such file" not in line]
    assert made.startswith("/tmp/private.")
    assert not Path(made).exists()
    assert named == "/tmp"
    assert {*run} <= {"current-system", "wrappers"}


@pytest.mark.parametrize("network", [False, True])
async def test_the_network_is_there_only_if_it_is_allowed(
    context: RunContext, network: bool
) -> None:
    code = "import socket, sys; socket.create_connection(('127.0.0.1', int(sys.argv[1])), 5)"
    shut_in = _shut_in(context.workspace, network=network)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = str(listener.getsockname()[1])
        args: Run = {"command": "/usr/bin/env", "args": ["python3", "-S", "-c", code, port]}
        async with _opened(shut_in) as base:
            outcome = await base.call("exec", args)
    if network:
        assert not outcome.is_error, outcome
    else:
        assert "refused" in str(failure(outcome)["stderr"])


async def test_it_sees_no_other_processes_and_has_no_privileges(base: OpenBaseSkill) -> None:
    code = "ls /proc | grep -c '^[0-9]*$'; grep CapEff /proc/self/status; kill -9 $1 && echo shot"
    told = failure(await base.call("exec", _sh(code, str(os.getpid()))))
    number, privileges = str(told["stdout"]).splitlines()
    assert int(number) < 10
    assert re.fullmatch(r"CapEff:\s0+", privileges)


async def test_the_settings_of_the_kernel_cannot_be_changed_even_as_root(
    base: OpenBaseSkill,
) -> None:
    """What would be written is what is there, so that a sandbox with this hole does no harm."""
    script = 'for name; do cat "$name" > "$name" || echo refused; done'
    settings = ("/proc/sys/vm/swappiness", "/proc/sys/kernel/core_pattern", "/proc/self/comm")
    told = result(await base.call("exec", _sh(script, *settings)))
    assert str(told["output"]).count("Read-only file system") == len(settings)


async def test_the_environment_is_the_same_small_one(base: OpenBaseSkill) -> None:
    told = await base.call("exec", {"command": "env", "env": {"MINE": "yes", "LD_PRELOAD": "/x"}})
    output = str(result(told)["output"])
    assert "MINE=yes" in output
    assert "canary" not in output
    assert "LD_PRELOAD" not in output
    assert result(told)["ignoredEnv"] == ["LD_PRELOAD"]


async def test_it_runs_in_the_directory_it_is_told(
    base: OpenBaseSkill, context: RunContext
) -> None:
    (context.workspace / "sub dir").mkdir()
    told = result(await base.call("exec", {"command": "pwd", "cwd": "sub dir"}))
    assert told == {"output": f"{context.workspace}/sub dir\n"}
    assert failure(await base.call("exec", {"command": "pwd", "cwd": ".."}))["error"]


async def test_how_a_command_ends_is_told_as_without_a_sandbox(base: OpenBaseSkill) -> None:
    seven = failure(await base.call("exec", _sh("echo out; exit 7")))
    assert seven == {
        "error": "Command 'sh' ended with exit code 7.",
        "stdout": "out\n",
        "stderr": "",
    }
    missing = failure(await base.call("exec", {"command": "no-such-command"}))
    expected = "Command 'no-such-command' could not be started: No such file or directory."
    assert missing["error"] == expected


async def test_late_commands_are_ended_with_all_they_started(
    base: OpenBaseSkill, context: RunContext
) -> None:
    script = "(trap '' TERM; sleep 600) & setsid sleep 600 & echo begun; sleep 600"
    told = failure(await base.call("exec", _sh(script, timeout=500)))
    assert told == {"error": "Command timed out after 500ms.", "stdout": "begun\n", "stderr": ""}
    await none_survive(context.run_id)


async def test_output_is_shown_live(context: RunContext) -> None:
    host = ShowingHost()
    async with _opened(context, host) as base:
        args = _sh("echo one; until [ -e go ]; do sleep 0.02; done")
        async with anyio.create_task_group() as group:
            group.start_soon(base.call, "exec", args, ToolCallId("call-1"))
            await until(lambda: host.shown("call-1") == "one\n")
            (context.workspace / "go").touch()


def test_without_bubblewrap_nothing_is_opened_and_the_remedy_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="bwrap is not installed") as caught:
        OpenBaseSkill(_shut_in(tmp_path, path=str(tmp_path / "nowhere")), BaseSkill())
    assert caught.value.hint is not None
    assert "install bubblewrap" in caught.value.hint
    assert 'sandbox = "none"' in caught.value.hint


def _pretender(folder: Path, script: str) -> str:
    folder.mkdir(parents=True)
    (folder / "bwrap").write_text(f"#!{sys.executable} -S\n{script}\n")
    (folder / "bwrap").chmod(0o755)
    return str(folder)


def test_a_machine_without_namespaces_is_refused_with_the_reason(tmp_path: Path) -> None:
    script = "import sys; sys.exit('bwrap: No permissions to create new namespace')"
    path = _pretender(tmp_path / "bin", script)
    (tmp_path / "ws").mkdir()
    with pytest.raises(ConfigError, match="No permissions to create new namespace"):
        OpenBaseSkill(_shut_in(tmp_path / "ws", path=path), BaseSkill())


@pytest.mark.parametrize("entry", ["bin", "link", "."])
def test_a_program_that_lies_in_the_workspace_is_never_taken_for_it(
    tmp_path: Path, entry: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    _pretender(tmp_path / "ws" / "bin", "")
    (tmp_path / "link").symlink_to("ws/bin")
    monkeypatch.chdir(tmp_path / "ws" / "bin")
    path = {"bin": str(tmp_path / "ws" / "bin"), "link": str(tmp_path / "link"), ".": "."}[entry]
    with pytest.raises(ConfigError, match="is not installed"):
        OpenBaseSkill(_shut_in(tmp_path / "ws", path=path), BaseSkill())


async def test_a_sandbox_that_stops_working_lets_nothing_run(tmp_path: Path) -> None:
    said = "bwrap: Creating new namespace failed"
    script = f"import os, sys; sys.exit(os.path.exists({str(tmp_path / 'broken')!r}) and {said!r})"
    path = _pretender(tmp_path / "bin", script)
    (tmp_path / "ws").mkdir()
    context = _shut_in(tmp_path / "ws", path=f"{path}:{os.environ['PATH']}")
    async with _opened(context) as base:
        (tmp_path / "broken").touch()
        told = failure(await base.call("exec", {"command": "touch", "args": ["begun"]}))
        assert "no sandbox could be made" in str(told["error"])
        (tmp_path / "bin" / "bwrap").unlink()
        failure(await base.call("exec", {"command": "touch", "args": ["begun"]}))
    assert not (tmp_path / "ws" / "begun").exists()


def test_an_expert_without_exec_needs_no_sandbox(tmp_path: Path) -> None:
    context = _shut_in(tmp_path, path=str(tmp_path / "nowhere"))
    OpenBaseSkill(context, BaseSkill(omit=("exec",))).close()


TEAM = """
[exec]
sandbox = "bubblewrap"
[experts.solo]
instruction = "You are solo."
"""


def test_the_setting_in_the_configuration_shuts_in_the_commands_of_a_run(
    context: RunContext, tmp_path: Path
) -> None:
    del context
    tries = Call("exec", {"command": "sh", "args": ["-c", "echo out > mine; rm -rf perstack"]})
    (ran,), _ = play(
        lambda url: Program.make(tmp_path / "team", TEAM, base_url=url),
        by_expert({"solo": [calls(tries), *finishes("It would not go.")]}),
        ("run", "solo", "Remove the history"),
    )
    assert ran.code == 0
    assert (tmp_path / "team" / "mine").exists()
    (told,) = ran.all("resolveToolResults")[0]["toolResults"]
    assert "Read-only file system" in str(told["result"])


def test_a_run_that_needs_a_sandbox_where_there_is_none_fails_before_the_first_generation(
    tmp_path: Path,
) -> None:
    (ran,), server = play(
        lambda url: Program.make(
            tmp_path, TEAM, base_url=url, env={"PATH": str(tmp_path / "nowhere")}
        ),
        by_expert({"solo": finishes("Never said.")}),
        ("run", "solo", "hi"),
    )
    assert ran.code == 1
    assert "bwrap is not installed" in ran.stderr
    assert "install bubblewrap" in ran.stderr
    assert server.requests == []
