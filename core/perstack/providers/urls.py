"""Which addresses a key may be sent to."""

from __future__ import annotations

import ipaddress
from typing import Final
from urllib.parse import SplitResult, urlsplit

from perstack.errors import ConfigError

_HINT: Final = "use https://host/path, or http:// with localhost, 127.0.0.1 or [::1]"


def check_base_url(url: str, *, source: str = "baseUrl") -> str:
    """Return `url` without trailing slashes if a key may be sent there.

    That is https to any host, or http to this machine. What is this machine is decided on the
    text alone (`localhost` or a literal loopback address), never by asking a name server.

    Raises:
        ConfigError: it is anything else; `source` names where it was set.
    """
    parts = _split(url, source)
    if parts.scheme == "https" or (parts.scheme == "http" and _is_loopback(parts.hostname or "")):
        return url.rstrip("/")
    raise ConfigError(f"{source} {_shown(parts)!a} is neither https nor this machine", hint=_HINT)


def _split(url: str, source: str) -> SplitResult:
    if not url.isascii() or not url.isprintable() or " " in url:
        raise ConfigError(f"{source} holds characters that no URL has", hint=_HINT)
    try:
        parts = urlsplit(url)
        usable = bool(parts.hostname) and parts.port != 0
    except ValueError as error:
        raise ConfigError(f"{source} is not a URL", hint=_HINT) from error
    if not usable:
        raise ConfigError(f"{source} is not a URL with a host", hint=_HINT)
    if "@" in parts.netloc:
        raise ConfigError(
            f"{source} holds a user name or password",
            hint="remove what stands before the @; keys belong in the environment",
        )
    if parts.query or parts.fragment:
        raise ConfigError(
            f"{source} ends in a query or fragment", hint="remove what follows ? or #"
        )
    return parts


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return False
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return (mapped or address).is_loopback


def _shown(parts: SplitResult) -> str:
    return f"{parts.scheme}://{parts.netloc}"
