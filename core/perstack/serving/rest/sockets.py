"""The feed over a WebSocket: text frames `{type, payload, timestamp}`, in both directions.

Everything is told from the start; the first `subscribe` narrows it to what it names.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from contextlib import aclosing, suppress
from functools import partial
from typing import Final, cast
from uuid import uuid4

import anyio
from fastapi import WebSocket
from pydantic import JsonValue
from starlette.websockets import WebSocketDisconnect

from perstack.domain.moments import iso8601
from perstack.engine.groups import unwrapped
from perstack.errors import DeniedError, NotSignedInError, PerstackError, UsageError
from perstack.ports.system import SystemClock
from perstack.serving.failures import as_json, failure_of
from perstack.serving.feed.listening import Listener
from perstack.serving.feed.news import OVERFLOW, Wanted, checked_patterns, frame
from perstack.serving.rest.context import Principal, state_of
from perstack.serving.rest.doorkeeping import token_of
from perstack.serving.rest.leave import Leave

LARGEST_FRAME: Final = 64 * 1024
SILENCE_S: Final = 15.0
AUTH_WITHIN_S: Final = 10.0
SEND_WITHIN_S: Final = 30.0
CLOSE_WITHIN_S: Final = 2.0
GOING_AWAY: Final = 1001
REFUSED: Final = 1008
TOO_LARGE: Final = 1009
TRY_AGAIN: Final = 1013

Frame = dict[str, JsonValue]


class _Bye(Exception):  # noqa: N818  no error: how a conversation ends
    """The conversation is over."""

    def __init__(self, code: int) -> None:
        super().__init__()
        self.code = code


async def serve_socket(socket: WebSocket) -> None:
    """Serve one client until it goes, or the feed ends."""
    await socket.accept()
    code = await _Talk(socket).hold()
    if code is None:
        return
    with suppress(WebSocketDisconnect, OSError, RuntimeError), anyio.move_on_after(CLOSE_WITHIN_S):
        await socket.close(code)


class _Talk:
    """One conversation."""

    def __init__(self, socket: WebSocket) -> None:
        self._socket = socket
        self._state = state_of(socket)
        self._sending = anyio.Lock()
        self._subscribed = False

    async def hold(self) -> int | None:
        """Admit the client, then tell and listen until one of both ends.

        Returns what to close the conversation with, None when the client is gone.
        """
        try:
            leave = Leave(self._state.doorkeeper, await self._admit())
            after = self._socket.query_params.get("after")
            async with self._state.feed.listen(Wanted(), after) as listener:
                await self._welcome(listener)
                return await self._converse(listener, leave)
        except _Bye as bye:
            return bye.code
        except PerstackError as error:
            with suppress(WebSocketDisconnect, OSError):
                await self._refuse(error)
            return TRY_AGAIN
        except (WebSocketDisconnect, OSError):
            return None

    async def _welcome(self, listener: Listener) -> None:
        # While something is still to be told again, the client keeps the place it came with.
        place: Frame = {} if listener.behind else {"id": listener.position}
        await self._say("connected", {"clientId": str(uuid4()), **place})

    async def _converse(self, listener: Listener, leave: Leave) -> int | None:
        code: int | None = None
        with unwrapped():
            async with anyio.create_task_group() as group:

                async def until_over(part: Callable[[], Awaitable[None]]) -> None:
                    nonlocal code
                    try:
                        await part()
                    except _Bye as bye:
                        code = bye.code
                    except (WebSocketDisconnect, OSError):
                        code = None
                    group.cancel_scope.cancel()

                group.start_soon(until_over, partial(self._hear, listener), name="ws:hear")
                await until_over(partial(self._tell, listener, leave))
        return code

    # ------------------------------------------------------------- who it is

    async def _admit(self) -> Principal:
        try:
            return await self._let_in()
        except PerstackError as error:
            await self._refuse(error)
            raise _Bye(REFUSED) from error

    async def _let_in(self) -> Principal:
        keeper = self._state.doorkeeper
        try:
            principal = await keeper.admit(self._socket)
        except NotSignedInError:
            if token_of(self._socket) is not None:
                raise
            principal = await keeper.admit_token(await self._first_token())
        if not principal.may("events", "read"):
            raise DeniedError("Insufficient permissions", hint="it needs events:read")
        return principal

    async def _first_token(self) -> str:
        with anyio.move_on_after(AUTH_WITHIN_S):
            asked = await self._frame()
            token = _payload(asked).get("token")
            if asked.get("type") == "auth" and isinstance(token, str):
                return token
        raise NotSignedInError(
            "No authentication token provided",
            hint='send it as ?token=, or first {"type":"auth","payload":{"token":...}}',
        )

    # ------------------------------------------------------------- talking

    async def _tell(self, listener: Listener, leave: Leave) -> None:
        async with aclosing(listener.news(silence_s=SILENCE_S)) as heard:
            async for some in heard:
                if not await leave.holds():
                    raise _Bye(REFUSED)
                if not some:
                    await self._say("heartbeat", {"id": listener.position})
                for one in some:
                    await self._send(one.frame)
                if some and some[-1].type == OVERFLOW:
                    raise _Bye(TRY_AGAIN)
        raise _Bye(GOING_AWAY)

    async def _hear(self, listener: Listener) -> None:
        while True:
            try:
                await self._obey(await self._frame(), listener)
            except UsageError as error:
                await self._refuse(error)

    async def _obey(self, asked: Frame, listener: Listener) -> None:
        match asked.get("type"):
            case "ping":
                await self._say("pong", {})
            case "subscribe":
                named = _events(asked)
                everything = Wanted(checked_patterns(named))
                narrowed = listener.wanted.and_also(named) if self._subscribed else everything
                listener.wanted, self._subscribed = narrowed, True
                await self._say("subscribed", {"events": list(narrowed.patterns)})
            case "unsubscribe":
                listener.wanted = listener.wanted.but_not(_events(asked))
                await self._say("unsubscribed", {"events": list(listener.wanted.patterns)})
            case "auth":
                pass  # It is known who this is.
            case _:
                raise UsageError(
                    "that type of frame is not known",
                    hint="there are: subscribe, unsubscribe, ping",
                )

    async def _frame(self) -> Frame:
        """Return the next frame.

        Raises:
            UsageError: it is no JSON object.
            _Bye: it is too large.
        """
        message = await self._socket.receive()
        if message["type"] == "websocket.disconnect":
            raise WebSocketDisconnect(message.get("code", GOING_AWAY))
        text = message.get("text")
        if not isinstance(text, str):
            raise UsageError("frames are texts", hint='for example {"type":"ping"}')
        if len(text) > LARGEST_FRAME:
            await self._refuse(UsageError(f"a frame has at most {LARGEST_FRAME:,} characters"))
            raise _Bye(TOO_LARGE)
        try:
            found: object = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise UsageError("the frame is no JSON", hint='for example {"type":"ping"}') from error
        if not isinstance(found, dict):
            raise UsageError("the frame is no JSON object", hint='for example {"type":"ping"}')
        return cast("Frame", found)

    async def _refuse(self, error: PerstackError) -> None:
        await self._say("error", as_json(failure_of(error)))

    async def _say(self, name: str, payload: Frame) -> None:
        at = iso8601(SystemClock().now_ms())
        await self._send(frame(name, json.dumps(payload), at))

    async def _send(self, text: str) -> None:
        with anyio.move_on_after(SEND_WITHIN_S) as within:
            async with self._sending:
                await self._socket.send_text(text)
        if within.cancelled_caught:
            raise _Bye(TRY_AGAIN)


def _payload(asked: Frame) -> Frame:
    payload = asked.get("payload")
    return payload if isinstance(payload, dict) else {}


def _events(asked: Frame) -> tuple[str, ...]:
    """Return the patterns that a frame names.

    Raises:
        UsageError: it names none.
    """
    events = _payload(asked).get("events")
    names = [one for one in events if isinstance(one, str)] if isinstance(events, list) else []
    if not isinstance(events, list) or not events or len(names) != len(events):
        raise UsageError(
            "payload.events must be a list of types", hint="for example task:*, run:completeRun"
        )
    return tuple(names)
