"""A terminal that goes away, or takes nothing any more, under the real program."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import select
import signal
import struct
import subprocess
import sys
import termios
from collections.abc import Iterator
from pathlib import Path

import pytest

TOML = """
[provider]
providerName = "scripted"
[provider.setting]
scenario = "scenario.toml"
[experts.slow]
instruction = "Take your time."
[experts.slow.skills."@perstack/base"]
type = "mcpStdioSkill"
command = "npx"
packageName = "@perstack/base"
"""
SCENARIO = """
[[turns]]
turn = 1
text = "one step is behind me"
calls = [{ tool = "healthCheck" }]

[[turns]]
turn = 2
after = "go on"
text = "and done"
calls = [{ tool = "attemptCompletion" }]

[[turns]]
latency_ms = 600000
calls = [{ tool = "attemptCompletion" }]
"""
COCKPIT = (sys.executable, "-m", "perstack")
FAKE = (sys.executable, "-m", "tests.fakes.cockpit_program")
# Two seconds is what it takes; the rest is for a machine that does other things as well.
BOUND_S = 20.0


class Hung:
    """A program on a pseudo-terminal whose other end the test holds.

    `controls` says whether its end also sends the hang-up signal, as a shell's terminal does.
    """

    def __init__(self, folder: Path, *args: str, controls: bool = True) -> None:
        self._master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 120, 0, 0))
        words = (sys.executable, "-c", _TAKE_TERMINAL, *args) if controls else args
        self.process = subprocess.Popen(
            words,
            cwd=folder,
            stdin=slave,
            stdout=slave,
            stderr=slave,
            start_new_session=True,
            env={**os.environ, "TERM": "xterm-256color", "PYTHONPATH": str(ROOT)},
        )
        os.close(slave)
        self._open = True

    def read_until(self, shown: bytes) -> None:
        """Read what the program paints until `shown` is part of it."""
        seen = b""
        while shown not in seen:
            ready, _, _ = select.select([self._master], [], [], BOUND_S)
            assert ready, f"{shown!r} was not painted"
            seen += os.read(self._master, 65536)

    def press(self, keys: bytes) -> None:
        """Type `keys`."""
        os.write(self._master, keys)

    def hang_up(self) -> None:
        """Close the terminal."""
        if self._open:
            os.close(self._master)
            self._open = False

    def ended(self) -> int:
        """Wait for the end, for `BOUND_S` at most; return the exit code."""
        return self.process.wait(BOUND_S)


ROOT = Path(__file__).parents[2]
_TAKE_TERMINAL = """
import fcntl, os, sys, termios
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
os.execv(sys.argv[1], sys.argv[1:])
"""


@pytest.fixture
def started() -> Iterator[list[Hung]]:
    programs: list[Hung] = []
    yield programs
    for program in programs:
        program.hang_up()
        if program.process.poll() is None:
            program.process.kill()
            program.process.wait(BOUND_S)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "perstack.toml").write_text(TOML)
    (tmp_path / "scenario.toml").write_text(SCENARIO)
    return tmp_path


@pytest.mark.parametrize("controls", [True, False])
def test_idle_cockpit_ends_with_its_terminal(
    folder: Path, started: list[Hung], controls: bool
) -> None:
    program = Hung(folder, *COCKPIT, controls=controls)
    started.append(program)
    program.read_until(b"Nothing has run here yet")
    program.hang_up()
    assert program.ended() == 129


def test_run_is_stopped_with_its_checkpoint_when_the_terminal_goes(
    folder: Path, started: list[Hung]
) -> None:
    program = Hung(folder, *COCKPIT, "start", "slow", "hi", "--job-id", "job1", "--trust")
    started.append(program)
    program.read_until(b"one step is behind me")
    program.hang_up()
    assert program.ended() == 129
    (events,) = (folder / "perstack/jobs/job1/runs").glob("*/events.jsonl")
    last = json.loads(events.read_text().splitlines()[-1])
    assert (last["type"], last["reason"]) == ("suspendRun", "user")
    gone_on = subprocess.run(
        [*COCKPIT, "run", "slow", "go on", "--continue-job", "job1", "--trust"],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        timeout=BOUND_S,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert gone_on.returncode == 0, gone_on.stderr


@pytest.mark.long
def test_terminal_that_takes_nothing_keeps_no_signal_from_ending_it(
    started: list[Hung],
) -> None:
    program = Hung(ROOT, *FAKE)
    started.append(program)
    program.read_until(b"summarizer")
    for _ in range(40):  # Nothing is read from here on: the terminal fills.
        program.press(b"t?\x1b")
    program.process.send_signal(signal.SIGTERM)
    assert program.ended() == 143
