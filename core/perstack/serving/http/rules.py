"""What a server lets through, before any route is asked."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

LOOPBACK_NAMES: Final = frozenset({"127.0.0.1", "::1", "localhost"})


@dataclass(frozen=True, slots=True)
class Rules:
    """Bounds and switches of a server.

    Attributes:
        hosts: names that the `Host` header may have, in lower case, without a port.
        any_address: a `Host` that is an IP address is let through, too. No page can be made to
            belong to an address by changing where a name points to.
        origins: other origins whose pages may ask (CORS), as `https://name:port`.
        takes_origins: whether `program` can be told of more of them, with `--cors`.
        body_bytes, body_s: how large a body may be, and how long it may take to arrive.
        json_depth: how deep JSON may be nested.
        requests_at_once, streams_at_once: how many are answered at once; streams are event
            streams and WebSockets, which stay.
        per_s, burst: requests a second of one address, and how many at once.
        program: what is typed to start the server, as hints say it.
    """

    hosts: frozenset[str] = LOOPBACK_NAMES
    any_address: bool = False
    origins: frozenset[str] = frozenset()
    takes_origins: bool = True
    body_bytes: int = 1024 * 1024
    body_s: float = 10.0
    json_depth: int = 64
    requests_at_once: int = 256
    streams_at_once: int = 512
    per_s: float = 500.0
    burst: int = 1_000
    program: str = "perstack serve"
