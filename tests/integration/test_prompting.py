"""Asking in a real terminal: the program is stopped or interrupted, or the terminal is gone."""

from __future__ import annotations

import os
import pty
import signal
import subprocess
import sys
import termios
from collections.abc import Generator
from contextlib import contextmanager
from typing import Final

import pexpect
import pytest

KEY: Final = "sk-canary-0123456789"
ASKS: Final = """
import sys
from functools import partial

import anyio

from perstack.cli.prompting import CancelledError, ask, ask_hidden, confirm, confirm_meanwhile

ways = {
    "ask": partial(ask, "Say"),
    "hidden": partial(ask_hidden, "Key"),
    "confirm": partial(confirm, "Sure?"),
    "meanwhile": partial(anyio.run, confirm_meanwhile, "Sure?"),
}
try:
    print("heard", ways[sys.argv[1]]())
except CancelledError:
    print("cancelled")
except KeyboardInterrupt:
    print("interrupted")
"""
SHOWN: Final = 3


@contextmanager
def asked(way: str) -> Generator[pexpect.spawn[bytes]]:
    """Give a program in a terminal once it asks."""
    child: pexpect.spawn[bytes] = pexpect.spawn(
        sys.executable, ["-c", ASKS, way], dimensions=(24, 80), timeout=20
    )
    try:
        child.expect(rb"cancel\): |\[y/N\] ")
        yield child
    finally:
        child.close(force=True)


def show_what_is_typed(child: pexpect.spawn[bytes]) -> None:
    """Do as a shell does that takes its terminal back."""
    mode = termios.tcgetattr(child.child_fd)
    mode[SHOWN] |= termios.ECHO
    termios.tcsetattr(child.child_fd, termios.TCSANOW, mode)


def test_a_key_is_not_shown_after_the_program_was_stopped_and_goes_on() -> None:
    with asked("hidden") as child:
        assert child.pid is not None
        os.kill(child.pid, signal.SIGSTOP)
        os.waitpid(child.pid, os.WUNTRACED)
        show_what_is_typed(child)
        os.kill(child.pid, signal.SIGCONT)
        assert child.waitnoecho(20)
        child.sendline(KEY)
        child.expect(rb"\r\nheard ")
        assert KEY.encode() not in (child.before or b"")
        child.expect(KEY.encode())


@pytest.mark.parametrize("typed", [b"\x03", b"ab\x03", b"\x1b", b"\x04", b"ab\n"])
def test_however_a_hidden_line_ends_the_terminal_shows_again_what_is_typed(typed: bytes) -> None:
    with asked("hidden") as child:
        assert not child.getecho()
        child.send(typed)
        child.expect(rb"heard|cancelled|interrupted")
        assert child.getecho()


@pytest.mark.parametrize(
    ("way", "ends"),
    [
        ("ask", "cancelled"),
        ("hidden", "cancelled"),
        ("confirm", "cancelled"),
        ("meanwhile", "heard False"),
    ],
)
def test_a_terminal_that_is_gone_cancels(way: str, ends: str) -> None:
    outer, inner = pty.openpty()
    with subprocess.Popen(
        [sys.executable, "-c", ASKS, way],
        stdin=inner,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,  # nobody tells it that the terminal goes
    ) as program:
        os.close(inner)
        assert program.stderr is not None
        while not program.stderr.read(1).endswith((b":", b"]")):
            pass
        os.close(outer)
        said, errors = program.communicate(timeout=20)
    assert said.decode().strip() == ends, errors.decode()
