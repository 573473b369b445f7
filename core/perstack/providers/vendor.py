"""What the adapters of real vendors share: open late, stream once, translate at one seam."""

from __future__ import annotations

import contextlib
from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator
from typing import Final, Generic, Protocol, TypeVar

import anyio
import anyio.to_thread

from perstack.domain.ids import RunId
from perstack.errors import ProviderError
from perstack.ports.model import Generation, ModelRequest, Spoken
from perstack.providers.failures import Endpoint

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


class VendorModel(ABC, Generic[C]):
    """A `ChatModel` over a vendor's SDK, which is imported when the first request is made."""

    def __init__(self, endpoint: Endpoint, *, timeout_s: float) -> None:
        self._endpoint = endpoint
        self._timeout_s = timeout_s
        self._opening = anyio.Lock(fast_acquire=True)
        self._opened: C | None = None

    @property
    def name(self) -> str:
        """The model's id at the vendor."""
        return self._endpoint.model

    async def stream(self, request: ModelRequest) -> AsyncGenerator[Spoken | Generation, None]:
        """Ask once; see `ports.model.ChatModel.stream`."""
        try:
            client = await self._open()
            collector = self._collector()
            events = await self._post(client, self._body(request))
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
        except (*self._sdk_errors(), *MISREAD) as error:
            raise self._report(error) from error
        yield generation

    @abstractmethod
    def forget(self, run_id: RunId) -> None:
        """Drop what was kept for the run."""

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

    def _report(self, error: Exception) -> ProviderError:
        if isinstance(error.__cause__, ProviderError):
            return error.__cause__
        return self._translate(error)

    @abstractmethod
    def _connect(self) -> C:
        """Import the SDK and make its client; called in a worker thread."""

    @abstractmethod
    def _sdk_errors(self) -> tuple[type[Exception], ...]:
        """Return what the SDK raises, cheap: its modules may not have been imported yet."""

    @abstractmethod
    def _translate(self, error: Exception) -> ProviderError:
        """Return our error for one of the SDK's."""

    @abstractmethod
    def _body(self, request: ModelRequest) -> bytes:
        """Return the request as JSON."""

    @abstractmethod
    async def _post(self, client: C, body: bytes) -> EventStream:
        """Send the request; return its events."""

    @abstractmethod
    def _collector(self) -> Collector:
        """Return a reader for one answer."""


async def _drain(events: EventStream) -> None:
    """Read what follows the end of the answer, so that the connection can be used again.

    The answer is complete; whatever goes wrong here costs no more than a new connection.
    """
    with anyio.move_on_after(DRAIN_WITHIN_S), contextlib.suppress(Exception):
        while await anext(events, None) is not None:
            pass
