"""The `exec` tool with real processes."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Generator
from pathlib import Path

import anyio
import pytest
from pydantic import JsonValue

from perstack.domain.expert import BaseSkill
from perstack.domain.ids import ToolCallId
from perstack.ports.skills import RunContext, ToolOutcome
from perstack.skills.base.command import SILENT
from perstack.skills.base.skill import OpenBaseSkill
from tests.fakes.skill_host import ShowingHost
from tests.unit.skills.support import (
    context_for,
    failure,
    none_survive,
    processes_of,
    result,
    until,
)

pytestmark = pytest.mark.anyio

CANARIES = {f"CANARY_{number}": f"canary-{number}" for number in range(30)}
MARKS = {"PERSTACK_RUN_ID", "PERSTACK_JOB_ID", "PERSTACK_PROCESS"}
HOSTILE = {
    "PATH": "/evil",
    "path": "/evil",
    "LD_PRELOAD": "/evil.so",
    "DYLD_INSERT_LIBRARIES": "/evil",
    "NODE_OPTIONS": "--require /evil",
    "PYTHONPATH": "/evil",
    "PYTHONSTARTUP": "/evil",
    "PERL5LIB": "/evil",
    "RUBYLIB": "/evil",
    "BASH_ENV": "/evil",
    "ENV": "/evil",
    "GIT_SSH_COMMAND": "/evil",
    "HTTPS_PROXY": "http://evil",
    "PERSTACK_RUN_ID": "somebody-else",
    "PERSTACK_JOB_ID": "somebody-else",
    "PERSTACK_PROCESS": "somebody-else",
}


@pytest.fixture
def context(tmp_path: Path) -> RunContext:
    secrets = {"ANTHROPIC_API_KEY": "sk-ant-secret", "AWS_SECRET_ACCESS_KEY": "aws-secret"}
    proxies = {"HTTP_PROXY": "http://me:password@proxy", "NO_PROXY": "localhost"}
    return context_for(tmp_path, env=CANARIES | secrets | proxies)


@pytest.fixture
def base(context: RunContext) -> Generator[OpenBaseSkill, None, None]:
    opened = OpenBaseSkill(context, BaseSkill())
    yield opened
    opened.close()


async def _sh(base: OpenBaseSkill, script: str, **others: JsonValue) -> dict[str, JsonValue]:
    return result(await base.call("exec", {"command": "sh", "args": ["-c", script], **others}))


async def test_output_of_both_streams_comes_back(base: OpenBaseSkill) -> None:
    script = "echo out; echo err >&2"
    assert await _sh(base, script) == {"output": "out\n\nerr\n"}
    assert await _sh(base, script, stderr=False) == {"output": "out\n"}
    assert await _sh(base, script, stdout=False) == {"output": "err\n"}
    assert await _sh(base, "true") == {"output": SILENT}


async def test_no_shell_reads_the_arguments(base: OpenBaseSkill) -> None:
    told = await base.call("exec", {"command": "echo", "args": ["$HOME; `id` *"]})
    assert result(told) == {"output": "$HOME; `id` *\n"}


async def test_failure_names_the_exit_code_and_keeps_the_output(base: OpenBaseSkill) -> None:
    args: dict[str, JsonValue] = {"command": "sh", "args": ["-c", "echo out; echo err >&2; exit 7"]}
    assert failure(await base.call("exec", args)) == {
        "error": "Command 'sh' ended with exit code 7.",
        "stdout": "out\n",
        "stderr": "err\n",
    }


async def test_a_command_that_does_not_exist_is_told(base: OpenBaseSkill) -> None:
    told = failure(await base.call("exec", {"command": "no-such-command"}))
    expected = "Command 'no-such-command' could not be started: No such file or directory."
    assert told["error"] == expected


async def test_a_command_ended_by_a_signal_is_told(base: OpenBaseSkill) -> None:
    args: dict[str, JsonValue] = {"command": "sh", "args": ["-c", "kill -SEGV $$"]}
    told = failure(await base.call("exec", args))
    assert told["error"] == "Command 'sh' was ended by signal SIGSEGV."


@pytest.mark.parametrize(
    ("args", "why"),
    [
        (["a\0b"], "an argument or variable holds a NUL or half a character"),
        (["\ud800"], "an argument or variable holds a NUL or half a character"),
        (["x" * 5_000_000], "Argument list too long"),
    ],
    ids=["nul", "half a character", "too long"],
)
async def test_arguments_that_no_process_can_take_are_told(
    base: OpenBaseSkill, args: list[JsonValue], why: str
) -> None:
    told = failure(await base.call("exec", {"command": "echo", "args": args}))
    assert told == {"error": "StartFailed", "message": f"'echo' could not be started: {why}"}


@pytest.mark.parametrize("name", ["", "A=B", "A\0"])
async def test_variables_that_cannot_be_are_told(base: OpenBaseSkill, name: str) -> None:
    told = await base.call("exec", {"command": "true", "env": {name: "x"}})
    assert failure(told)["error"] == "InvalidArguments"


async def test_the_environment_is_an_allow_list(base: OpenBaseSkill, context: RunContext) -> None:
    code = "import json, os; print(json.dumps(dict(os.environ)))"
    given: JsonValue = {**HOSTILE, "MINE": "yes"}
    args: dict[str, JsonValue] = {"command": sys.executable, "args": ["-S", "-c", code]}

    told = result(await base.call("exec", {**args, "env": given}))

    env = json.loads(str(told["output"]))
    allowed = {"PATH", "HOME", "SHELL", "TERM", "TMPDIR", "LANG", "LC_ALL", "LC_CTYPE", "NO_PROXY"}
    assert set(env) <= allowed | {"MINE"} | MARKS
    assert env["MINE"] == "yes"
    assert env["PATH"] == os.environ["PATH"]
    assert (env["PERSTACK_RUN_ID"], env["PERSTACK_JOB_ID"]) == (context.run_id, context.job_id)
    assert told["ignoredEnv"] == sorted(HOSTILE)


async def test_it_runs_where_it_is_told_and_nowhere_else(
    base: OpenBaseSkill, tmp_path: Path
) -> None:
    (tmp_path / "sub").mkdir()
    assert await _sh(base, "pwd") == {"output": f"{tmp_path}\n"}
    assert await _sh(base, "pwd", cwd="sub") == {"output": f"{tmp_path}/sub\n"}
    (tmp_path / "file").touch()
    assert failure(await base.call("exec", {"command": "pwd", "cwd": "file"}))["error"]
    assert failure(await base.call("exec", {"command": "pwd", "cwd": "nowhere"}))["error"]


async def test_it_has_no_input_and_no_descriptors_of_ours(base: OpenBaseSkill) -> None:
    code = "import os, sys; print(repr(sys.stdin.read()), os.listdir('/proc/self/fd'))"
    args: dict[str, JsonValue] = {"command": sys.executable, "args": ["-S", "-c", code]}
    # The fourth is the listing's own.
    assert result(await base.call("exec", args))["output"] == "'' ['0', '1', '2', '3']\n"


async def test_endless_output_is_kept_at_both_ends_and_counted(base: OpenBaseSkill) -> None:
    told = await _sh(base, "echo begin; head -c 30000000 /dev/zero | tr '\\0' x; echo end")
    output = str(told["output"])
    assert output.startswith("begin\n")
    assert output.endswith("xend\n")
    assert "… 29,900,010 bytes left out …" in output
    assert len(output) < 101_000


async def test_long_output_is_cut_between_lines_so_that_no_word_is_halved(
    base: OpenBaseSkill,
) -> None:
    line = "x" * 40 + "canary-0123456789"
    told = await _sh(base, f"yes {line} | head -n 10000")
    kept = str(told["output"]).splitlines()
    assert {line, "… 480,008 bytes left out …"} == {*kept}
    assert len(line + "\n") * (len(kept) - 1) == 580_000 - 480_008


async def test_late_commands_are_ended_with_all_they_started(
    base: OpenBaseSkill, context: RunContext
) -> None:
    script = "(trap '' TERM; sleep 600) & setsid sleep 600 & echo begun; sleep 600"
    args: dict[str, JsonValue] = {"command": "sh", "args": ["-c", script], "timeout": 300}
    told = failure(await base.call("exec", args))
    assert told == {"error": "Command timed out after 300ms.", "stdout": "begun\n", "stderr": ""}
    await none_survive(context.run_id)


@pytest.mark.parametrize("number", ["KILL", "STOP", "TERM"])
async def test_a_command_that_turns_on_its_supervisor_gets_nowhere(
    base: OpenBaseSkill, context: RunContext, number: str
) -> None:
    script = f"setsid sleep 600 & (setsid sleep 600 &) ; kill -{number} $PPID; echo on; sleep 600"
    args: dict[str, JsonValue] = {"command": "sh", "args": ["-c", script], "timeout": 500}
    with anyio.fail_after(15):
        failure(await base.call("exec", args))
    await none_survive(context.run_id)


async def test_one_command_that_kills_its_supervisor_takes_no_other_with_it(
    base: OpenBaseSkill, tmp_path: Path
) -> None:
    others: list[ToolOutcome] = []

    async def other() -> None:
        waits = "touch begun; until [ -e go ]; do sleep 0.02; done; echo well"
        others.append(await base.call("exec", {"command": "sh", "args": ["-c", waits]}))

    async with anyio.create_task_group() as group:
        group.start_soon(other)
        await until((tmp_path / "begun").exists)
        await base.call("exec", {"command": "sh", "args": ["-c", "kill -KILL $PPID; sleep 600"]})
        (tmp_path / "go").touch()
    assert result(others[0]) == {"output": "well\n"}


async def test_what_a_command_leaves_running_neither_holds_up_the_call_nor_survives(
    base: OpenBaseSkill, context: RunContext
) -> None:
    with anyio.fail_after(10):
        told = await _sh(base, "sleep 600 & (setsid sleep 600 &) ; echo done")
    assert told == {"output": "done\n"}
    await none_survive(context.run_id)


async def test_a_cancelled_call_leaves_nothing_running(
    base: OpenBaseSkill, context: RunContext, tmp_path: Path
) -> None:
    script = "(trap '' TERM; setsid sleep 600) & touch begun; sleep 600"
    args: dict[str, JsonValue] = {"command": "sh", "args": ["-c", script]}
    async with anyio.create_task_group() as group:
        group.start_soon(base.call, "exec", args)
        await until((tmp_path / "begun").exists)
        assert processes_of(context.run_id)
        group.cancel_scope.cancel()
    await none_survive(context.run_id)


async def test_output_is_shown_while_the_command_runs_under_the_id_of_its_call(
    context: RunContext, tmp_path: Path
) -> None:
    host = ShowingHost()
    base = OpenBaseSkill(context, BaseSkill(), host)
    script = "echo one; echo err >&2; until [ -e go ]; do sleep 0.02; done; printf zw; printf ei"
    args: dict[str, JsonValue] = {"command": "sh", "args": ["-c", script]}
    outcomes: list[ToolOutcome] = []

    async def call() -> None:
        outcomes.append(await base.call("exec", args, ToolCallId("call-1")))

    async with anyio.create_task_group() as group:
        group.start_soon(call)
        await until(lambda: len(host.shown("call-1")) == len("one\nerr\n"))
        assert not outcomes
        (tmp_path / "go").touch()
    base.close()
    assert sorted(host.shown("call-1").split()) == ["err", "one", "zwei"]
    assert result(outcomes[0]) == {"output": "one\nzwei\nerr\n"}


async def test_only_what_the_call_wants_is_shown_and_nothing_without_an_id(
    context: RunContext,
) -> None:
    host = ShowingHost()
    base = OpenBaseSkill(context, BaseSkill(), host)
    args: dict[str, JsonValue] = {"command": "sh", "args": ["-c", "echo out; echo err >&2"]}
    await base.call("exec", args)
    await base.call("exec", {**args, "stderr": False}, ToolCallId("call-1"))
    base.close()
    assert host.updates == [("call-1", "out\n")]


async def test_what_was_printed_before_the_time_was_up_is_shown(context: RunContext) -> None:
    host = ShowingHost()
    base = OpenBaseSkill(context, BaseSkill(), host)
    script = "printf 'half a line'; sleep 600"
    args: dict[str, JsonValue] = {"command": "sh", "args": ["-c", script], "timeout": 300}
    failure(await base.call("exec", args, ToolCallId("call-1")))
    base.close()
    assert host.shown("call-1") == "half a line"
