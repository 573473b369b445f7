"""The feed: GET /events as server-sent events, and /ws."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing, suppress
from typing import Annotated, Final

import anyio
from fastapi import APIRouter, Depends, Header, Query, WebSocket
from starlette.requests import HTTPConnection
from starlette.responses import Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from perstack.engine.groups import unwrapped
from perstack.serving.feed.hub import Feed
from perstack.serving.feed.news import Wanted
from perstack.serving.rest.context import Principal, needs, state_of
from perstack.serving.rest.leave import Leave
from perstack.serving.rest.sockets import serve_socket

HEARTBEAT_S: Final = 15.0
RETRY_MS: Final = 3_000
LONGEST_QUERY: Final = 4_000

router = APIRouter(tags=["events"])
Reader = Annotated[Principal, Depends(needs("events", "read"))]
_Text = Annotated[str | None, Query(max_length=LONGEST_QUERY)]


class EventStream(StreamingResponse):
    """An answer that goes on until the client has gone, which is noticed at once."""

    media_type = "text/event-stream"

    def __init__(self, parts: AsyncGenerator[bytes, None]) -> None:
        self._parts = parts
        headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
        super().__init__(parts, headers=headers)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it."""
        with unwrapped():
            async with aclosing(self._parts), anyio.create_task_group() as group:

                async def until_gone() -> None:
                    await self.listen_for_disconnect(receive)
                    group.cancel_scope.cancel()

                group.start_soon(until_gone, name="events:gone")
                with suppress(OSError):
                    await self.stream_response(send)
                group.cancel_scope.cancel()


@router.get(
    "/events",
    response_class=Response,
    responses={200: {"content": {"text/event-stream": {"schema": {"type": "string"}}}}},
)
async def events(
    connection: HTTPConnection,
    principal: Reader,
    types: _Text = None,
    job: _Text = None,
    after: _Text = None,
    last_event_id: Annotated[str | None, Header(max_length=LONGEST_QUERY)] = None,
) -> EventStream:
    """Tell what happens, as server-sent events: `types` are patterns divided by commas.

    Goes on after the news that `Last-Event-ID` or `after` names.
    """
    state = state_of(connection)
    state.feed.check_room()
    leave = Leave(state.doorkeeper, principal)
    return EventStream(_parts(state.feed, leave, Wanted.of(types, job), last_event_id or after))


@router.websocket("/ws")
async def socket(socket: WebSocket) -> None:
    """Tell what happens, in frames; see `sockets`."""
    await serve_socket(socket)


async def _parts(
    feed: Feed, leave: Leave, wanted: Wanted, after: str | None
) -> AsyncGenerator[bytes, None]:
    async with feed.listen(wanted, after) as listener:
        # While something is still to be told again, the client keeps the place it came with.
        place = b"" if listener.behind else _place(listener.position)
        yield b": perstack\nretry: %d\n%b\n" % (RETRY_MS, place)
        async with aclosing(listener.news(silence_s=HEARTBEAT_S)) as heard:
            async for some in heard:
                if not await leave.holds():
                    return
                if some:
                    yield b"".join(one.sse for one in some)
                else:
                    yield b": alive\n%b\n" % _place(listener.position)


def _place(position: str) -> bytes:
    return f"id: {position}\n".encode("ascii")
