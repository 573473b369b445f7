"""Which URLs may receive keys and notices."""

from __future__ import annotations

from typing import Final
from urllib.parse import SplitResult, urlsplit

_DEFAULT_HOSTS: Final = ("api.anthropic.com", "api.openai.com")


def fault_of_url(url: str) -> str | None:
    """Return why `url` cannot be used, or None.

    It must be https, or http on this machine, name a host and hold no user name or password.
    """
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
    if parts.username is not None or parts.password is not None:
        return "must not hold a user name or password"
    if parts.scheme == "http" and not _is_loopback(host):
        return "must be https, or http on a loopback address such as 127.0.0.1"
    return None


def leads_elsewhere(url: str | None) -> bool:
    """Tell whether a valid URL leads neither to a vendor's own host nor to this machine."""
    if url is None:
        return False
    parts: SplitResult = urlsplit(url)
    host = parts.hostname or ""
    return host not in _DEFAULT_HOSTS and not _is_loopback(host)


def _is_loopback(host: str) -> bool:
    from ipaddress import IPv6Address, ip_address

    # Decided on the text alone, never by asking a name server.
    if host == "localhost":
        return True
    try:
        address = ip_address(host)
    except ValueError:
        return False
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return (mapped or address).is_loopback
