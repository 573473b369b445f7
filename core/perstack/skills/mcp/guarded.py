"""What a server's HTTP answers must be like before the SDK sees them.

A request that failed is answered here, with an error that says why; so the conversation goes on
and nobody waits for an answer that cannot come.
"""

from __future__ import annotations

import json
import math
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial
from http import HTTPStatus
from typing import Final

import anyio
import httpx2
from pydantic import JsonValue, TypeAdapter

from perstack.skills.mcp.first_event import FirstEvent
from perstack.skills.mcp.lenient import BROKEN_REPLY, CONNECTION_CUT, CONVERSATION_LOST, Json, sound
from perstack.skills.mcp.limits import MAX_MESSAGE_BYTES
from perstack.skills.mcp.values import EVENT, TooManyValuesError, ValueCounter
from perstack.skills.text import printable

SESSION_HEADER: Final = "mcp-session-id"
_SERVER_ERROR: Final = -32000
_MAX_STREAM_BYTES: Final = 4 * MAX_MESSAGE_BYTES
_MAX_ERROR_BYTES: Final = 65_536
_SHOWN_CHARS: Final = 200
_COMPRESSED: Final = "its answer is compressed although that was not asked for"
_JSON: Final[TypeAdapter[JsonValue]] = TypeAdapter(JsonValue)


class RequestFailedError(Exception):
    """Why a request has no usable answer; it never leaves this module."""

    def __init__(self, code: int, words: str) -> None:
        super().__init__(words)
        self.code = code
        self.words = words


class UnusableAnswerError(httpx2.TransportError):
    """A server answered with something that is no stream of events."""


class GuardedTransport(httpx2.AsyncBaseTransport):
    """Bounds answers, refuses redirects and compression, and answers for what failed.

    `over_events`: answers come on a stream that was opened before (the older transport); what is
    said here then goes to `reply`, and requests are sent through `later`, as the SDK would send
    nothing else until the server has taken one. `notice_s` is how long a server may take to
    accept a message that it need not answer, `reopen_s` how long at least is between two openings
    of streams, however soon a server wants them opened again.
    """

    def __init__(
        self,
        inner: httpx2.AsyncBaseTransport,
        *,
        over_events: bool,
        reply: Callable[[Json], Awaitable[None]],
        later: Callable[[Callable[[], Awaitable[object]]], None],
        notice_s: float,
        reopen_s: float,
    ) -> None:
        self._inner = inner
        self._over_events = over_events
        self._reply = reply
        self._later = later
        self._notice_s = notice_s
        self._reopen_s = reopen_s
        self._may_open_at = -math.inf

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """Send the request; see the module."""
        if request.method == "GET":
            return await self._open_stream(request)
        if request.method != "POST":
            return await self._leave(request)
        if self._over_events and _id_of(request) is not None:
            self._later(partial(self._settle, request))
            return httpx2.Response(HTTPStatus.ACCEPTED)
        return await self._settle(request)

    async def aclose(self) -> None:
        """Close all connections."""
        await self._inner.aclose()

    async def _settle(self, request: httpx2.Request) -> httpx2.Response:
        try:
            return await self._post(request)
        except RequestFailedError as failed:
            return await self._answer_for(request, failed)

    async def _open_stream(self, request: httpx2.Request) -> httpx2.Response:
        await self._wait_to_open()
        response = await self._inner.handle_async_request(request)
        why = _why_no_stream(response)
        if why is None:
            if isinstance(response.stream, httpx2.AsyncByteStream):
                stream = response.stream
                first = FirstEvent(stream, request.url) if self._over_events else stream
                response.stream = _Bounded(first, None if self._over_events else _MAX_STREAM_BYTES)
            return response
        await response.aclose()
        if self._over_events:
            raise UnusableAnswerError(why)
        # Calls go on without that stream. The SDK would follow a redirect, but not from here.
        return httpx2.Response(HTTPStatus.METHOD_NOT_ALLOWED)

    async def _wait_to_open(self) -> None:
        now = anyio.current_time()
        opens_at = max(now, self._may_open_at)
        self._may_open_at = opens_at + self._reopen_s
        await anyio.sleep_until(opens_at)

    async def _leave(self, request: httpx2.Request) -> httpx2.Response:
        """Send what ends the conversation; what is answered matters to nobody."""
        response = await self._inner.handle_async_request(request)
        await response.aclose()
        return httpx2.Response(HTTPStatus.OK)

    async def _post(self, request: httpx2.Request) -> httpx2.Response:
        if _id_of(request) is None:
            patience = httpx2.Timeout(self._notice_s)
            request.extensions = {**request.extensions, "timeout": patience.as_dict()}
        try:
            response = await self._inner.handle_async_request(request)
        except (httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.PoolTimeout) as error:
            raise RequestFailedError(
                BROKEN_REPLY, f"{unreachable(error)} Nothing was done."
            ) from error
        except httpx2.TransportError as error:
            raise RequestFailedError(CONNECTION_CUT, "the connection broke") from error
        if _is_compressed(response):
            await response.aclose()
            raise RequestFailedError(BROKEN_REPLY, _COMPRESSED)
        if response.is_success and _is(response, "text/event-stream"):
            if isinstance(response.stream, httpx2.AsyncByteStream):
                response.stream = _Bounded(response.stream, _MAX_STREAM_BYTES)
            return response
        try:
            return await self._whole(request, response)
        finally:
            await response.aclose()

    async def _whole(self, request: httpx2.Request, response: httpx2.Response) -> httpx2.Response:
        """Read an answer that is no stream, and judge it."""
        status = response.status_code
        body = await _read(response, MAX_MESSAGE_BYTES if response.is_success else _MAX_ERROR_BYTES)
        message = sound(_parsed(body)) if _is(response, "application/json") else None
        if self._is_lost(request, status, message):
            raise RequestFailedError(CONVERSATION_LOST, "the server has forgotten the conversation")
        error = message.get("error") if message is not None else None
        if isinstance(error, dict) and not self._over_events:
            return httpx2.Response(200, json={**(message or {}), "id": _id_of(request)})
        if not response.is_success:
            raise RequestFailedError(BROKEN_REPLY, _status_words(status))
        if self._over_events or status == HTTPStatus.ACCEPTED:
            return httpx2.Response(HTTPStatus.ACCEPTED)
        if message is None and _id_of(request) is not None:
            raise RequestFailedError(
                BROKEN_REPLY, "its answer is neither JSON-RPC nor a stream of events"
            )
        return httpx2.Response(status, json=message, headers=_session(response))

    def _is_lost(self, request: httpx2.Request, status: int, message: Json | None) -> bool:
        """Tell whether the server knows nothing of a conversation that we had with it."""
        if not self._over_events and SESSION_HEADER not in request.headers:
            return False
        if status == HTTPStatus.NOT_FOUND:
            return True
        error = message.get("error") if message is not None else None
        says_so = isinstance(error, dict) and error.get("code") == _SERVER_ERROR
        return status == HTTPStatus.BAD_REQUEST and (self._over_events or says_so)

    async def _answer_for(
        self, request: httpx2.Request, failed: RequestFailedError
    ) -> httpx2.Response:
        number = _id_of(request)
        if number is None:
            return httpx2.Response(HTTPStatus.ACCEPTED)
        error: Json = {"code": failed.code, "message": failed.words}
        answer: Json = {"jsonrpc": "2.0", "id": number, "error": error}
        if not self._over_events:
            return httpx2.Response(200, json=answer)
        await self._reply(answer)
        return httpx2.Response(HTTPStatus.ACCEPTED)


