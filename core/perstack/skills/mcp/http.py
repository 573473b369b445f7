"""Conversations with servers at an address, over the SDK's two HTTP transports."""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager, suppress
from typing import Final

import anyio
import anyio.abc
import httpx2
from mcp.client._transport import ReadStream, TransportStreams
from mcp.client.sse import sse_client
from mcp.client.streamable_http import streamable_http_client
from mcp.shared.message import SessionMessage
from mcp_types import jsonrpc_message_adapter
from pydantic import JsonValue, TypeAdapter, ValidationError

from perstack import __version__
from perstack.skills.mcp.first_event import NoEndpointError
from perstack.skills.mcp.guarded import GuardedTransport, UnusableAnswerError, unreachable
from perstack.skills.mcp.launch import Launch, Streams
from perstack.skills.mcp.lenient import mended
from perstack.skills.mcp.limits import MAX_MESSAGE_BYTES
from perstack.skills.mcp.pinned import PinnedTransport
from perstack.skills.mcp.remote import RemoteTarget

_JSON: Final[TypeAdapter[JsonValue]] = TypeAdapter(JsonValue)
_NAME: Final = f"perstack/{__version__}"
_GONE: Final = (anyio.BrokenResourceError, anyio.ClosedResourceError, anyio.EndOfStream)
# What a server can make the SDK's transports raise.
_FOREIGN: Final = (
    httpx2.HTTPError,
    OSError,
    ValueError,
    RuntimeError,
    TypeError,
    LookupError,
    AttributeError,
    *_GONE,
)
# They would log what servers say, with tracebacks; what matters of it is told as an outcome.
for _name in ("mcp.client.sse", "mcp.client.streamable_http"):
    logging.getLogger(_name).setLevel(logging.CRITICAL + 1)


class UnreachableError(Exception):
    """A server could not be reached, or the conversation broke in a way that ends it."""

    def __init__(self, words: str) -> None:
        super().__init__(words)
        self.words = words


class _Inbox:
    """What a server says, made fit for the session; `over` is set once it says nothing more.

    What is sent while others wait runs in `group`.
    """

    group: anyio.abc.TaskGroup

    def __init__(self, over: anyio.Event, launch: Launch) -> None:
        self._over = over
        self._launch = launch
        self._to_session, self.incoming = anyio.create_memory_object_stream[
            SessionMessage | Exception
        ](0)

    async def follow(self, stream: ReadStream[SessionMessage | Exception]) -> None:
        """Hand on messages until there are no more; once nobody listens, keep the stream empty."""
        try:
            async for item in stream:
                if isinstance(item, SessionMessage):
                    message = item.message.model_dump(by_alias=True, exclude_unset=True)
                    await self.put(_JSON.validate_python(message), item)
        except _GONE:
            pass
        finally:
            self._over.set()
            self._to_session.close()

    async def put(self, message: JsonValue, whole: SessionMessage | None = None) -> None:
        """Hand on one message; `whole` is how the SDK wrapped it."""
        fit = mended(message, self._launch.tell)
        if fit is None:
            return
        try:
            parsed = jsonrpc_message_adapter.validate_python(fit, by_name=False)
        except ValidationError:
            return
        metadata = whole.metadata if whole is not None else None
        with suppress(*_GONE):
            await self._to_session.send(SessionMessage(parsed, metadata=metadata))

    def later(self, work: Callable[[], Awaitable[object]]) -> None:
        """Do something without waiting for it; it ends with the conversation."""
        self.group.start_soon(_alone, work)

    def close(self) -> None:
        """Let go of the streams; idempotent."""
        self._to_session.close()
        self.incoming.close()


@asynccontextmanager
async def conversation(
    target: RemoteTarget, launch: Launch, over: anyio.Event
) -> AsyncGenerator[Streams]:
    """Speak with a server for as long as the context lasts; leaving is bounded and shielded.

    Raises:
        UnreachableError: it could not be reached, or its answers ended the conversation.
    """
    inbox = _Inbox(over, launch)
    try:
        with _translated(), anyio.CancelScope() as leaving:
            async with (
                _client(target, launch, inbox) as client,
                _transport(target, client) as (read, write),
                anyio.create_task_group() as group,
            ):
                inbox.group = group
                group.start_soon(inbox.follow, read)
                try:
                    yield Streams(inbox.incoming, write)
                finally:
                    leaving.deadline = anyio.current_time() + launch.limits.leave_s
                    leaving.shield = True
                    group.cancel_scope.cancel()
    finally:
        inbox.close()


def _transport(
    target: RemoteTarget, client: httpx2.AsyncClient
) -> AbstractAsyncContextManager[TransportStreams]:
    if target.kind == "http":
        return streamable_http_client(
            target.endpoint, http_client=client, max_sse_event_size=MAX_MESSAGE_BYTES
        )

    def ours(
        headers: dict[str, str] | None = None,
        timeout: httpx2.Timeout | None = None,
        auth: httpx2.Auth | None = None,
    ) -> httpx2.AsyncClient:
        return client

    return sse_client(target.endpoint, httpx_client_factory=ours)


@asynccontextmanager
async def _client(
    target: RemoteTarget, launch: Launch, inbox: _Inbox
) -> AsyncGenerator[httpx2.AsyncClient]:
    limits = launch.limits
    client = httpx2.AsyncClient(
        transport=GuardedTransport(
            _way(target, limits.connect_s),
            over_events=target.kind == "sse",
            reply=inbox.put,
            later=inbox.later,
            notice_s=limits.connect_s,
            reopen_s=limits.reopen_s,
        ),
        headers={"User-Agent": _NAME, **target.headers, "Accept-Encoding": "identity"},
        # How long a call may take, the session decides: it can be waiting for a person.
        timeout=httpx2.Timeout(limits.connect_s, read=limits.idle_s),
        follow_redirects=False,
        max_redirects=0,
        trust_env=False,
    )
    if target.kind == "sse":
        yield client
        return
    async with client:
        yield client


def _way(target: RemoteTarget, connect_s: float) -> httpx2.AsyncBaseTransport:
    """Return the bare transport. Where there is a proxy, it is the one that looks up the name."""
    if target.proxy is not None:
        return httpx2.AsyncHTTPTransport(proxy=target.proxy)
    return PinnedTransport(
        httpx2.AsyncHTTPTransport(),
        resolve=target.resolve,
        may_connect=target.may_connect,
        within_s=connect_s,
    )


async def _alone(work: Callable[[], Awaitable[object]]) -> None:
    await work()


@contextmanager
def _translated() -> Generator[None]:
    try:
        yield
    except BaseExceptionGroup as group:
        first = _first(group)
        if isinstance(first, _FOREIGN):
            raise UnreachableError(_words(first)) from first
        raise first from first.__cause__
    except _FOREIGN as error:
        raise UnreachableError(_words(error)) from error


def _first(group: BaseExceptionGroup[BaseException]) -> BaseException:
    found: BaseException = group.exceptions[0]
    return _first(found) if isinstance(found, BaseExceptionGroup) else found  # pyright: ignore[reportUnknownArgumentType]


def _words(error: BaseException) -> str:
    if isinstance(error, UnusableAnswerError | NoEndpointError):
        return str(error)
    if isinstance(error, httpx2.TransportError) and not isinstance(
        error, httpx2.ReadError | httpx2.SSEError
    ):
        return unreachable(error)
    return "the conversation broke"
