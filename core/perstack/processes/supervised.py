"""Processes of which nothing is left once they are closed.

Every command runs under `supervisor.py` (see there), which ends the command's whole tree when we
let go of its lifeline: on purpose, by dying, or by being killed. Should the command kill its
supervisor, we look for what carries the command's mark in its environment, and kill that.
"""

from __future__ import annotations

import os
import secrets
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import anyio
import anyio.abc
import anyio.to_thread

from perstack.errors import PerstackError, SkillError

_SUPERVISOR: Final = str(Path(__file__).with_name("supervisor.py"))
# Longer than the supervisor takes after its grace, so that it is killed only if it hangs.
_KILL_AFTER_S: Final = 2.5
_REPORT_BYTES: Final = 4096
_MARK: Final = "PERSTACK_PROCESS"
# What is killed may have started more since it was listed.
_MOST_ROUNDS: Final = 20


@dataclass(frozen=True, slots=True)
class Ending:
    """How a command ended: its exit code, the signal that ended it, or why it never began."""

    code: int | None = None
    signal: int | None = None
    failure: str | None = None

    @property
    def is_known(self) -> bool:
        """Whether the supervisor lived to tell."""
        return self != Ending()

    @property
    def words(self) -> str:
        """What happened, to follow "it"."""
        if self.failure is not None:
            return f"could not be started: {self.failure}"
        if self.signal is not None:
            return f"was ended by signal {_signal_name(self.signal)}"
        if self.code is not None:
            return f"ended with exit code {self.code}"
        return "ended"


class Supervised:
    """A running command. `stdout` and `stderr` end when nothing of it is left."""

    def __init__(
        self, process: anyio.abc.Process, lifeline: socket.socket, mark: str, *, grace_s: float
    ) -> None:
        self._process = process
        self._lifeline = lifeline
        self._mark = mark
        self._patience_s = grace_s + _KILL_AFTER_S
        self._ending: Ending | None = None

    @property
    def pid(self) -> int:
        """The supervisor's process id; the command and all it started are its descendants."""
        return self._process.pid

    @property
    def ending(self) -> Ending | None:
        """How the command ended, once `wait` or `end` has seen it."""
        return self._ending

    @property
    def stdin(self) -> anyio.abc.ByteSendStream | None:
        """The command's standard input, None if it was not wanted."""
        return self._process.stdin

    @property
    def stdout(self) -> anyio.abc.ByteReceiveStream:
        """The command's standard output."""
        assert self._process.stdout is not None  # noqa: S101  we asked for a pipe
        return self._process.stdout

    @property
    def stderr(self) -> anyio.abc.ByteReceiveStream:
        """The command's standard error."""
        assert self._process.stderr is not None  # noqa: S101  we asked for a pipe
        return self._process.stderr

    async def wait(self) -> Ending:
        """Return how the command ended, once nothing of it is left. One task at a time."""
        report = b""
        while self._ending is None:
            await anyio.wait_readable(self._lifeline)
            with suppress(BlockingIOError):
                piece = _receive(self._lifeline)
                report += piece
                if not piece:
                    self._ending = _parse(report)
        return self._ending

    async def end(self) -> None:
        """End what is left; return when it is gone, whatever it takes."""
        with suppress(OSError):
            self._lifeline.shutdown(socket.SHUT_WR)
        with anyio.move_on_after(self._patience_s) as patience:
            await self.wait()
        if patience.cancelled_caught:
            await anyio.to_thread.run_sync(_kill_tree, self.pid)
        if self._ending is None or not self._ending.is_known:
            await anyio.to_thread.run_sync(_kill_marked, self._mark)
        self._lifeline.close()
        with anyio.move_on_after(1.0):
            await self._process.aclose()


@asynccontextmanager
async def supervised(
    command: Sequence[str],
    *,
    env: Mapping[str, str],
    cwd: int,
    with_stdin: bool = False,
    grace_s: float = 0.3,
    failure: type[PerstackError] = SkillError,
) -> AsyncGenerator[Supervised, None]:
    """Run `command` in the directory that the descriptor `cwd` holds, without a shell.

    On exit everything it started is asked to end (SIGTERM), and after `grace_s` made to. That is
    shielded from cancellation and bounded in time.

    Raises:
        PerstackError: one of the class `failure`: nothing could be started (no processes left, an
            argument with a NUL).
    """
    try:
        running = await _start(command, env, cwd, with_stdin=with_stdin, grace_s=grace_s)
    except (OSError, ValueError) as error:
        raise failure(f"{command[0]!r} could not be started: {_reason(error)}") from error
    try:
        yield running
    finally:
        with anyio.CancelScope(shield=True):
            await running.end()


async def _start(
    command: Sequence[str],
    env: Mapping[str, str],
    cwd: int,
    *,
    with_stdin: bool,
    grace_s: float,
) -> Supervised:
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    words = [str(theirs.fileno()), str(cwd), str(round(grace_s * 1000)), *command]
    mark = secrets.token_hex(16)
    try:
        marked = {**env, _MARK: mark}
        process = await _spawn(words, marked, (theirs.fileno(), cwd), with_stdin=with_stdin)
    except BaseException:
        ours.close()
        raise
    finally:
        theirs.close()
    return Supervised(process, ours, mark, grace_s=grace_s)


def _reason(error: OSError | ValueError) -> str:
    if isinstance(error, OSError):
        return error.strerror or type(error).__name__
    return "an argument or variable holds a NUL or half a character"


async def _spawn(
    words: Sequence[str], env: Mapping[str, str], fds: tuple[int, ...], *, with_stdin: bool
) -> anyio.abc.Process:
    # Cancelled in the middle, asyncio would kill the supervisor, and nobody its command.
    with anyio.CancelScope(shield=True):
        return await anyio.open_process(
            [sys.executable, "-I", "-S", _SUPERVISOR, *words],
            stdin=subprocess.PIPE if with_stdin else subprocess.DEVNULL,
            env=env,
            start_new_session=True,
            pass_fds=fds,
        )
    raise AssertionError("nobody cancels this scope")


def _receive(lifeline: socket.socket) -> bytes:
    try:
        return lifeline.recv(_REPORT_BYTES)
    except ConnectionError:
        return b""


def _parse(report: bytes) -> Ending:
    word, _, rest = report.decode(errors="replace").strip().partition(" ")
    if word == "exited":
        return Ending(code=int(rest))
    if word == "signaled":
        return Ending(signal=int(rest))
    return Ending(failure=rest) if word == "failed" else Ending()


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return str(number)


def _kill_tree(pid: int) -> None:
    """The last resort: the supervisor itself hangs or was stopped."""
    import psutil

    with suppress(psutil.Error):
        root = psutil.Process(pid)
        for process in (*root.children(recursive=True), root):
            with suppress(psutil.Error):
                process.kill()
    with suppress(OSError):
        os.killpg(pid, signal.SIGKILL)


def _kill_marked(mark: str) -> None:
    """Kill all processes of a command whose supervisor is gone."""
    import psutil

    for _ in range(_MOST_ROUNDS):
        left = [process for process in psutil.process_iter() if _carries(process, mark)]
        if not left:
            return
        for process in left:
            with suppress(psutil.Error):
                process.kill()


def _carries(process: object, mark: str) -> bool:
    import psutil

    if not isinstance(process, psutil.Process):
        return False
    try:
        alive = process.status() != psutil.STATUS_ZOMBIE
        return alive and process.environ().get(_MARK) == mark
    except (psutil.Error, OSError):
        return False
