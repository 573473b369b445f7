"""Which addresses are the open internet's, and which this machine's."""

from __future__ import annotations

import socket
from collections.abc import Callable
from ipaddress import IPv4Address, IPv6Address
from threading import Event

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from perstack.skills.mcp.addresses import is_loopback, is_public, resolve

PRIVATE = st.sampled_from(
    ["10.0.0.0", "127.0.0.0", "169.254.0.0", "172.16.0.0", "192.168.0.0", "100.64.0.0", "0.0.0.0"]
).flatmap(
    lambda start: st.integers(0, 0xFFFF).map(
        lambda plus: IPv4Address(int(IPv4Address(start)) + plus)
    )
)
CARRIERS: dict[str, Callable[[IPv4Address], IPv6Address]] = {
    "mapped": lambda address: IPv6Address(0xFFFF << 32 | int(address)),
    "nat64": lambda address: IPv6Address(int(IPv6Address("64:ff9b::")) | int(address)),
    "6to4": lambda address: IPv6Address(0x2002 << 112 | int(address) << 80),
}


@given(PRIVATE)
def test_a_private_address_is_not_public_whatever_carries_it(address: IPv4Address) -> None:
    assert not is_public(str(address))
    for name, carrier in CARRIERS.items():
        assert not is_public(str(carrier(address))), name


@given(st.text(max_size=40))
def test_what_is_no_address_is_neither(words: str) -> None:
    try:
        IPv4Address(words)
    except ValueError:
        pass
    else:
        return
    if ":" not in words:
        assert not is_public(words)
        assert not is_loopback(words)


@pytest.mark.parametrize("address", ["93.184.215.14", "2606:2800:21f:cb07:6820:80da:af6b:8b2c"])
def test_the_internet_is_public(address: str) -> None:
    assert is_public(address)
    assert not is_loopback(address)


@pytest.mark.parametrize(
    "address",
    ["fd00::1", "fe80::1%lo", "ff02::1", "::", "2001:db8::1", "224.0.0.1", "255.255.255.255"],
)
def test_the_rest_is_not(address: str) -> None:
    assert not is_public(address)


@pytest.mark.parametrize("address", ["127.0.0.1", "127.8.9.1", "::1", "::ffff:127.0.0.1"])
def test_this_machine_is_known(address: str) -> None:
    assert is_loopback(address)
    assert not is_public(address)


def test_a_program_that_ends_does_not_wait_for_a_look_up_that_hangs(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A name server that does not answer takes the system a minute, which nobody can shorten."""
    answers = Event()

    def hang(*_: object, **__: object) -> list[object]:
        answers.wait()
        return []

    async def ask() -> None:
        with anyio.move_on_after(0.01):
            await resolve("mcp.example", 443)

    monkeypatch.setattr(socket, "getaddrinfo", hang)
    anyio.run(ask)
    answers.set()


@pytest.mark.anyio
@pytest.mark.parametrize("name", ["a" * 300, "..", "xn--a\udcff"])
async def test_a_name_that_has_no_address_is_an_error_whatever_it_looks_like(name: str) -> None:
    with pytest.raises(OSError, match=r"."):
        await resolve(name, 443)


@pytest.mark.anyio
async def test_a_name_is_looked_up() -> None:
    assert "127.0.0.1" in await resolve("127.0.0.1", 80)
    assert all(is_loopback(address) for address in await resolve("localhost", 80))
    assert "127.0.0.1" in await resolve("2130706433", 443)
