"""Which addresses a key may be sent to."""

from __future__ import annotations

from typing import Final
from urllib.parse import urlsplit

from perstack.config.urls import fault_of_url
from perstack.errors import ConfigError

_HINT: Final = "use https://host/path, or http:// with localhost, 127.0.0.1 or [::1]"


def check_base_url(url: str, *, source: str = "baseUrl") -> str:
    """Return `url` without trailing slashes if a key may be sent there.

    Raises:
        ConfigError: it may not (`config.urls.fault_of_url` has the rule), or it ends in a query or
            fragment, which a path cannot be added to; `source` names where it was set.
    """
    fault = fault_of_url(url)
    if fault is None and (urlsplit(url).query or urlsplit(url).fragment):
        fault = "must not end in a query or fragment"
    if fault is not None:
        raise ConfigError(f"{source} {fault}", hint=_HINT)
    return url.rstrip("/")
