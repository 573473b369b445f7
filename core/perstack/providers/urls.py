"""Which addresses a key may be sent to."""

from __future__ import annotations

from typing import Final
from urllib.parse import urlsplit

from perstack.config.urls import fault_of_address, fault_of_any_host, fault_of_url
from perstack.errors import ConfigError
from perstack.providers.setup import Setup

_HINT: Final = "use https://host/path, or http:// with localhost, 127.0.0.1 or [::1]"


def base_url(setup: Setup, variable: str, usual: str) -> str:
    """Return the address that is set, in the configuration or in `variable`, or the usual one.

    Raises:
        ConfigError: no key may be sent there.
    """
    settings = setup.settings
    if settings.base_url:
        return check_base_url(settings.base_url, allow_private=settings.allow_private)
    given = setup.env.get(variable, "").strip()
    return check_base_url(given, source=variable) if given else usual


def check_base_url(url: str, *, source: str = "baseUrl", allow_private: bool = False) -> str:
    """Return `url` without trailing slashes if a key may be sent there.

    Raises:
        ConfigError: it may not (`config.urls` has the rules), or it ends in a query or fragment,
            which a path cannot be added to; `source` names where it was set.
    """
    if not allow_private:
        return _without_end(url, source, fault_of_url(url), _HINT)
    fault, hint = fault_of_address(url, allow_private=True) or (None, _HINT)
    return _without_end(url, source, fault, hint)


def check_any_host(url: str, *, source: str) -> str:
    """Return `url` without trailing slashes; no key is sent there, so any host will do.

    Raises:
        ConfigError: it is no URL of a server.
    """
    return _without_end(url, source, fault_of_any_host(url), "use http://host:port")


def _without_end(url: str, source: str, fault: str | None, hint: str) -> str:
    if fault is None and (urlsplit(url).query or urlsplit(url).fragment):
        fault = "must not end in a query or fragment"
    if fault is not None:
        raise ConfigError(f"{source} {fault}", hint=hint)
    return url.rstrip("/")
