"""The `exec` tool: one command, without a shell, of which nothing is left afterwards."""

from __future__ import annotations

import os
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Final

import anyio
import anyio.abc
import anyio.to_thread
from pydantic import JsonValue

from perstack.errors import SkillError
from perstack.ports.skills import RunContext
from perstack.processes.supervised import Ending, Supervised, supervised
from perstack.skills.base.arguments import ExecArguments
from perstack.skills.base.failure import ToolFailure
from perstack.skills.base.live import LiveLines, LiveOutput
from perstack.skills.base.paths import Workspace
from perstack.skills.base.sandbox import PRIVATE_TMP, Sandbox
from perstack.skills.environment import for_command

Json = dict[str, JsonValue]

MAX_STREAM_BYTES: Final = 100_000
DRAIN_S: Final = 1.0
_LONGEST_LINE: Final = 4_096
SILENT: Final = "Command executed successfully, but produced no output."
_NAMES: Final = ("stdout", "stderr")


class HeadAndTail:
    """The first and the last bytes of a stream, whatever its length.

    It is cut between lines unless they are very long: half a secret is none that whoever takes
    secrets out could recognise.
    """

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
        if not self._left_out:
            return bytes(self._head + self._tail).decode(errors="replace")
        end = self._head.rfind(b"\n", -_LONGEST_LINE) + 1 or len(self._head)
        start = self._tail.find(b"\n", 0, _LONGEST_LINE) + 1
        left_out = self._left_out + len(self._head) - end + start
        head, tail = (
            bytes(part).decode(errors="replace") for part in (self._head[:end], self._tail[start:])
        )
        between = "" if head.endswith("\n") else "\n"
        return f"{head}{between}… {left_out:,} bytes left out …\n{tail}"


class _Outputs:
    """The two streams of a command: what of them is kept, and what is shown meanwhile."""

    def __init__(self, args: ExecArguments, show: Callable[[str], None] | None) -> None:
        self.kept = {name: HeadAndTail() for name in _NAMES}
        self._wanted = {"stdout": args.stdout, "stderr": args.stderr}
        self._live = LiveOutput(show) if show is not None else None
        self._lines: dict[str, LiveLines] = {}
        if self._live is not None:
            self._lines = {n: LiveLines(self._live) for n in _NAMES if self._wanted[n]}

    def told(self) -> dict[str, str]:
        """What the model gets to read."""
        return {name: kept.text() for name, kept in self.kept.items() if self._wanted[name]}

    async def follow(self, running: Supervised) -> Ending:
        """Take everything in until nothing of the command is left; return how it ended."""
        try:
            async with anyio.create_task_group() as group:
                if self._live is not None:
                    group.start_soon(self._live.keep_showing)
                async with anyio.create_task_group() as reading:
                    reading.start_soon(self._collect, "stdout", running.stdout)
                    reading.start_soon(self._collect, "stderr", running.stderr)
                    await running.wait()
                    # They end with the last process; one that got away must not hold up the call.
                    reading.cancel_scope.deadline = anyio.current_time() + DRAIN_S
                group.cancel_scope.cancel()
            return await running.wait()
        finally:
            self._finish_showing()

    async def _collect(self, name: str, stream: anyio.abc.ByteReceiveStream) -> None:
        kept, lines = self.kept[name], self._lines.get(name)
        async for piece in stream:
            kept.add(piece)
            if lines is not None:
                lines.add(piece)

    def _finish_showing(self) -> None:
        for lines in self._lines.values():
            lines.finish()
        if self._live is not None:
            self._live.flush()


async def run_command(
    workspace: Workspace,
    context: RunContext,
    args: ExecArguments,
    *,
    sandbox: Sandbox | None = None,
    show: Callable[[str], None] | None = None,
) -> tuple[Json, bool]:
    """Return the result and whether it is an error; `show` is given the output as it comes.

    When the command ends, is late, or the call is cancelled, everything it started is ended.
    """
    env, ignored = for_command(_checked(args.env), context)
    outputs = _Outputs(args, show)
    cwd = await anyio.to_thread.run_sync(workspace.open_directory, args.cwd)
    with _closing(cwd):
        command = [args.command, *args.args]
        if sandbox is not None:
            command = await anyio.to_thread.run_sync(sandbox.around, command, cwd)
            env |= {"TMPDIR": args.env.get("TMPDIR", PRIVATE_TMP)}
        ending = await _run(command, args.timeout, env, cwd, outputs)
    if sandbox is not None:
        ending = sandbox.explained(ending, outputs.kept["stderr"].text())
    note: Json = {"ignoredEnv": [*ignored]} if ignored else {}
    return _result(ending, args, outputs.told(), note)


async def _run(
    command: list[str], timeout_ms: int, env: dict[str, str], cwd: int, outputs: _Outputs
) -> Ending | None:
    """Return how the command ended, None if it took too long."""
    try:
        with anyio.move_on_after(timeout_ms / 1000):
            async with supervised(command, env=env, cwd=cwd) as running:
                return await outputs.follow(running)
    except SkillError as error:
        raise ToolFailure("StartFailed", error.message) from error
    return None


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
