"""Which network addresses a server that is reached over HTTP may have."""

from __future__ import annotations

import socket
from collections.abc import Awaitable, Callable
from contextlib import suppress
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address
from threading import Thread
from typing import Final

import anyio
import anyio.from_thread
import anyio.lowlevel

# The host and port of an endpoint to the addresses that it has now, at least one.
Resolve = Callable[[str, int], Awaitable[list[str]]]

_NAT64: Final = IPv6Network("64:ff9b::/96")


def is_public(address: str) -> bool:
    """Whether the address is one of the open internet, and none of this machine or its networks.

    An IPv6 address that carries an IPv4 one stands for both.
    """
    try:
        parsed = ip_address(address.partition("%")[0])
    except ValueError:
        return False
    return all(_is_global(each) for each in (parsed, *_carried(parsed)))


def is_loopback(address: str) -> bool:
    """Whether the address is this machine's own."""
    try:
        parsed = ip_address(address.partition("%")[0])
    except ValueError:
        return False
    carried = parsed.ipv4_mapped if isinstance(parsed, IPv6Address) else None
    return (carried or parsed).is_loopback


async def resolve(host: str, port: int) -> list[str]:
    """Return the addresses of `host`, the best first.

    Raises:
        OSError: it has none, or is no name.
    """
    # The system's look-up cannot be cancelled and may take a minute. At its end a program waits
    # for the threads of the event loop; for one of our own that is a daemon it does not.
    answered = anyio.Event()
    found: list[str] = []
    failures: list[OSError] = []
    token = anyio.lowlevel.current_token()

    def look_up() -> None:
        try:
            places = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
            found.extend(dict.fromkeys(str(address[0]) for *_, address in places))
        except OSError as error:
            failures.append(error)
        except UnicodeError as error:
            failures.append(OSError(str(error)))
        with suppress(RuntimeError):  # the program has ended meanwhile
            anyio.from_thread.run_sync(answered.set, token=token)

    Thread(target=look_up, name="address look-up", daemon=True).start()
    await answered.wait()
    if failures:
        raise failures[0]
    return found


def _is_global(address: IPv4Address | IPv6Address) -> bool:
    return address.is_global and not (
        address.is_multicast or address.is_reserved or address.is_unspecified
    )


def _carried(address: IPv4Address | IPv6Address) -> list[IPv4Address]:
    if isinstance(address, IPv4Address):
        return []
    carried = [address.ipv4_mapped, address.sixtofour, *(address.teredo or ())]
    if address in _NAT64:
        carried.append(IPv4Address(int(address) & 0xFFFFFFFF))
    return [each for each in carried if each is not None]
