"""The beginning of the older transport's stream, which says where messages are to be sent."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from typing import Final

import httpx2

_MAX_BYTES: Final = 8_192
_BLANK_LINE: Final = re.compile(rb"\r?\n\r?\n")
_FIELD: Final = re.compile(rb"^(event|data): ?(.*?)\r?$", re.MULTILINE)


class NoEndpointError(httpx2.SSEError):
    """A stream does not begin as it should. Of all errors, the SDK passes on just this kind."""


class FirstEvent(httpx2.AsyncByteStream):
    """A stream of events that fails aloud until it has said where messages are to be sent.

    `url` is where the stream is; messages may be sent only to the same server.
    """

    def __init__(self, inner: httpx2.AsyncByteStream, url: httpx2.URL) -> None:
        self._inner = inner
        self._url = url
        self._head = b""
        self._has_begun = False

    async def __aiter__(self) -> AsyncIterator[bytes]:
        try:
            async for chunk in self._inner:
                if not self._has_begun:
                    self._look_at(chunk)
                yield chunk
        except httpx2.TransportError as error:
            if self._has_begun or isinstance(error, NoEndpointError):
                raise
            raise NoEndpointError("the connection broke") from error

    async def aclose(self) -> None:
        """Close the connection."""
        await self._inner.aclose()

    def _look_at(self, chunk: bytes) -> None:
        self._head += chunk
        endpoint = _endpoint(self._head)
        if endpoint is None and len(self._head) > _MAX_BYTES:
            raise NoEndpointError("its stream does not say where messages are to be sent")
        if endpoint is not None:
            if not self._is_here(endpoint):
                raise NoEndpointError("it wants messages to be sent to another server")
            self._has_begun, self._head = True, b""

    def _is_here(self, endpoint: str) -> bool:
        try:
            named = self._url.join(endpoint)
        except (httpx2.InvalidURL, ValueError):
            return False
        return (named.scheme, named.netloc) == (self._url.scheme, self._url.netloc)


def _endpoint(head: bytes) -> str | None:
    """Return where messages are to be sent, None as long as that was not said."""
    for event in _BLANK_LINE.split(head)[:-1]:
        fields: dict[bytes, bytes] = dict(_FIELD.findall(event))
        if fields.get(b"event") == b"endpoint":
            return fields.get(b"data", b"").decode(errors="replace")
    return None
