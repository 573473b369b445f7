"""Runs the commands of a container engine, in bounded time and without a shell."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import anyio
import anyio.abc

from perstack.errors import ProgramError
from perstack.processes.supervised import Ending, supervised

# One line may hold the result of a whole job.
_LINE_BYTES: Final = 16 * 1024 * 1024
_KEPT_LINES: Final = 200
_KEPT_CHARACTERS: Final = 4_000
_TAIL_LINES: Final = 12
_TAIL_CHARACTERS: Final = 2_000
_GRACE_S: Final = 2.0
_GONE: Final = (anyio.BrokenResourceError, anyio.ClosedResourceError)

Heard = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Ran:
    """How a command ended, None if it took too long, and the last lines of what it said."""

    ending: Ending | None
    out: str
    err: str

    @property
    def well(self) -> bool:
        """Whether it ended with exit code 0."""
        return self.ending is not None and self.ending.code == 0

    @property
    def tail(self) -> str:
        """The last lines of its complaint, or of what it printed."""
        lines = (self.err or self.out).splitlines()[-_TAIL_LINES:]
        return "\n".join(lines)[-_TAIL_CHARACTERS:] or "no message"


async def run(
    argv: Sequence[str],
    env: Mapping[str, str],
    *,
    within_s: float,
    heard: Heard | None = None,
    complained: Heard | None = None,
) -> Ran:
    """Run a command to its end, or end it after `within_s`; `heard` gets its lines at once.

    `complained` gets those of its standard error. What it started is gone when this returns.
    """
    out, err = _Kept(heard), _Kept(complained)
    ending: Ending | None = None
    cwd = os.open(Path("/"), os.O_RDONLY | os.O_DIRECTORY)
    try:
        with anyio.move_on_after(within_s):
            async with (
                supervised(
                    argv, env=env, cwd=cwd, grace_s=_GRACE_S, failure=ProgramError
                ) as process,
                anyio.create_task_group() as group,
            ):
                group.start_soon(out.follow, process.stdout)
                group.start_soon(err.follow, process.stderr)
                ending = await process.wait()
    finally:
        os.close(cwd)
    return Ran(ending, out.text, err.text)


class _Kept:
    """The last lines of a stream."""

    def __init__(self, heard: Heard | None) -> None:
        self._heard = heard
        self._lines: deque[str] = deque(maxlen=_KEPT_LINES)

    @property
    def text(self) -> str:
        return "\n".join(self._lines)

    async def follow(self, stream: anyio.abc.ByteReceiveStream) -> None:
        async for line in _lines(stream):
            text = line.decode("utf-8", "replace").rstrip("\r")
            self._lines.append(text[:_KEPT_CHARACTERS])
            if self._heard is not None:
                self._heard(text)


async def _lines(stream: anyio.abc.ByteReceiveStream) -> AsyncGenerator[bytes]:
    """Yield lines; of one that is too long, the beginning."""
    held = bytearray()
    with suppress(*_GONE):
        async for piece in stream:
            *whole, rest = piece.split(b"\n")
            for part in whole:
                held += part[: _LINE_BYTES - len(held)]
                yield bytes(held)
                held.clear()
            held += rest[: _LINE_BYTES - len(held)]
    if held:
        yield bytes(held)
