"""The HTTP client both vendors' SDKs are given: bounded, and it never follows a redirect."""

from __future__ import annotations

import codecs
import os
from collections.abc import AsyncIterator, Generator
from contextlib import contextmanager
from typing import Final

import httpx2

from perstack.errors import ProviderError
from perstack.providers.http_rules import is_retryable, retry_after_s, too_large

MOST_WIRE_BYTES: Final = 128 * 1024 * 1024
MOST_CONNECT_S: Final = 30.0
_OURS: Final = ("ANTHROPIC_", "OPENAI_")


def open_http(*, timeout_s: float) -> httpx2.AsyncClient:
    """Open a client whose every wait is bounded by `timeout_s`, and whose bodies are bounded too.

    A redirect is an error: the key must not travel to another host. Bodies are asked for and
    accepted uncompressed only, as a few compressed kilobytes can become gigabytes.
    """
    return httpx2.AsyncClient(
        timeout=httpx2.Timeout(timeout_s, connect=min(timeout_s, MOST_CONNECT_S)),
        limits=httpx2.Limits(max_connections=1000, max_keepalive_connections=100),
        headers={"Accept-Encoding": "identity"},
        follow_redirects=False,
        event_hooks={"response": [_guard_body]},
    )


class _GuardedStream(httpx2.AsyncByteStream):
    """A body as valid UTF-8, that ends in an error once it is larger than any answer could be.

    A byte that is not UTF-8 becomes the replacement character; the SDKs would give up on it.
    """

    def __init__(self, inner: httpx2.AsyncByteStream, most_bytes: int) -> None:
        self._inner = inner
        self._left = most_bytes
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for chunk in self._inner:
            self._left -= len(chunk)
            if self._left < 0:
                raise too_large()
            yield self._decoder.decode(chunk).encode()
        yield self._decoder.decode(b"", final=True).encode()

    async def aclose(self) -> None:
        await self._inner.aclose()


async def _guard_body(response: httpx2.Response) -> None:
    encoding = response.headers.get("content-encoding", "identity")
    if encoding.lower() not in {"", "identity"}:
        await response.aclose()
        status = response.status_code
        raise ProviderError(
            f"the model's answer (HTTP {status}) is compressed although that was not asked for",
            retryable=is_retryable(status),
            retry_after_s=retry_after_s(response.headers),
            status=status,
        )
    if isinstance(response.stream, httpx2.AsyncByteStream):
        most_bytes = MOST_WIRE_BYTES if response.is_success else MOST_WIRE_BYTES // 128
        response.stream = _GuardedStream(response.stream, most_bytes)


@contextmanager
def hidden_environment() -> Generator[None]:
    """Hide the vendors' variables while an SDK's client is made.

    The SDKs look there for further credentials, headers and addresses. What Perstack uses was
    read before, from the environment it was given.
    """
    hidden = {name: value for name, value in os.environ.items() if name.startswith(_OURS)}
    for name in hidden:
        del os.environ[name]
    try:
        yield
    finally:
        os.environ.update(hidden)
