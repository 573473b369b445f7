"""The two pipes of a tool server as the pair of message streams that the SDK's session takes."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Callable
from contextlib import suppress
from typing import Final

import anyio
import anyio.abc
from mcp.shared.message import SessionMessage
from mcp_types import jsonrpc_message_adapter
from pydantic import ValidationError

from perstack.processes.supervised import Supervised
from perstack.skills.mcp.lenient import mended
from perstack.skills.mcp.limits import MAX_MESSAGE_BYTES
from perstack.skills.mcp.values import LINE, ValueCounter
from perstack.skills.text import printable

_SHOWN_BYTES: Final = 120
_GONE: Final = (anyio.BrokenResourceError, anyio.ClosedResourceError, anyio.EndOfStream)


class Link:
    """One message a line. `over` is set once nothing can come any more.

    `read` and `write` are to run as tasks for as long as the server lives. `tell` gets a sentence
    about what the server did wrong; lines that are no messages are told of once.
    """

    def __init__(self, process: Supervised, over: anyio.Event, tell: Callable[[str], None]) -> None:
        self._process = process
        self._tell = tell
        self._told_of_noise = False
        self.over = over
        self._to_session, self.incoming = anyio.create_memory_object_stream[
            SessionMessage | Exception
        ](0)
        self.outgoing, self._from_session = anyio.create_memory_object_stream[SessionMessage](0)

    async def read(self) -> None:
        """Hand on what the server says; once nobody listens, just keep its pipe empty."""
        try:
            async for line in _lines(self._process.stdout):
                await self._hand_on(line)
        except ValueError as error:
            self._tell(str(error))
        except _GONE:
            pass
        finally:
            self.over.set()
            self._to_session.close()

    async def write(self) -> None:
        """Send what the session says."""
        stdin = self._process.stdin
        try:
            async for item in self._from_session:
                if stdin is not None:
                    await stdin.send(_line(item))
        except _GONE:
            self.over.set()

    def close(self) -> None:
        """Let go of the streams; idempotent."""
        for stream in (self._to_session, self.incoming, self.outgoing, self._from_session):
            stream.close()

    async def _hand_on(self, line: bytes) -> None:
        if not line.strip():
            return
        message = self._parse(line)
        if message is None:
            self._tell_of_noise(line)
            return
        with suppress(*_GONE):
            await self._to_session.send(message)

    def _parse(self, line: bytes) -> SessionMessage | None:
        try:
            message = mended(json.loads(line.decode(errors="replace")), self._tell)
            if message is None:
                return None
            return SessionMessage(jsonrpc_message_adapter.validate_python(message, by_name=False))
        except (ValidationError, ValueError, RecursionError):
            return None

    def _tell_of_noise(self, line: bytes) -> None:
        if not self._told_of_noise:
            self._told_of_noise = True
            shown = printable(line[:_SHOWN_BYTES].decode(errors="replace"))
            self._tell(f"its output holds lines that are no messages, such as {shown!r}")


async def _lines(stream: anyio.abc.ByteReceiveStream) -> AsyncGenerator[bytes, None]:
    """Yield whole lines; what is left at the end is no line.

    Raises:
        ValueError: a line is longer than `MAX_MESSAGE_BYTES`, or holds too many values.
    """
    line = bytearray()
    values = ValueCounter(LINE)
    async for piece in stream:
        values.add(piece)
        first, *others = piece.split(b"\n")
        line += first
        for other in others:
            yield bytes(line)
            line = bytearray(other)
        if len(line) > MAX_MESSAGE_BYTES:
            raise ValueError(f"it sent a message of more than {MAX_MESSAGE_BYTES:,} bytes")


def _line(item: SessionMessage) -> bytes:
    # In ASCII, half a character (a lone surrogate) that a model wrote can be sent, too.
    message = item.message.model_dump(by_alias=True, exclude_unset=True, mode="json")
    return json.dumps(message).encode() + b"\n"
