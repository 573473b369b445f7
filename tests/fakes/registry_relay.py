"""A relay before a registry: it may change what is sent, and notes what the registry said."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any, Final
from urllib.parse import urlsplit

from tests.fakes.registry_wire import Asked, asked_on, listening

_WAIT_S: Final = 20
_HOP: Final = frozenset({"connection", "content-length"})

Change = Callable[[Asked], Asked]


@dataclass
class Relay:
    """Where clients ask, and the answers that the registry gave, whole."""

    url: str
    answers: list[bytes] = field(default_factory=list[bytes])

    @property
    def refusal(self) -> dict[str, Any]:
        """The body of the last answer."""
        return json.loads(self.answers[-1].partition(b"\r\n\r\n")[2])


@contextmanager
def registry_relay(
    to: str, change: Change = lambda asked: asked, *, held_back: int = 0
) -> Generator[Relay]:
    """Pass requests on to the registry at `to`; the last bytes of a body are `held_back`."""
    relay = Relay("")
    host, port = urlsplit(to).hostname or "", urlsplit(to).port or 0

    def handle(stream: socket.socket) -> None:
        sent = _bytes_of(change(asked_on(stream)))
        with socket.create_connection((host, port), timeout=_WAIT_S) as far:
            far.sendall(sent[: len(sent) - held_back])
            answer = b""
            while piece := far.recv(65_536):
                answer += piece
        relay.answers.append(answer)
        stream.sendall(answer)

    with listening(handle) as own:
        relay.url = f"http://127.0.0.1:{own}"
        yield relay


def at(target: str, method: str | None = None) -> Change:
    """Ask for another path, or by another method."""
    return lambda asked: replace(asked, target=target, method=method or asked.method)


def saying(body: bytes) -> Change:
    """Send another body."""
    return lambda asked: replace(asked, body=body)


def telling(**headers: str) -> Change:
    """Send other headers. A `_` in the name of one stands for `-`."""
    told = {name.replace("_", "-"): value for name, value in headers.items()}
    return lambda asked: replace(asked, headers={**asked.headers, **told})


def _bytes_of(asked: Asked) -> bytes:
    headers = {name: value for name, value in asked.headers.items() if name not in _HOP}
    headers |= {"connection": "close", "content-length": str(len(asked.body))}
    lines = [f"{asked.method} {asked.target} HTTP/1.1"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + asked.body
