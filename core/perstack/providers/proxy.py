"""The proxy that requests to model vendors go through; knows no HTTP library."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import unquote, urlsplit

from perstack.errors import ConfigError

VARIABLE: Final = "PERSTACK_PROXY_URL"
_HINT: Final = f"export {VARIABLE}=http://host:port"


@dataclass(frozen=True, slots=True)
class Proxy:
    """A proxy's URL, and the patterns of addresses that are reached without it."""

    url: str = field(repr=False)
    direct: tuple[str, ...] = ()

    @property
    def secrets(self) -> tuple[str, ...]:
        """What must not be shown: the password, as it stands in the URL and as it is meant."""
        password = urlsplit(self.url).password
        return (password, unquote(password)) if password else ()


def read_proxy(env: Mapping[str, str]) -> Proxy | None:
    """Return the proxy set for model vendors alone, None where there is none.

    The HTTP library then uses the usual variables (`HTTPS_PROXY` and the like). `NO_PROXY` counts
    for both.

    Raises:
        ConfigError: the variable holds no URL of a proxy; its value is not shown.
    """
    url = env.get(VARIABLE, "").strip()
    if not url:
        return None
    try:
        parts = urlsplit(url)
        usable = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        usable = False
    if not (usable and url.isascii() and url.isprintable()):
        raise ConfigError(f"{VARIABLE} is not the URL of a proxy", hint=_HINT)
    return Proxy(url, _direct(env.get("NO_PROXY") or env.get("no_proxy") or ""))


def _direct(listed: str) -> tuple[str, ...]:
    """Return `NO_PROXY` as patterns of URLs; a name stands for itself and all below it."""
    hosts = [host.strip() for host in listed.split(",") if host.strip()]
    return tuple(_pattern(host) for host in hosts if "/" not in host)


def _pattern(host: str) -> str:
    if host == "*":
        return "all://"
    if host.lower() == "localhost":
        return "all://localhost"
    try:
        address = ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        return f"all://*{host.removeprefix('*')}"
    return f"all://[{address}]" if address.version == 6 else f"all://{address}"
