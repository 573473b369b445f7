"""HTTP to the address that was checked, and to no other: names can change what they stand for."""

from __future__ import annotations

from collections.abc import Callable

import anyio
import httpx2

from perstack.skills.mcp.addresses import Resolve


class AddressRefusedError(httpx2.ConnectError):
    """A name leads only where it must not."""


class PinnedTransport(httpx2.AsyncBaseTransport):
    """Looks a name up once, checks what it found, and connects to just that.

    `may_connect` judges an address; `within_s` bounds looking up and connecting each.
    """

    def __init__(
        self,
        inner: httpx2.AsyncBaseTransport,
        *,
        resolve: Resolve,
        may_connect: Callable[[str], bool],
        within_s: float,
    ) -> None:
        self._inner = inner
        self._resolve = resolve
        self._may_connect = may_connect
        self._within_s = within_s
        self._found: dict[tuple[str, int], list[str]] = {}

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """Send the request to the first checked address that takes it."""
        place = _name(request.url), request.url.port or _default_port(request.url)
        failure: httpx2.TransportError = httpx2.ConnectError("it has no address")
        for address in await self._addresses(*place):
            try:
                return await self._inner.handle_async_request(_to(request, address))
            except (httpx2.ConnectError, httpx2.ConnectTimeout) as error:
                failure = error
        self._found.pop(place, None)
        raise failure

    async def aclose(self) -> None:
        """Close all connections."""
        await self._inner.aclose()

    async def _addresses(self, host: str, port: int) -> list[str]:
        known = self._found.get((host, port))
        if known is not None:
            return known
        try:
            with anyio.fail_after(self._within_s):
                addresses = await self._resolve(host, port)
        except TimeoutError as error:
            raise httpx2.ConnectTimeout("its name could not be looked up in time") from error
        except OSError as error:
            raise httpx2.ConnectError("its name could not be looked up") from error
        if refused := [each for each in addresses if not self._may_connect(each)]:
            raise AddressRefusedError(f"its name stands for the private address {refused[0]}")
        self._found[host, port] = addresses
        return addresses


def _to(request: httpx2.Request, address: str) -> httpx2.Request:
    """Return the request for an address; its Host header and certificate stay the name's."""
    extensions = dict(request.extensions)
    if request.url.scheme == "https":
        extensions["sni_hostname"] = _name(request.url)
    return httpx2.Request(
        request.method,
        request.url.copy_with(host=address),
        headers=request.headers,
        stream=request.stream,
        extensions=extensions,
    )


def _name(url: httpx2.URL) -> str:
    """Return the host as it is asked for and proven: one in other scripts stays encoded."""
    return url.raw_host.decode("ascii")


def _default_port(url: httpx2.URL) -> int:
    return 443 if url.scheme == "https" else 80
