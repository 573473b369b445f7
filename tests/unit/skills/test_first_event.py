"""Where the older transport may be told to send its messages."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence

import httpx2
import pytest

from perstack.skills.mcp.first_event import FirstEvent, NoEndpointError

pytestmark = pytest.mark.anyio

URL = httpx2.URL("https://mcp.example/sse?key=1")
HERE = b"event: endpoint\ndata: /messages?session=1\n\n"


class Chunks(httpx2.AsyncByteStream):
    """A stream of given pieces, which breaks at its end if it is told to."""

    def __init__(self, chunks: Sequence[bytes], *, breaks: bool = False) -> None:
        self._chunks = chunks
        self._breaks = breaks

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for chunk in self._chunks:
            yield chunk
        if self._breaks:
            raise httpx2.ReadError("reset")

    async def aclose(self) -> None:
        """Nothing is held."""


async def passed_on(*chunks: bytes, breaks: bool = False) -> bytes:
    stream = FirstEvent(Chunks(chunks, breaks=breaks), URL)
    return b"".join([chunk async for chunk in stream])


@pytest.mark.parametrize(
    "said",
    [
        HERE,
        b"event: endpoint\r\ndata: /messages\r\n\r\n",
        b": hello\n\nid: 1\ndata:https://mcp.example/messages\nevent:endpoint\n\n",
        b"event: endpoint\ndata: ?session=1\n\n",
    ],
)
async def test_a_stream_that_names_its_own_server_passes_as_it_is(said: bytes) -> None:
    whole = said + b"data: {}\n\n" * 10_000
    assert await passed_on(whole) == whole
    assert await passed_on(*[bytes([byte]) for byte in said]) == said


@pytest.mark.parametrize(
    "endpoint",
    [
        "https://elsewhere.example/messages",
        "//elsewhere.example/messages",
        "http://mcp.example/messages",
        "https://mcp.example:8443/messages",
        "https://mcp.example.elsewhere.example/messages",
        "http://169.254.169.254/latest",
        "https://[",
    ],
)
async def test_another_server_is_refused(endpoint: str) -> None:
    with pytest.raises(NoEndpointError, match="another server"):
        await passed_on(b": hello\n\n", b"event: endpoint\ndata: ", endpoint.encode(), b"\n\n")


async def test_a_stream_that_goes_on_without_an_endpoint_is_given_up() -> None:
    with pytest.raises(NoEndpointError, match="does not say where"):
        await passed_on(*[b": wait\n\n"] * 20_000)


async def test_only_the_beginning_breaks_aloud() -> None:
    with pytest.raises(NoEndpointError, match="the connection broke"):
        await passed_on(b"event: endp", breaks=True)
    with pytest.raises(httpx2.ReadError, match="reset"):
        await passed_on(HERE, breaks=True)
