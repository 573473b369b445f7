"""The certificates of this machine, read once: each HTTP client would take 20 ms for that.

Most clients of tests talk to loopback without TLS, and never look at them.
"""

from __future__ import annotations

import os
import ssl
from functools import cache

import httpcore2


def read_once() -> None:
    """Have all clients of this process share a context, but where a variable names a file."""
    read = httpcore2.default_ssl_context
    shared = cache(lambda: read(_trust_env=False))

    def context(*, _trust_env: bool = True) -> ssl.SSLContext:
        named = _trust_env and ("SSL_CERT_FILE" in os.environ or "SSL_CERT_DIR" in os.environ)
        return read() if named else shared()

    httpcore2.default_ssl_context = context
