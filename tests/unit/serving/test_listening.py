"""The sockets that servers listen on."""

from __future__ import annotations

import socket
from collections.abc import Callable

import pytest

from perstack.serving.http import listening
from perstack.serving.mcp import http

LISTENERS: dict[str, Callable[[], socket.socket]] = {
    "mcp": lambda: http.bound_to(http.Listening("127.0.0.1", 0, None)),
    "rest": lambda: listening.bound_to("127.0.0.1", 0),
}


@pytest.mark.parametrize("listener", LISTENERS.values(), ids=LISTENERS.keys())
def test_no_part_of_an_answer_waits_for_the_one_before_it(
    listener: Callable[[], socket.socket],
) -> None:
    with listener() as listening, socket.create_connection(listening.getsockname()):
        listening.setblocking(True)
        accepted, _ = listening.accept()
        with accepted:
            assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) != 0
