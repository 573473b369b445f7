"""Bounds what a server may have asked without reading the answers, each of which takes memory."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

import anyio
from anyio.abc import ObjectReceiveStream, ObjectSendStream
from mcp.client._transport import ReadStream, WriteStream
from mcp.shared.message import SessionMessage
from mcp_types import JSONRPCError, JSONRPCNotification, JSONRPCRequest, JSONRPCResponse

from perstack.skills.mcp.launch import Streams

MAX_UNANSWERED: Final = 1_000


@dataclass(slots=True)
class Unanswered:
    """The requests of a server that have no answer yet; with too many of them it is ended.

    `over` is what ends the connection, `tell` gets a sentence.
    """

    over: anyio.Event
    tell: Callable[[str], None]
    _ids: set[str | int | None] = field(default_factory=set[str | int | None])

    def watching(self, streams: Streams) -> Streams:
        """Return the streams with each message noted as it passes."""
        return Streams(_Incoming(streams.incoming, self), _Outgoing(streams.outgoing, self))

    def asked(self, item: SessionMessage | Exception) -> None:
        """Note a message of the server."""
        message = item.message if isinstance(item, SessionMessage) else None
        if isinstance(message, JSONRPCNotification):
            self._ids.discard((message.params or {}).get("requestId"))
        elif isinstance(message, JSONRPCRequest):
            self._ids.add(message.id)
            if len(self._ids) > MAX_UNANSWERED and not self.over.is_set():
                self.tell(f"it left {MAX_UNANSWERED:,} answers unread and was stopped")
                self.over.set()

    def answered(self, item: SessionMessage) -> None:
        """Note a message that the server has taken."""
        if isinstance(item.message, JSONRPCResponse | JSONRPCError):
            self._ids.discard(item.message.id)


@dataclass(slots=True, eq=False)
class _Incoming(ObjectReceiveStream[SessionMessage | Exception]):
    inner: ReadStream[SessionMessage | Exception]
    watch: Unanswered

    async def receive(self) -> SessionMessage | Exception:
        item = await self.inner.receive()
        self.watch.asked(item)
        return item

    async def aclose(self) -> None:
        await self.inner.aclose()


@dataclass(slots=True, eq=False)
class _Outgoing(ObjectSendStream[SessionMessage]):
    inner: WriteStream[SessionMessage]
    watch: Unanswered

    async def send(self, item: SessionMessage) -> None:
        await self.inner.send(item)
        self.watch.answered(item)

    async def aclose(self) -> None:
        await self.inner.aclose()
