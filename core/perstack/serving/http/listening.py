"""The socket that a server listens on, and uvicorn as we set it up."""

from __future__ import annotations

import errno
import socket
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager, contextmanager, suppress
from typing import Final

import anyio.to_thread
import uvicorn
from starlette.types import ASGIApp

from perstack.errors import ConflictError, UsageError
from perstack.serving.http.connections import Connection

STREAMS_END_WITHIN_S: Final = 3
_FRAME_BYTES: Final = 64 * 1024
_HEAD_BYTES: Final = 32 * 1024
_BACKLOG: Final = 512


class Server(uvicorn.Server):
    """Uvicorn, which leaves the signals to us."""

    @contextmanager
    def capture_signals(self) -> Generator[None]:
        """Capture none."""
        yield


def server_of(app: ASGIApp) -> Server:
    """Return a server of the application, which listens on nothing yet."""
    return Server(
        uvicorn.Config(
            app,
            http=Connection,
            ws="websockets-sansio",
            ws_max_size=_FRAME_BYTES,
            h11_max_incomplete_event_size=_HEAD_BYTES,
            lifespan="off",
            log_config=None,
            access_log=False,
            # What it says beneath names addresses, and a WebSocket's may hold its token.
            log_level="warning",
            server_header=False,
            proxy_headers=False,
            backlog=_BACKLOG,
            timeout_graceful_shutdown=STREAMS_END_WITHIN_S,
        )
    )


@asynccontextmanager
async def bound(host: str, port: int) -> AsyncGenerator[socket.socket]:
    """Give the socket; it is bound before anything else is opened, so that a taken port is said.

    Raises:
        UsageError, ConflictError: as `bound_to`.
    """
    listener = await anyio.to_thread.run_sync(bound_to, host, port)
    try:
        yield listener
    finally:
        with suppress(OSError):
            listener.close()


def bound_to(host: str, port: int) -> socket.socket:
    """Return a socket that listens. Blocks where the host is a name.

    Raises:
        UsageError: the host is no address of this machine.
        ConflictError: the address cannot be listened on.
    """
    try:
        found = socket.getaddrinfo(
            host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
    except (OSError, UnicodeError) as error:
        raise UsageError(f"{host!a} is no address of this machine") from error
    family, kind, _, _, address = found[0]
    listener = socket.socket(family, kind)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        # Connections have it from here. Without it each answer's body waits 40 ms behind its head.
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        listener.setblocking(False)
        listener.bind(address)
        listener.listen(_BACKLOG)
    except OSError as error:
        listener.close()
        raise ConflictError(
            f"{host}:{port} cannot be listened on: {error.strerror}",
            hint="--host must be an address of this machine"
            if error.errno == errno.EADDRNOTAVAIL
            else "choose another port with --port, or 0 for any that is free",
        ) from error
    return listener
