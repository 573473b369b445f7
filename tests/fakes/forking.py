"""Programs that are forked from one whose imports are done, instead of started anew each time."""

from __future__ import annotations

import atexit
import json
import os
import secrets
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final

import anyio

_FORKER: Final = Path(__file__).with_name("forker.py")
_READ: Final = 65536
# Read by the interpreter as it starts: a fork would not heed them.
_OF_INTERPRETER: Final = ("PYTHON", "MALLOC_")
_OF_THE_START: Final = (*_OF_INTERPRETER, "LANG", "LC_")


@dataclass(frozen=True, slots=True)
class _Forker:
    """What forks programs for this process of pytest, and ends with it."""

    process: subprocess.Popen[bytes]
    address: str
    env: Mapping[str, str]


def can_fork(env: Mapping[str, str]) -> bool:
    """Tell whether a fork is in the state that a start with `env` would be in."""
    return sys.platform == "linux" and _of_start(env) == _of_start(_forker().env)


def _of_start(env: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in env.items() if name.startswith(_OF_THE_START)}


def environment() -> dict[str, str]:
    """Give what the forker starts with: ours, but for what this interpreter alone was told.

    Whoever asks first may be a fixture of a module, before a test has an environment of its own.
    """
    return {name: os.environ[name] for name in os.environ if not name.startswith(_OF_INTERPRETER)}


@cache
def _forker() -> _Forker:
    # An abstract address: there is no file to be left behind.
    address = f"perstack-forker-{os.getpid()}-{secrets.token_hex(8)}"
    env = environment()
    process = subprocess.Popen(
        [sys.executable, str(_FORKER), address],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        # Threads of its own would not be there in a fork.
        env={**env, "OPENBLAS_NUM_THREADS": "1"},
        cwd="/",
    )
    assert process.stdout is not None
    assert process.stdin is not None
    assert process.stdout.readline() == b"ready\n"
    process.stdout.close()
    atexit.register(_end, process)
    return _Forker(process, address, env)


def _end(process: subprocess.Popen[bytes]) -> None:
    process.communicate()


class ForkedOutput:
    """One end of a pipe, as anyio's streams are read."""

    def __init__(self, descriptor: int) -> None:
        os.set_blocking(descriptor, False)
        self._descriptor = descriptor

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while True:
            await anyio.wait_readable(self._descriptor)
            piece = os.read(self._descriptor, _READ)
            if not piece:
                return
            yield piece

    def close(self) -> None:
        """Let go of it."""
        os.close(self._descriptor)


class ForkedProgram:
    """What tests use of `anyio.abc.Process`, of a program that was forked."""

    def __init__(self, told: socket.socket, outputs: tuple[int, int]) -> None:
        self._told = told
        self._lines = b""
        self.pid = 0
        self.returncode: int | None = None
        self.stdout = ForkedOutput(outputs[0])
        self.stderr = ForkedOutput(outputs[1])

    async def begun(self) -> None:
        """Wait until it has a process id."""
        self.pid = int(await self._line())

    async def wait(self) -> int:
        """Return its exit code, negative for a signal."""
        if self.returncode is None:
            self.returncode = int(await self._line())
        return self.returncode

    async def aclose(self) -> None:
        """Wait for its end, and let go of its output."""
        await self.wait()
        self._told.close()
        self.stdout.close()
        self.stderr.close()

    async def _line(self) -> bytes:
        while b"\n" not in self._lines:
            await anyio.wait_readable(self._told)
            piece = self._told.recv(_READ)
            assert piece, "the forker ended"
            self._lines += piece
        line, _, self._lines = self._lines.partition(b"\n")
        return line


async def forked(
    argv: Sequence[str], *, cwd: Path, env: Mapping[str, str], script: str = ""
) -> ForkedProgram:
    """Start `python -m perstack` with `argv`, or a script of ours as it is installed."""
    told = socket.socket(socket.AF_UNIX)
    told.connect(f"\0{_forker().address}")
    (out, theirs_out), (err, theirs_err) = os.pipe(), os.pipe()
    null = os.open(os.devnull, os.O_RDONLY)
    wanted = {"script": script, "argv": list(argv), "cwd": str(cwd), "env": dict(env)}
    request = json.dumps(wanted).encode()
    try:
        socket.send_fds(told, [request + b"\n"], [null, theirs_out, theirs_err])
    finally:
        for descriptor in (null, theirs_out, theirs_err):
            os.close(descriptor)
    told.setblocking(False)
    program = ForkedProgram(told, (out, err))
    await program.begun()
    return program
