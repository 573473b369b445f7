"""A program that is started for one talk and says what it does in lines of JSON."""

from __future__ import annotations

import logging
import os
from collections import deque
from collections.abc import AsyncGenerator, Callable, Iterable, Iterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Final, Protocol

import anyio
import anyio.abc
from pydantic import JsonValue

from perstack.errors import PerstackError, ProgramError
from perstack.ports.programs import Report
from perstack.processes.supervised import Ending, Supervised, supervised
from perstack.runtimes.records import fit_record, shown_line

Record = Mapping[str, JsonValue]

# Longer lines hold a file, an image or nonsense: more than a step of a history should.
MOST_LINE_BYTES: Final = 8 * 1024 * 1024
# Programs print a notice or a warning among their records, not this many.
MOST_GARBAGE: Final = 1_000
_HELD_BACK: Final = 64
# Of what a program complains, its error tells the last lines, whole, as far as they fit.
_SHOWN_LINES: Final = 40
_SHOWN_CHARACTERS: Final = 4_000
_GRACE_S: Final = 2.0
_DRAIN_S: Final = 2.0
# A program that has closed its output can tell nothing more, so it is not waited for any longer.
_ENDS_WITHIN_S: Final = 10.0
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
        """Nothing more will be told."""
        self._send.close()

    def leave(self) -> None:
        """Nobody hears any more."""
        self._receive.close()


@asynccontextmanager
async def running(
    name: str, invocation: Invocation, reader: Reader, workspace: Path
) -> AsyncGenerator[Running]:
    """Start the program in the workspace; once the context is left, nothing of it is there.

    Raises:
        ProgramError: it could not be started.
    """
    failure: PerstackError | None = None
    try:
        cwd = os.open(workspace, os.O_RDONLY | os.O_DIRECTORY)
    except OSError as error:
        why = error.strerror or type(error).__name__
        raise ProgramError(f"{name} cannot work in {workspace}: {why}") from error
    heard = Running(name)
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
            try:
                yield heard
            except PerstackError as error:
                # Raised outside of the group, it stays what it is.
                failure = error
            group.cancel_scope.cancel()
    finally:
        heard.close()
        heard.leave()
        os.close(cwd)
    if failure is not None:
        raise failure


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
        self._lines: deque[str] = deque(maxlen=_SHOWN_LINES)
        self.over = anyio.Event()

    async def follow(self, process: Supervised) -> None:
        try:
            async for line in _lines(process.stderr):
                self._lines.append(shown_line(line))
        finally:
            self.over.set()

    @property
    def tail(self) -> str:
        return _last_of(self._lines)


async def _hear(
    name: str, process: Supervised, reader: Reader, heard: Running, said: _Stderr
) -> None:
    try:
        garbage = await _records(name, process, reader, heard)
        ending: Ending | None = None
        with anyio.move_on_after(_ENDS_WITHIN_S):
            ending = await process.wait()
        if ending is None:
            await heard.push(ProgramError(f"{name} closed its output and did not end"))
            return
        with anyio.move_on_after(_DRAIN_S):
            await said.over.wait()
        failure = _failure(name, ending, said.tail, _last_of(garbage))
        for report in _understood(name, partial(reader.ended, failure)):
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
            if line.strip() and len(garbage) < _SHOWN_LINES:
                garbage.append(shown_line(line))
            continue
        for report in _understood(name, partial(reader.read, record)):
            await heard.push(report)
    if lost:
        _LOG.warning("%s printed %d lines that are no records", name, lost)
    return garbage


def _understood(name: str, told: Callable[[], Iterable[Report]]) -> Iterator[Report]:
    """Yield what a reader tells.

    Raises:
        ProgramError: the program failed; or a record has a shape that no version of it had.
    """
    try:
        yield from told()
    except (ValueError, TypeError, LookupError, ArithmeticError, RecursionError) as error:
        _LOG.warning("a record of %s was not understood", name, exc_info=True)
        raise ProgramError(f"{name} says what this version does not understand") from error


def _record(line: bytes) -> Record | None:
    if len(line) >= MOST_LINE_BYTES:
        return None
    return fit_record(line)


def _last_of(lines: Iterable[str]) -> str:
    """Return the last lines that fit."""
    found: deque[str] = deque()
    left = _SHOWN_CHARACTERS
    for line in reversed([line for line in lines if line]):
        left -= len(line) + 1
        if left < 0:
            break
        found.appendleft(line)
    return "\n".join(found)


def _failure(name: str, ending: Ending, stderr: str, garbage: str) -> ProgramError | None:
    if ending.code == 0:
        return None
    said = stderr or garbage
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
