"""A program in a pseudo-terminal, of 120 by 40 if not told otherwise, watched byte by byte."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import signal
import struct
import subprocess
import tempfile
import termios
import time
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from bench.measure import environment

ROWS: Final = 40
COLUMNS: Final = 120
_GIVE_UP_S: Final = 30.0
_KEPT: Final = 200
_TERM: Final = {"TERM": "xterm-256color", "COLORTERM": "truecolor"}


class Terminal:
    """The other end of a pseudo-terminal."""

    def __init__(self, fd: int, started: float, pid: int) -> None:
        self.pid = pid
        self._fd = fd
        self._started = started

    def since_start(self) -> float:
        """Return the seconds since the program was spawned."""
        return time.perf_counter() - self._started

    def press(self, key: str) -> None:
        """Type."""
        os.write(self._fd, key.encode())

    def resize(self, columns: int, rows: int) -> None:
        """Give the terminal another size, and tell the program, which does not control it."""
        set_size(self._fd, columns, rows)
        os.kill(self.pid, signal.SIGWINCH)

    def await_text(self, text: str) -> None:
        """Read until `text` (in one style, on one line) was painted.

        Raises:
            RuntimeError: it was not, for long.
        """
        wanted, seen, ends = text.encode(), b"", time.perf_counter() + _GIVE_UP_S
        while wanted not in seen:
            seen = seen[-_KEPT:] + self._read(ends - time.perf_counter())
            if time.perf_counter() > ends:
                raise RuntimeError(f"{text!r} was never painted")

    def read_for(self, seconds: float) -> bytes:
        """Return what is painted in that time."""
        seen, ends = b"", time.perf_counter() + seconds
        while (left := ends - time.perf_counter()) > 0:
            seen += self._read(left)
        return seen

    def _read(self, within_s: float) -> bytes:
        ready, _, _ = select.select([self._fd], [], [], max(0.0, within_s))
        return os.read(self._fd, 1 << 16) if ready else b""


@contextmanager
def terminal(
    command: Sequence[str],
    *,
    cwd: Path,
    env: Mapping[str, str],
    size: tuple[int, int] = (COLUMNS, ROWS),
) -> Generator[Terminal]:
    """Run a program on a terminal of `size` (columns, rows), as for the first time; then end it."""
    with tempfile.TemporaryDirectory(prefix="perstack-bench-") as state:
        ours, theirs = pty.openpty()
        set_size(theirs, *size)
        started = time.perf_counter()
        child = subprocess.Popen(
            command,
            cwd=cwd,
            env=environment({**_TERM, "XDG_STATE_HOME": state, **env}),
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            start_new_session=True,
        )
        os.close(theirs)
        try:
            yield Terminal(ours, started, child.pid)
        finally:
            child.terminate()
            _drain(ours)
            child.wait()
            os.close(ours)


def set_size(fd: int, columns: int, rows: int) -> None:
    """Set the size of the terminal behind `fd`."""
    fcntl.ioctl(fd, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))


def _drain(fd: int) -> None:
    """Read until the program has let go of its terminal."""
    try:
        while os.read(fd, 1 << 16):
            pass
    except OSError:
        return
