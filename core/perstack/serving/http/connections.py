"""Connections of clients: not too many, none that never asks anything, none that never reads."""

from __future__ import annotations

import asyncio
from typing import Final, cast

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol, RequestResponseCycle

MOST: Final = 1_024
HEAD_WITHIN_S: Final = 10.0
READS_WITHIN_S: Final = 20.0


class Connection(H11Protocol):
    """Uvicorn's own, closed when no request's head has arrived in time; beyond `MOST` at once.

    One whose client takes nothing of what is sent is cut off after `READS_WITHIN_S` to twice that.
    Closing it would wait for the client, and it would count, with all that it was to be sent.
    """

    _waiting: asyncio.TimerHandle | None = None
    _unread: int | None = None
    _closing = False

    def connection_made(self, transport: asyncio.Transport) -> None:
        """Take it, if there is room."""
        super().connection_made(transport)
        if len(self.connections) > MOST:
            transport.abort()
            return
        self._wait_for_head()
        self._look_later()

    def data_received(self, data: bytes) -> None:
        """Read; a head that is still incomplete does not get more time."""
        super().data_received(data)
        # It is None before the first request, whatever its type says.
        cycle = cast("RequestResponseCycle | None", self.cycle)
        answering = cycle is not None and not cycle.response_complete
        # A connection that became a WebSocket is no longer among them.
        if answering or self not in self.connections:
            self._stop_waiting()
        elif self._waiting is None:
            self._wait_for_head()

    def send_400_response(self, msg: str) -> None:
        """Refuse what is no HTTP. Where an answer has begun there is no place for another."""
        if self.conn.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            super().send_400_response(msg)
        else:
            self.transport.close()

    def resume_writing(self) -> None:
        """Go on sending: something was read."""
        self._unread = None
        super().resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget it."""
        self._stop_waiting()
        super().connection_lost(exc)

    def _wait_for_head(self) -> None:
        self._waiting = self.loop.call_later(HEAD_WITHIN_S, self.transport.close)

    def _stop_waiting(self) -> None:
        if self._waiting is not None:
            self._waiting.cancel()
            self._waiting = None

    def _look_later(self) -> None:
        self.loop.call_later(READS_WITHIN_S, self._look)

    def _look(self) -> None:
        """Cut off a client that has read nothing since the last look, or never lets go."""
        # This goes on once it is a WebSocket, whose sending is bounded in `sockets`.
        if self._closing or self._stalls():
            self.transport.abort()
            return
        self._closing = self.transport.is_closing()
        self._look_later()

    def _stalls(self) -> bool:
        if self.transport.get_protocol() is not self or not self.flow.write_paused:
            return False
        before, self._unread = self._unread, self.transport.get_write_buffer_size()
        return before is not None and self._unread >= before
