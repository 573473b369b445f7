"""The HTTP client the vendors' SDKs are given: bounded, and it never follows a redirect."""

from __future__ import annotations

import codecs
from collections.abc import AsyncIterator
from typing import Final

import httpx2

from perstack.errors import ProviderError
from perstack.providers.http_rules import is_retryable, retry_after_s, too_large
from perstack.providers.proxy import Proxy

MOST_WIRE_BYTES: Final = 128 * 1024 * 1024
MOST_CONNECT_S: Final = 30.0
# What Amazon's stream holds is not text: each piece has a checksum of its own.
_BINARY: Final = "application/vnd.amazon.eventstream"
# What the SDKs would look for in the environment, though all they need was read from it before.
HIDDEN: Final = ("ANTHROPIC_", "OPENAI_", "AZURE_OPENAI_", "AWS_BEARER_", "GOOGLE_CLOUD_")


def open_http(*, timeout_s: float, proxy: Proxy | None = None) -> httpx2.AsyncClient:
    """Open a client whose every wait is bounded by `timeout_s`, and whose bodies are bounded too.

    A redirect is an error: the key must not travel to another host. Bodies are asked for and
    accepted uncompressed only, as a few compressed kilobytes can become gigabytes. Without a
    `proxy` of its own the client uses the environment's (`HTTPS_PROXY` and the like).
    """
    return httpx2.AsyncClient(
        timeout=httpx2.Timeout(timeout_s, connect=min(timeout_s, MOST_CONNECT_S)),
        limits=httpx2.Limits(max_connections=1000, max_keepalive_connections=100),
        headers={"Accept-Encoding": "identity"},
        follow_redirects=False,
        event_hooks={"response": [_guard_body]},
        proxy=proxy.url if proxy else None,
        mounts=dict.fromkeys(proxy.direct) if proxy else None,
    )


class _GuardedStream(httpx2.AsyncByteStream):
    """A body that ends in an error once it is larger than any answer could be.

    Text is made valid UTF-8: a byte that is not becomes the replacement character, as the SDKs
    would give up on it.
    """

    def __init__(self, inner: httpx2.AsyncByteStream, most_bytes: int, *, is_text: bool) -> None:
        self._inner = inner
        self._left = most_bytes
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace") if is_text else None

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for chunk in self._inner:
            self._left -= len(chunk)
            if self._left < 0:
                raise too_large()
            yield chunk if self._decoder is None else self._decoder.decode(chunk).encode()
        if self._decoder is not None:
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
        is_text = response.headers.get("content-type", "").partition(";")[0].strip() != _BINARY
        response.stream = _GuardedStream(response.stream, most_bytes, is_text=is_text)