class _Bounded(httpx2.AsyncByteStream):
    """A stream of events that ends once it says more than any answer could.

    `at_most` bounds all its bytes together; None for a stream that all answers come on.
    """

    def __init__(self, inner: httpx2.AsyncByteStream, at_most: int | None) -> None:
        self._inner = inner
        self._left = math.inf if at_most is None else at_most
        self._values = ValueCounter(EVENT)

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for chunk in self._inner:
            self._left -= len(chunk)
            if self._left < 0:
                raise UnusableAnswerError(f"it sent more than {_MAX_STREAM_BYTES:,} bytes")
            try:
                self._values.add(chunk)
            except TooManyValuesError as error:
                raise UnusableAnswerError(str(error)) from error
            yield chunk

    async def aclose(self) -> None:
        await self._inner.aclose()


def unreachable(error: httpx2.TransportError) -> str:
    """Return a sentence about a connection that could not be made."""
    if isinstance(error, httpx2.TimeoutException):
        return "it could not be reached in time."
    why = printable(str(error))[:_SHOWN_CHARS].rstrip(".")
    return f"it could not be reached: {why}." if why else "it could not be reached."


async def _read(response: httpx2.Response, at_most: int) -> bytes:
    body, values = bytearray(), ValueCounter()
    if not isinstance(response.stream, httpx2.AsyncByteStream):
        return b""
    try:
        async for chunk in response.stream:
            body += chunk
            values.add(chunk)
            if len(body) > at_most:
                raise RequestFailedError(
                    BROKEN_REPLY, f"it sent a message of more than {at_most:,} bytes"
                )
    except TooManyValuesError as error:
        raise RequestFailedError(BROKEN_REPLY, str(error)) from error
    except httpx2.TransportError as error:
        raise RequestFailedError(CONNECTION_CUT, "the connection broke") from error
    return bytes(body)


def _parsed(body: bytes) -> JsonValue:
    try:
        return _JSON.validate_python(json.loads(body.decode(errors="replace")))
    except (ValueError, RecursionError):
        return None


def _id_of(request: httpx2.Request) -> JsonValue:
    """Return the id of the JSON-RPC request in a POST, None for a notification or an answer."""
    message = _parsed(request.content)
    is_request = isinstance(message, dict) and "method" in message
    return message.get("id") if isinstance(message, dict) and is_request else None


def _why_no_stream(response: httpx2.Response) -> str | None:
    if not response.is_success:
        return _status_words(response.status_code)
    if _is_compressed(response):
        return _COMPRESSED
    return None if _is(response, "text/event-stream") else "its answer is no stream of events"


def _is_compressed(response: httpx2.Response) -> bool:
    return response.headers.get("content-encoding", "").lower() not in ("", "identity")


def _is(response: httpx2.Response, content_type: str) -> bool:
    given = response.headers.get("content-type", "")
    return given.partition(";")[0].strip().lower() == content_type


def _session(response: httpx2.Response) -> dict[str, str]:
    given = response.headers.get(SESSION_HEADER)
    return {SESSION_HEADER: given} if given else {}


def _status_words(status: int) -> str:
    if HTTPStatus.MULTIPLE_CHOICES <= status < HTTPStatus.BAD_REQUEST:
        return f"it redirects elsewhere (HTTP {status}), which is not followed"
    try:
        return f"it answered with HTTP {status} {HTTPStatus(status).phrase}"
    except ValueError:
        return f"it answered with HTTP {status}"
