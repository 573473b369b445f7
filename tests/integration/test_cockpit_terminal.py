"""The cockpit in a real pseudo-terminal: signals, bad bytes, a terminal that goes away."""

from __future__ import annotations

import signal
import subprocess
import sys
import termios
from collections.abc import Iterator
from pathlib import Path

import pexpect
import pytest

from tests.fakes.no_registry import NO_REGISTRY

ROOT = Path(__file__).parents[2]
ALT_SCREEN_OFF = rb"\x1b\[\?1049l"


class Terminal:
    """A pseudo-terminal with the program in it."""

    def __init__(
        self, home: Path, *, columns: int = 120, rows: int = 40, env: dict[str, str] | None = None
    ) -> None:
        self.child: pexpect.spawn[bytes] = pexpect.spawn(
            sys.executable,
            ["-m", "tests.fakes.cockpit_program"],
            cwd=str(ROOT),
            dimensions=(rows, columns),
            env={
                "PATH": "/usr/bin:/bin",
                "TERM": "xterm-256color",
                "HOME": str(home),
                "LANG": "C.UTF-8",
                **(env or {}),
            },
            timeout=20,
        )
        self.modes = self.local_modes()

    def local_modes(self) -> int:
        """Return the terminal's local modes: echo, line editing, signals."""
        modes = termios.tcgetattr(self.child.child_fd)[3]
        assert isinstance(modes, int)
        return modes

    def await_screen(self) -> None:
        """Wait until the view has been painted."""
        self.child.expect(rb"summarizer")

    def press_until(self, key: bytes, shown: bytes) -> None:
        """Press `key` again and again, until it counts and `shown` is painted."""
        for _ in range(20):
            self.child.send(key)
            if self.child.expect([shown, pexpect.TIMEOUT], timeout=1) == 0:
                return
        raise AssertionError(f"{shown!r} was not painted")

    def await_end(self) -> int:
        """Wait for the end; return the exit code, negative for a signal."""
        if self.child.isalive():
            self.child.expect(pexpect.EOF)
        self.child.close()
        status = self.child.exitstatus
        return -(self.child.signalstatus or 0) if status is None else status


@pytest.fixture
def terminal(tmp_path: Path) -> Iterator[Terminal]:
    made = Terminal(tmp_path)
    yield made
    made.child.close(force=True)


def test_a_bug_ends_the_screen_with_a_sentence_and_shows_no_variables(
    terminal: Terminal, tmp_path: Path
) -> None:
    terminal.await_screen()
    (tmp_path / "break").touch()
    terminal.child.send(b"j")
    terminal.child.expect(ALT_SCREEN_OFF)
    terminal.child.expect(rb"internal error: RuntimeError")
    terminal.child.expect(rb"commands were given")
    said = terminal.child.before or b""
    assert b"Hint: /w/release-notes/perstack/logs/perstack.log" in said
    assert b"Traceback" not in said
    assert terminal.await_end() == 1


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGTERM, 143), (signal.SIGHUP, 129), (signal.SIGINT, 130)]
)
def test_signal_restores_the_terminal_and_gives_its_code(
    terminal: Terminal, number: signal.Signals, code: int
) -> None:
    terminal.await_screen()
    terminal.child.kill(number)
    terminal.child.expect(ALT_SCREEN_OFF)
    terminal.child.expect(rb"\x1b\[\?25h")
    terminal.child.expect(pexpect.EOF)
    assert terminal.local_modes() == terminal.modes
    assert terminal.await_end() == code


def test_malformed_bytes_do_not_end_the_program(terminal: Terminal) -> None:
    terminal.await_screen()
    terminal.child.send(b"\xff\xfe\x80\x1b[\xff\x1b")
    terminal.child.send(b"j?")
    terminal.child.expect(rb"In the delegation tree")
    terminal.child.kill(signal.SIGTERM)
    assert terminal.await_end() == 143


def test_quitting_with_work_in_flight_asks_and_stays_on_escape(terminal: Terminal) -> None:
    terminal.await_screen()
    terminal.child.send(b"q")
    terminal.child.expect(rb"Leave with runs at work")
    terminal.child.kill(signal.SIGTERM)
    assert terminal.await_end() == 143


def test_paste_with_escapes_decides_nothing_in_an_open_review(terminal: Terminal) -> None:
    terminal.await_screen()
    terminal.child.send(b"a")
    terminal.child.expect(rb"every character shown")
    terminal.press_until(b" ", rb"s1 dropped")
    terminal.child.send(b"\x1b[200~see \x1b[31m note \x1b[0m a\x1b")
    terminal.child.send(b"[201~")
    terminal.press_until(b" ", rb"asks for a word")
    terminal.child.kill(signal.SIGTERM)
    terminal.child.expect(rb"0 commands were given")
    assert terminal.await_end() == 143


def test_second_interrupt_leaves_with_130(terminal: Terminal) -> None:
    terminal.await_screen()
    terminal.child.send(b"\x03")
    terminal.child.expect(rb"again")
    terminal.child.send(b"\x03")
    assert terminal.await_end() == 130


def test_scripted_model_is_named_on_the_screen(terminal: Terminal) -> None:
    terminal.child.expect(rb"SCRIPTED MODEL")
    terminal.child.kill(signal.SIGTERM)
    assert terminal.await_end() == 143


@pytest.mark.parametrize(
    ("command", "told"),
    [("", "the cockpit needs a terminal"), ("start nobody hi", "not found here")],
)
def test_closed_standard_input_is_no_terminal(tmp_path: Path, command: str, told: str) -> None:
    done = subprocess.run(
        ["/bin/sh", "-c", f'exec "$0" -m perstack {command} <&-', sys.executable],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        env={
            "PATH": "/usr/bin:/bin",
            "TERM": "xterm",
            "HOME": str(tmp_path),
            "PERSTACK_API_BASE_URL": NO_REGISTRY,
        },
    )
    assert told in done.stdout + done.stderr
    assert "internal error" not in done.stderr


WITHOUT_TERMINAL = """
from pathlib import Path
from perstack.ports.frontend import CockpitRequest
from perstack_tui.cli import open_cockpit
open_cockpit(CockpitRequest(Path(".")))
"""


@pytest.mark.parametrize("term", ["xterm", "dumb", ""])
def test_without_a_terminal_the_program_says_so(term: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_TERMINAL],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=20,
        env={"PATH": "/usr/bin:/bin", "TERM": term},
    )
    assert "needs a terminal" in done.stderr
    assert "\x1b" not in done.stdout + done.stderr
