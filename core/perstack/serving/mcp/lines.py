"""JSON-RPC messages as lines of bytes: one that is none is answered, and costs only itself."""

from __future__ import annotations

import contextlib
import json
import os
import select
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Final

import anyio
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream
from mcp.shared.message import SessionMessage
from mcp.types import (
    INVALID_REQUEST,
    PARSE_ERROR,
    ErrorData,
    JSONRPCError,
    JSONRPCNotification,
    JSONRPCRequest,
    jsonrpc_message_adapter,
)
from pydantic import ValidationError

LONGEST_LINE: Final = 32 * 1024 * 1024
ANSWERED_WITHIN_S: Final = 1.2
MOST_OPEN: Final = 128
_BUSY: Final = -32000
_PIECE: Final = 65_536
_SHORT: Final = 200

Received = MemoryObjectReceiveStream[SessionMessage | Exception]
Sent = MemoryObjectSendStream[SessionMessage]


class TooLongError(Exception):
    """A line was longer than is read; all of it was skipped."""


class LineReader:
    """Lines of a descriptor, without ever waiting for it in a thread that could not be ended."""

    def __init__(self, fd: int, *, longest: int = LONGEST_LINE) -> None:
        self._fd = fd
        self._longest = longest
        self._held = bytearray()
        self._looked_at = 0
        self._skipping = False
        self._ended = False

    async def line(self) -> bytes | None:
        """Return the next line without its end, None once there is no more.

        Raises:
            TooLongError: it has more than `longest` bytes. The next call gives the line after it.
        """
        while True:
            at = self._held.find(b"\n", self._looked_at)
            if at >= 0:
                return self._taken(at)
            self._looked_at = len(self._held)
            if self._looked_at > self._longest:
                self._skipping = True
            if self._skipping:
                self._held.clear()
                self._looked_at = 0
            if self._ended:
                return self._last()
            piece = await self._read()
            self._ended = not piece
            self._held += piece

    def _taken(self, at: int) -> bytes:
        line = bytes(self._held[:at])
        del self._held[: at + 1]
        self._looked_at = 0
        if self._skipping or len(line) > self._longest:
            self._skipping = False
            raise TooLongError
        return line

    def _last(self) -> bytes | None:
        """Return what stands behind the last line's end."""
        skipped, self._skipping = self._skipping, False
        if skipped:
            raise TooLongError
        line, self._held = bytes(self._held), bytearray()
        self._looked_at = 0
        return line or None

    async def _read(self) -> bytes:
        try:
            await anyio.wait_readable(self._fd)
        except PermissionError:
            # A plain file or the null device: reading it never waits.
            await anyio.lowlevel.checkpoint()
        try:
            return os.read(self._fd, _PIECE)
        except OSError:
            return b""


@dataclass(slots=True)
class _Open:
    """The requests that are not answered yet."""

    ids: set[str | int] = field(default_factory=set[str | int])
    none: anyio.Event = field(default_factory=anyio.Event)

    def asked(self, id_: str | int) -> None:
        self.ids.add(id_)
        self.none = anyio.Event()

    def answered(self, id_: str | int | None) -> None:
        if id_ is not None:
            self.ids.discard(id_)
        if not self.ids:
            self.none.set()


@asynccontextmanager
async def messages(
    read_fd: int,
    write_fd: int,
    *,
    ended: Callable[[], None] = lambda: None,
    longest: int = LONGEST_LINE,
) -> AsyncGenerator[tuple[Received, Sent]]:
    """Give the streams that the SDK's server reads from and writes to.

    What the client asked just before it closed its end is answered yet, for `ANSWERED_WITHIN_S`
    seconds at most; `ended` is called before them. Once nobody reads what it is told, nothing
    more is taken from it either.
    """
    to_server, received = anyio.create_memory_object_stream[SessionMessage | Exception]()
    sent, from_server = anyio.create_memory_object_stream[SessionMessage]()
    open_ = _Open()
    async with anyio.create_task_group() as group:
        reader, reading = LineReader(read_fd, longest=longest), anyio.CancelScope()

        async def receive() -> None:
            with reading:
                await _receive(reader, to_server, sent.clone(), open_, ended)

        async def write() -> None:
            await _write(from_server, write_fd, open_)
            reading.cancel()

        group.start_soon(receive)
        group.start_soon(write)
        try:
            yield received, sent
        finally:
            group.cancel_scope.cancel()


async def _receive(
    reader: LineReader,
    to_server: MemoryObjectSendStream[SessionMessage | Exception],
    back: Sent,
    open_: _Open,
    ended: Callable[[], None],
) -> None:
    with contextlib.suppress(anyio.BrokenResourceError, anyio.ClosedResourceError):
        async with to_server, back:
            while True:
                try:
                    line = await reader.line()
                except TooLongError:
                    await back.send(_refusal(INVALID_REQUEST, "the line is too long"))
                    continue
                if line is None:
                    break
                if line.strip():
                    await _take(line, to_server, back, open_)
            ended()
            with anyio.move_on_after(ANSWERED_WITHIN_S):
                while open_.ids:
                    await open_.none.wait()


async def _take(
    line: bytes,
    to_server: MemoryObjectSendStream[SessionMessage | Exception],
    back: Sent,
    open_: _Open,
) -> None:
    try:
        message = jsonrpc_message_adapter.validate_json(line, by_name=False)
    except (ValidationError, ValueError, RecursionError):
        await back.send(_why_not(line))
        return
    if isinstance(message, JSONRPCRequest):
        if len(open_.ids) >= MOST_OPEN:
            # A client that never reads is waited for here, before its answers fill the memory.
            await back.send(_refusal(_BUSY, f"{MOST_OPEN} requests are open already", message.id))
            return
        open_.asked(message.id)
    if isinstance(message, JSONRPCNotification) and message.method == "notifications/cancelled":
        # What was taken back is answered no more.
        given = (message.params or {}).get("requestId")
        open_.answered(given if isinstance(given, str | int) else None)
    await to_server.send(SessionMessage(message))


def _why_not(line: bytes) -> SessionMessage:
    """Return why a line is no message of the protocol."""
    try:
        made = json.loads(line)
    except (ValueError, RecursionError):
        return _refusal(PARSE_ERROR, "the line is no JSON")
    if isinstance(made, list):
        return _refusal(INVALID_REQUEST, "batches are not part of the protocol")
    return _refusal(INVALID_REQUEST, "the line is no JSON-RPC 2.0 message")


def _refusal(code: int, message: str, id_: str | int | None = None) -> SessionMessage:
    return SessionMessage(
        JSONRPCError(jsonrpc="2.0", id=id_, error=ErrorData(code=code, message=message))
    )


async def _write(
    from_server: MemoryObjectReceiveStream[SessionMessage], fd: int, open_: _Open
) -> None:
    async with from_server:
        async for one in from_server:
            text = one.message.model_dump_json(by_alias=True, exclude_unset=True)
            if not await _written(fd, text.encode() + b"\n"):
                return
            open_.answered(getattr(one.message, "id", None))


async def _written(fd: int, line: bytes) -> bool:
    """Write it whole; return False if nobody reads any more.

    Pieces are so small that a pipe with room takes each at once: the loop never waits in a write.
    """
    left = memoryview(line)
    while left:
        try:
            await anyio.wait_writable(fd)
        except PermissionError:
            await anyio.lowlevel.checkpoint()
        try:
            left = left[os.write(fd, left[: select.PIPE_BUF]) :]
        except OSError:
            return False
    return True
