"""The MCP server over standard input and output: one client, until it closes its end."""

from __future__ import annotations

import os
import signal
from collections.abc import Generator
from contextlib import contextmanager
from typing import Final

import anyio

from perstack.engine.groups import unwrapped
from perstack.services.whoami import whoami
from perstack.serving.backend import Place, open_backend
from perstack.serving.jobs import open_jobs
from perstack.serving.mcp.clients import Clients
from perstack.serving.mcp.lines import messages
from perstack.serving.mcp.server import ToolServer, offered

STOP_WITHIN_S: Final = 1.5


async def serve_stdio(place: Place, *, reviews: bool = False) -> None:
    """Serve until standard input ends, or a signal says so; jobs stop at a checkpoint.

    Raises:
        ConfigError, UsageError: the place cannot be served.
    """
    with unwrapped():
        async with (
            open_backend(place) as backend,
            open_jobs(backend, stop_within_s=STOP_WITHIN_S) as jobs,
            anyio.create_task_group() as group,
        ):
            group.start_soon(stop_at_signals, group.cancel_scope)
            who = Clients(whoami())
            server = ToolServer(backend, jobs, offered(backend, reviews=reviews), who).build()
            with protocol_streams() as (read_fd, write_fd):
                async with messages(read_fd, write_fd, ended=jobs.ask_to_stop) as (read, write):
                    await server.run(read, write, server.create_initialization_options())
            jobs.ask_to_stop(now=True)
            group.cancel_scope.cancel()


async def stop_at_signals(scope: anyio.CancelScope) -> None:
    """End the scope when the process is told to end."""
    with anyio.open_signal_receiver(signal.SIGINT, signal.SIGTERM, signal.SIGHUP) as signals:
        async for _ in signals:
            scope.cancel()


@contextmanager
def protocol_streams() -> Generator[tuple[int, int]]:
    """Give copies of standard input and output that nobody else has.

    Meanwhile nothing else reads the one, and what anything else prints goes to standard error: a
    stray line would break the protocol.
    """
    read_fd, write_fd = os.dup(0), os.dup(1)
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.close(null)
    os.dup2(2, 1)
    try:
        yield read_fd, write_fd
    finally:
        # Standard output stays where stray lines go: the client wants nothing printed at exit.
        os.dup2(read_fd, 0)
        os.close(read_fd)
        os.close(write_fd)
