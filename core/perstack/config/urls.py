"""Which URLs may receive keys, conversations and notices.

Everything is decided on the text alone, never by asking a name server: whoever connects checks
the address that a name leads to.
"""

from __future__ import annotations

import re
from typing import Final, Literal
from urllib.parse import SplitResult, urlsplit

Place = Literal["loopback", "private", "public"]

_DEFAULT_HOSTS: Final = (
    "api.anthropic.com",
    "api.openai.com",
    "generativelanguage.googleapis.com",
    "api.deepseek.com",
)
_PRIVATE_ENDS: Final = (".local", ".internal", ".lan", ".intranet", ".home.arpa")
# Names that end in a number are read as addresses by some programs: 127.1, 0x7f000001.
_POSES_AS_ADDRESS: Final = re.compile(r"(?:.*\.)?(?:\d+|0[xX][0-9A-Fa-f]*)\.?")
_PUBLIC_HINT: Final = "write an https:// URL"
OWN_SERVER_HINT: Final = "add allowPrivate = true if the server is your own"


def fault_of_url(url: str) -> str | None:
    """Return why `url` cannot be used, or None.

    It must be https, or http on this machine, name a host and hold no user name or password.
    """
    parts = _split(url)
    if isinstance(parts, str):
        return parts
    if parts.scheme == "http" and place_of(parts.hostname or "") != "loopback":
        return "must be https, or http on a loopback address such as 127.0.0.1"
    return None


def fault_of_address(url: str, *, allow_private: bool) -> tuple[str, str] | None:
    """Return why `url` cannot be connected to and what to write instead, or None.

    It must be https to the outside, or http or https on this machine. What is plainly in a
    private network (by its address or its name) needs `allow_private`, and may be http then.
    """
    parts = _split(url)
    if isinstance(parts, str):
        return parts, _PUBLIC_HINT
    place = place_of(parts.hostname or "")
    if place == "private" and not allow_private:
        return "leads into a private network", "if that is meant, write allowPrivate = true beside"
    if place == "public" and parts.scheme == "http":
        return "must be https, or http on a loopback address such as 127.0.0.1", _PUBLIC_HINT
    return None


def fault_of_server(url: str, *, allow_private: bool) -> tuple[str, str] | None:
    """Return why a tool server cannot be asked at `url` and what to write instead, or None.

    It must be https to the outside. What is plainly on this machine or in a private network (by
    its address or its name) needs `allow_private`, and may be http then: a file that came from
    elsewhere is not to reach what listens there and asks nobody who they are.
    """
    parts = _split(url)
    if isinstance(parts, str):
        return parts, _PUBLIC_HINT
    place = place_of(parts.hostname or "")
    if place == "public":
        public = "must be https, or lead to this machine or into a private network"
        return (public, _PUBLIC_HINT) if parts.scheme == "http" else None
    if allow_private:
        return None
    where = "to this machine" if place == "loopback" else "into a private network"
    return f"leads {where}", OWN_SERVER_HINT


def fault_of_any_host(url: str) -> str | None:
    """Return why `url` cannot be used, or None: http and https to any host will do."""
    parts = _split(url)
    return parts if isinstance(parts, str) else None


def leads_elsewhere(url: str | None) -> bool:
    """Tell whether a URL leads neither to a vendor's own host nor to this machine.

    What is no URL may pass for one elsewhere, and leads elsewhere.
    """
    if url is None:
        return False
    parts = _split(url)
    if isinstance(parts, str):
        return True
    host = parts.hostname or ""
    return host not in _DEFAULT_HOSTS and place_of(host) != "loopback"


def place_of(host: str) -> Place:
    """Return where a host is, as far as its text tells; `host` is lower-case, without brackets."""
    from ipaddress import IPv6Address, ip_address

    name = host.removesuffix(".")
    if name == "localhost" or name.endswith(".localhost"):
        return "loopback"
    try:
        address = ip_address(name.partition("%")[0])
    except ValueError:
        private = "." not in name or name.endswith(_PRIVATE_ENDS)
        return "private" if private else "public"
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    address = mapped or address
    if address.is_loopback:
        return "loopback"
    return "public" if address.is_global and not address.is_multicast else "private"


def _split(url: str) -> SplitResult | str:
    """Return the parts of a URL, or what is wrong with it."""
    if not url.isascii() or not url.isprintable() or " " in url:
        return "must not hold spaces or control characters, and only ASCII"
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        return "is not a URL"
    if port == 0:
        return "has a port that does not exist"
    if not host or parts.scheme not in ("https", "http"):
        return "must be a URL such as https://host/path"
    if "@" in parts.netloc:
        return "must not hold a user name or password"
    if "\\" in url or not _is_host(host):
        return "must name its host plainly: a name, four numbers, or [an IPv6 address]"
    return parts


def _is_host(host: str) -> bool:
    from ipaddress import ip_address

    if ":" not in host and not re.fullmatch(r"[a-z0-9._-]+", host):
        return False
    if not _POSES_AS_ADDRESS.fullmatch(host):
        return True
    try:
        ip_address(host.removesuffix("."))
    except ValueError:
        return False
    return True
