"""What the adapters of real vendors share: open late, stream once, translate at one seam."""

from __future__ import annotations

import contextlib
import importlib
import sys
from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, Callable, Iterable
from typing import TYPE_CHECKING, Final, Generic, Protocol, TypeVar

import anyio
import anyio.to_thread

from perstack.config.process_env import hidden_variables
from perstack.domain.ids import RunId
from perstack.domain.messages import Message
from perstack.domain.usage import ModelPrice
from perstack.errors import ProviderError
from perstack.ports.model import Generation, ModelRequest, ProviderTools, Spoken
from perstack.providers.conversations import Conversations
from perstack.providers.failures import Endpoint, SdkErrors, translate
from perstack.providers.proxy import read_proxy
from perstack.providers.setup import Setup

if TYPE_CHECKING:
    import httpx2

CLOSE_WITHIN_S: Final = 3.0
DRAIN_WITHIN_S: Final = 1.0
# What the SDKs let through when an answer is not what they expect, besides their own errors.
MISREAD: Final = (ValueError, LookupError, AttributeError, AssertionError, TypeError, RuntimeError)


class EventStream(Protocol):
    """An SDK's stream of parsed events."""

    async def __anext__(self) -> object:
        """Return the next event's JSON."""
        ...

    async def close(self) -> None:
        """Release the connection."""
        ...


class Client(Protocol):
    """An SDK's client."""

    async def close(self) -> None:
        """Close all connections."""
        ...


C = TypeVar("C", bound=Client)
T = TypeVar("T")


class Collector(Protocol):
    """Reads one answer's events."""

    @property
    def complete(self) -> bool:
        """True once the vendor said that its answer is finished."""
        ...

    @property
    def done(self) -> bool:
        """True once it is complete and nothing of use can follow."""
        ...

    def feed(self, event: object) -> Spoken | None:
        """Read one event; return what can be shown of it."""
        ...

    def generation(self) -> Generation:
        """Return the finished answer; only when `complete`."""
        ...


class VendorModel(ABC, Generic[C, T]):
    """A `ChatModel` over a vendor's SDK, which is imported when the first request is made.

    `C` is the SDK's client, `T` what a message is for the wire.
    """

    def __init__(
        self, setup: Setup, endpoint: Endpoint, convert: Callable[[Message], Iterable[T]]
    ) -> None:
        self._setup = setup
        self._proxy = read_proxy(setup.env)
        secrets = self._proxy.secrets if self._proxy else ()
        self._endpoint = endpoint.hiding(*secrets)
        self._conversations = Conversations[T](convert)
        self._opening = anyio.Lock(fast_acquire=True)
        self._opened: C | None = None

    @property
    def name(self) -> str:
        """The model's id at the vendor."""
        return self._setup.model

    @property
    def context_window(self) -> int | None:
        """The context window in tokens, None when unknown."""
        return self._setup.facts.context_window

    @property
    def price(self) -> ModelPrice | None:
        """What tokens cost, None when no source states it."""
        return self._setup.facts.price

    def forget(self, run_id: RunId) -> None:
        """Drop what was kept for the run."""
        self._conversations.forget(run_id)

    @abstractmethod
    def check_tools(self, asked: ProviderTools) -> None:
        """Check that the vendor offers what it is to run itself.

        Raises:
            ProviderError: it does not; the message names what, and what there is.
        """

    async def stream(self, request: ModelRequest) -> AsyncGenerator[Spoken | Generation, None]:
        """Ask once; see `ports.model.ChatModel.stream`."""
        try:
            client = await self._open()
            collector = self._collector(request)
            events = await self._events(client, request)
            try:
                while not collector.done and (event := await anext(events, None)) is not None:
                    if (piece := collector.feed(event)) is not None:
                        yield piece
                if not collector.complete:
                    raise self._endpoint.cut_short()
                await _drain(events)
            finally:
                with anyio.move_on_after(CLOSE_WITHIN_S, shield=True):
                    await events.close()
            generation = collector.generation()
        except self._caught() as error:
            raise self._translate(error) from error
        yield generation

    async def aclose(self) -> None:
        """Close connections; idempotent, bounded in time."""
        opened, self._opened = self._opened, None
        if opened is not None:
            with anyio.move_on_after(CLOSE_WITHIN_S, shield=True):
                await opened.close()

    async def _open(self) -> C:
        async with self._opening:
            if self._opened is None:
                # Importing an SDK takes up to a second of processor time.
                self._opened = await anyio.to_thread.run_sync(self._connect)
            return self._opened

    def _connect(self) -> C:
        from perstack.providers.http import HIDDEN, open_http

        http = open_http(timeout_s=self._setup.timeout_s, proxy=self._proxy)
        # Slow the first time, so before others have to wait for their environment.
        importlib.import_module(self.sdk)
        with hidden_variables(HIDDEN):
            return self._new_client(http)

    async def _events(self, client: C, request: ModelRequest) -> EventStream:
        try:
            return await self._send(client, request)
        except self._caught() as error:
            if not self._gives_way(self._translate(error)):
                raise
        return await self._send(client, request)

    def _gives_way(self, error: ProviderError) -> bool:
        """Tell whether to ask once more at once, in a way that avoids what was refused."""
        del error
        return False

    def _caught(self) -> tuple[type[Exception], ...]:
        if self.sdk not in sys.modules:
            return MISREAD
        import httpx2

        return (self._errors().base, httpx2.HTTPError, *MISREAD)

    def _translate(self, error: Exception) -> ProviderError:
        if isinstance(error.__cause__, ProviderError):
            return error.__cause__
        if self.sdk not in sys.modules:
            return self._endpoint.garbled(error)
        return translate(self._endpoint, error, self._errors())

    @property
    @abstractmethod
    def sdk(self) -> str:
        """The SDK's module."""

    @abstractmethod
    def _errors(self) -> SdkErrors:
        """Return the SDK's error classes; called once it is imported."""

    @abstractmethod
    def _new_client(self, http: httpx2.AsyncClient) -> C:
        """Import the SDK and make its client; called in a worker thread."""

    @abstractmethod
    async def _send(self, client: C, request: ModelRequest) -> EventStream:
        """Send the request; return its events."""

    @abstractmethod
    def _collector(self, request: ModelRequest) -> Collector:
        """Return a reader for the request's answer."""


async def _drain(events: EventStream) -> None:
    """Read what follows the end of the answer, so that the connection can be used again.

    The answer is complete; whatever goes wrong here costs no more than a new connection.
    """
    with anyio.move_on_after(DRAIN_WITHIN_S), contextlib.suppress(Exception):
        while await anext(events, None) is not None:
            pass
