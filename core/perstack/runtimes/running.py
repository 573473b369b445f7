"""A program that is started for one talk and says what it does in lines of JSON."""

from __future__ import annotations

import json
import logging
import os
from collections import deque
from collections.abc import AsyncGenerator, Iterable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Protocol, cast

import anyio
import anyio.abc
from pydantic import JsonValue

from perstack.errors import ProgramError
from perstack.ports.programs import Report
from perstack.processes.supervised import Ending, Supervised, supervised

Record = Mapping[str, JsonValue]

# Longer lines hold a file, an image or nonsense: more than a step of a history should.
MOST_LINE_BYTES: Final = 8 * 1024 * 1024
# Programs print a notice or a warning among their records, not this many.
MOST_GARBAGE: Final = 1_000
_HELD_BACK: Final = 64
_STDERR_LINES: Final = 40
_STDERR_LINE: Final = 2_000
_GRACE_S: Final = 2.0
_DRAIN_S: Final = 2.0
_GONE: Final = (anyio.BrokenResourceError, anyio.ClosedResourceError)
_LOG: Final = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Invocation:
    """How a program is started: arguments (no shell), environment, what it reads first."""

    argv: tuple[str, ...]
    env: Mapping[str, str] = field(repr=False)
    stdin: str = ""


class Reader(Protocol):
    """Understands the records of one program; made anew for each talk."""

    def read(self, record: Record) -> Iterable[Report]:
        """Return what a record tells; one that is of no interest, or unknown, tells nothing.

        Raises:
            ProgramError: it tells that the program failed.
        """
        ...

    def ended(self, failure: ProgramError | None) -> Iterable[Report]:
        """Return what is left to tell as the output ends, `Finished` unless that was told.

        `failure` is how the process went wrong, None for exit code 0.

        Raises:
            ProgramError: nothing came of the talk.
        """
        ...


class Running:
    """Implements `ports.programs.Hearing`."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._send, self._receive = anyio.create_memory_object_stream[Report | ProgramError](
            _HELD_BACK
        )

    async def next(self) -> Report:
        """Return the next report.

        Raises:
            ProgramError: as the port says.
        """
        try:
            report = await self._receive.receive()
        except (anyio.EndOfStream, anyio.ClosedResourceError) as error:
            raise ProgramError(f"{self._name} ended without a result") from error
        if isinstance(report, ProgramError):
            raise report
        return report

    async def push(self, report: Report | ProgramError) -> None:
        """Have something heard; waits while too much is unheard."""
        with suppress(*_GONE):
            await self._send.send(report)

    def close(self) -> None:
        """Nothing more will be heard."""
        self._send.close()


@asynccontextmanager
async def running(
    name: str, invocation: Invocation, reader: Reader, workspace: Path
) -> AsyncGenerator[Running]:
    """Start the program in the workspace; once the context is left, nothing of it is there.

    Raises:
        ProgramError: it could not be started.
    """
    heard = Running(name)
    cwd = os.open(workspace, os.O_RDONLY | os.O_DIRECTORY)
    try:
        async with (
            supervised(
                invocation.argv,
                env=invocation.env,
                cwd=cwd,
                with_stdin=True,
                grace_s=_GRACE_S,
                failure=ProgramError,
            ) as process,
            anyio.create_task_group() as group,
        ):
            said = _Stderr()
            group.start_soon(_say, process, invocation.stdin, name=f"{name}: stdin")
            group.start_soon(said.follow, process, name=f"{name}: stderr")
            group.start_soon(_hear, name, process, reader, heard, said, name=f"{name}: stdout")
            yield heard
            group.cancel_scope.cancel()
    finally:
        os.close(cwd)


async def _say(process: Supervised, text: str) -> None:
    if process.stdin is None:
        return
    with suppress(OSError, *_GONE):
        await process.stdin.send(text.encode("utf-8", "replace"))
    with suppress(OSError, *_GONE):
        await process.stdin.aclose()


class _Stderr:
    """The last lines of a program's standard error."""

    def __init__(self) -> None:
        self._lines: deque[str] = deque(maxlen=_STDERR_LINES)
        self.over = anyio.Event()

    async def follow(self, process: Supervised) -> None:
        try:
            async for line in _lines(process.stderr):
                self._lines.append(line[:_STDERR_LINE].decode("utf-8", "replace").rstrip())
        finally:
            self.over.set()

    @property
    def tail(self) -> str:
        return "\n".join(line for line in self._lines if line)


async def _hear(
    name: str, process: Supervised, reader: Reader, heard: Running, said: _Stderr
) -> None:
    try:
        garbage = await _records(name, process, reader, heard)
        ending = await process.wait()
        with anyio.move_on_after(_DRAIN_S):
            await said.over.wait()
        for report in reader.ended(_failure(name, ending, said.tail, garbage)):
            await heard.push(report)
    except ProgramError as error:
        await heard.push(error)
    finally:
        heard.close()


async def _records(name: str, process: Supervised, reader: Reader, heard: Running) -> list[str]:
    """Have all records heard; return the first lines that were none."""
    garbage: list[str] = []
    lost = 0
    async for line in _lines(process.stdout):
        record = _record(line)
        if record is None:
            lost += bool(line.strip())
            if lost > MOST_GARBAGE:
                raise ProgramError(f"{name} says what nobody understands: {garbage[0]}")
            if line.strip() and len(garbage) < _STDERR_LINES:
                garbage.append(line[:_STDERR_LINE].decode("utf-8", "replace").strip())
            continue
        for report in reader.read(record):
            await heard.push(report)
    if lost:
        _LOG.warning("%s printed %d lines that are no records", name, lost)
    return garbage


def _record(line: bytes) -> Record | None:
    if len(line) >= MOST_LINE_BYTES:
        return None
    try:
        found: object = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return cast("Record", found) if isinstance(found, dict) else None


def _failure(name: str, ending: Ending, stderr: str, garbage: list[str]) -> ProgramError | None:
    if ending.code == 0:
        return None
    said = stderr or "\n".join(garbage)
    if ending.code is None:
        return ProgramError(f"{name} {ending.words}" + (f": {said}" if said else ""))
    return ProgramError(f"{name} CLI failed with exit code {ending.code}: {said or 'no message'}")


async def _lines(stream: anyio.abc.ByteReceiveStream) -> AsyncGenerator[bytes]:
    """Yield lines; one that is too long is cut off, and its rest is not kept."""
    held = bytearray()
    with suppress(*_GONE):
        async for piece in stream:
            *whole, rest = piece.split(b"\n")
            for part in whole:
                held += part[: MOST_LINE_BYTES - len(held)]
                yield bytes(held)
                held.clear()
            held += rest[: MOST_LINE_BYTES - len(held)]
    if held:
        yield bytes(held)
