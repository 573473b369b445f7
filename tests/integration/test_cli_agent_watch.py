"""`perstack agent watch`: the seed's table of the agents of every process."""

from __future__ import annotations

import json
import re
import signal
import sys
from pathlib import Path
from typing import Any, Final

import anyio.to_thread
import pexpect
import pyte
import pytest
from typer.testing import CliRunner, Result

from perstack.cli.agent import agent_app
from perstack.cli.agent_watch import BAD_INTERVAL, COCKPIT, STOPPED
from perstack.errors import PerstackError
from tests.fakes.cli import SCRIPTED, Program

AGENTS: Final = SCRIPTED + "[agents]\nmaxConcurrent = 10\n"
UPTIME: Final = re.compile(r"\d+[smh]( \d+[sm])?")


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    return Program.make(tmp_path, AGENTS).workspace


def invoke(workspace: Path, *args: str) -> Result:
    return CliRunner().invoke(agent_app(), [*args, "--workspace", str(workspace)])


def spawn(workspace: Path, name: str, agent_type: str = "coder") -> None:
    assert invoke(workspace, "spawn", "-t", agent_type, "-n", name).exit_code == 0


def seen(workspace: Path, *args: str) -> dict[str, Any]:
    result = invoke(workspace, "watch", "--json", *args)
    assert result.exit_code == 0, result.exception
    return json.loads(result.stdout)


@pytest.mark.parametrize("interval", ["abc", "0", "-1", "1.5", ""])
@pytest.mark.parametrize("more", [(), ("--json",)])
def test_agentstack_row_140_an_interval_that_is_no_second_is_refused(
    workspace: Path, interval: str, more: tuple[str, ...]
) -> None:
    result = invoke(workspace, "watch", f"--interval={interval}", *more)
    assert isinstance(result.exception, PerstackError)
    assert (result.exception.message, result.exception.exit_code) == (BAD_INTERVAL, 1)


def test_agentstack_row_141_json_is_one_object_with_the_agents_that_are_wanted(
    workspace: Path,
) -> None:
    spawn(workspace, "first")
    spawn(workspace, "second", "tester")
    assert invoke(workspace, "update-status", "running", "-n", "second").exit_code == 0
    told = seen(workspace, "-t", "tester")
    assert [agent["name"] for agent in told["agents"]] == ["second"]
    assert told["stats"]["active"] == 2
    assert told["stats"]["maxConcurrent"] == 10
    assert told["stats"]["byStatus"]["running"] == 1
    assert told["stats"]["byStatus"]["idle"] == 0
    everyone = seen(workspace)["agents"]
    assert [agent["name"] for agent in everyone] == ["second", "first"], "row 143: running first"
    assert seen(workspace, "--status", "idle")["agents"][0]["name"] == "first"
    assert seen(workspace, "-s", "none")["agents"] == []


def test_a_status_that_is_none_is_refused_with_those_that_are(workspace: Path) -> None:
    result = invoke(workspace, "watch", "--status", "tired")
    assert isinstance(result.exception, PerstackError)
    assert "idle" in f"{result.exception.message} {result.exception.hint}"


def test_looking_makes_no_database(workspace: Path) -> None:
    assert seen(workspace)["agents"] == []
    assert not (workspace / "perstack").exists()


@pytest.mark.anyio
async def test_without_a_terminal_frames_are_plain_and_a_signal_ends_it_well(
    tmp_path: Path,
) -> None:
    program = Program.make(tmp_path, AGENTS)
    await anyio.to_thread.run_sync(spawn, program.workspace, "my\x1b[31m-coder")
    async with program.running("agent", "watch", "--interval", "1") as running:
        await running.wait_for(lambda: running.out.count(b"Press Ctrl+C to exit") >= 2)
        running.send(signal.SIGINT)
        ran = await running.ended()
    assert ran.code == 0
    assert ran.stdout.endswith(f"\n{STOPPED}\n")
    assert "\x1b" not in ran.stdout
    head, rule, figures, thin, columns, row, *_ = ran.stdout.splitlines()
    assert head.startswith("AISTACK Agent Monitor")
    assert (rule, thin) == ("═" * 79, "─" * 79)
    assert figures.startswith("Agents: 1 active (1 idle)")
    assert figures.endswith("Limit: 10")
    assert columns == "STATUS   NAME                 TYPE         UPTIME     TASK"
    assert row.startswith("○ IDLE   my [31m-coder        coder        ")
    assert UPTIME.fullmatch(row[43:54].strip())
    assert row.endswith("—")
    assert COCKPIT not in ran.stdout


class _Screen:
    """The program on a terminal of its own, and what is painted there."""

    def __init__(self, workspace: Path, rows: int, columns: int, *args: str) -> None:
        self.screen = pyte.Screen(columns, rows)
        self.stream = pyte.ByteStream(self.screen)
        self.said = b""
        self.child: pexpect.spawn[bytes] = pexpect.spawn(
            sys.executable,
            ["-m", "perstack", "agent", "watch", *args, "--workspace", str(workspace)],
            dimensions=(rows, columns),
            timeout=30,
            env={"PATH": "/usr/bin:/bin", "TERM": "xterm-256color", "HOME": str(workspace)},
        )

    def until(self, text: str) -> list[str]:
        while not any(text in line for line in self.screen.display):
            read = self.child.read_nonblocking(65_536, timeout=30)
            self.said += read
            self.stream.feed(read)
        return [line.rstrip() for line in self.screen.display]

    def resize(self, rows: int, columns: int) -> None:
        self.screen.resize(rows, columns)
        self.screen.reset()
        self.child.setwinsize(rows, columns)  # pyright: ignore[reportUnknownMemberType]


def test_on_a_terminal_it_fits_any_size_and_leaves_the_cursor_as_it_was(workspace: Path) -> None:
    for number in range(8):
        spawn(workspace, f"agent-{number}")
    shown = _Screen(workspace, 24, 100, "-i", "60")
    lines = shown.until(COCKPIT)
    assert sum("IDLE" in line for line in lines) == 8
    shown.resize(10, 40)
    lines = shown.until("more")
    assert all(len(line) <= 40 for line in lines)
    assert lines[0].startswith("AISTACK Agent Monitor")
    assert any("more" in line for line in lines)
    assert lines[8].startswith("Press Ctrl+C to exit")
    shown.child.kill(signal.SIGTERM)
    shown.said += shown.child.read()
    shown.child.close()
    assert shown.child.exitstatus == 0
    assert b"\x1b[?25l" in shown.said
    assert shown.said.rindex(b"\x1b[?25h") > shown.said.rindex(b"\x1b[?25l")
    assert STOPPED.encode() in shown.said


def test_what_was_shown_stays_with_no_clear(workspace: Path) -> None:
    shown = _Screen(workspace, 24, 100, "-i", "60", "--no-clear")
    shown.until(COCKPIT)
    shown.child.kill(signal.SIGTERM)
    shown.said += shown.child.read()
    shown.child.close()
    assert b"\x1b[2J" not in shown.said
    assert b"\x1b[H" not in shown.said
