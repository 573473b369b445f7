"""The `exec` tool: one command, without a shell, of which nothing is left afterwards."""

from __future__ import annotations

import os
from collections.abc import Generator
from contextlib import contextmanager
from typing import Final

import anyio
import anyio.abc
import anyio.to_thread
from pydantic import JsonValue

from perstack.errors import SkillError
from perstack.ports.skills import RunContext
from perstack.skills.base.arguments import ExecArguments
from perstack.skills.base.failure import ToolFailure
from perstack.skills.base.paths import Workspace
from perstack.skills.environment import for_command
from perstack.skills.process import Ending, Supervised, supervised

Json = dict[str, JsonValue]

MAX_STREAM_BYTES: Final = 100_000
DRAIN_S: Final = 1.0
SILENT: Final = "Command executed successfully, but produced no output."


class HeadAndTail:
    """The first and the last bytes of a stream, whatever its length."""

    def __init__(self, at_most: int = MAX_STREAM_BYTES) -> None:
        self._half = at_most // 2
        self._head = bytearray()
        self._tail = bytearray()
        self._left_out = 0

    def add(self, piece: bytes) -> None:
        """Take the next bytes."""
        room = self._half - len(self._head)
        self._head += piece[:room]
        self._tail += piece[room:]
        surplus = len(self._tail) - self._half
        if surplus > 0:
            self._left_out += surplus
            del self._tail[:surplus]

    def text(self) -> str:
        """Return what was kept, and say how much was not."""
        head, tail = (bytes(part).decode(errors="replace") for part in (self._head, self._tail))
        if not self._left_out:
            return bytes(self._head + self._tail).decode(errors="replace")
        return f"{head}\n… {self._left_out:,} bytes left out …\n{tail}"


async def run_command(
    workspace: Workspace, context: RunContext, args: ExecArguments
) -> tuple[Json, bool]:
    """Return the result and whether it is an error.

    When the command ends, is late, or the call is cancelled, everything it started is ended.
    """
    env, ignored = for_command(_checked(args.env), context)
    streams = (HeadAndTail(), HeadAndTail())
    cwd = await anyio.to_thread.run_sync(workspace.open_directory, args.cwd)
    with _closing(cwd):
        ending = await _run(args, env, cwd, streams)
    told = {
        name: stream.text()
        for name, stream, wanted in zip(
            ("stdout", "stderr"), streams, (args.stdout, args.stderr), strict=True
        )
        if wanted
    }
    note: Json = {"ignoredEnv": [*ignored]} if ignored else {}
    return _result(ending, args, told, note)


async def _run(
    args: ExecArguments, env: dict[str, str], cwd: int, streams: tuple[HeadAndTail, HeadAndTail]
) -> Ending | None:
    """Return how the command ended, None if it took too long."""
    try:
        with anyio.move_on_after(args.timeout / 1000):
            async with supervised([args.command, *args.args], env=env, cwd=cwd) as running:
                return await _follow(running, streams)
    except SkillError as error:
        raise ToolFailure("StartFailed", error.message) from error
    return None


async def _follow(running: Supervised, streams: tuple[HeadAndTail, HeadAndTail]) -> Ending:
    async with anyio.create_task_group() as group:
        group.start_soon(_collect, running.stdout, streams[0])
        group.start_soon(_collect, running.stderr, streams[1])
        await running.wait()
        # The streams end with the last process; one that got away must not hold up the call.
        group.cancel_scope.deadline = anyio.current_time() + DRAIN_S
    return await running.wait()


async def _collect(stream: anyio.abc.ByteReceiveStream, kept: HeadAndTail) -> None:
    async for piece in stream:
        kept.add(piece)


def _result(
    ending: Ending | None, args: ExecArguments, told: dict[str, str], note: Json
) -> tuple[Json, bool]:
    if ending is not None and ending.code == 0:
        output = "\n".join(text for text in told.values() if text)
        return {"output": output if output.strip() else SILENT, **note}, False
    if ending is None:
        error = f"Command timed out after {args.timeout}ms."
    else:
        error = f"Command {args.command!r} {ending.words}."
    return {"error": error, **told, **note}, True


def _checked(env: dict[str, str]) -> dict[str, str]:
    for name, value in env.items():
        if not name or "=" in name or "\0" in name + value:
            raise ToolFailure("InvalidArguments", f"{name!r} cannot be set as a variable.")
    return env


@contextmanager
def _closing(fd: int) -> Generator[None, None, None]:
    try:
        yield
    finally:
        os.close(fd)
