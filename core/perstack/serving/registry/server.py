"""The HTTP server of a registry: what it listens on, what it says, and how it ends."""

from __future__ import annotations

import signal
import socket
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import anyio

from perstack.domain.registry import API
from perstack.engine.groups import unwrapped
from perstack.serving.http.listening import Server, bound, server_of
from perstack.serving.http.rules import LOOPBACK_NAMES, Rules
from perstack.serving.registry.app import BODY_BYTES, access_over, create_app, state_over
from perstack.wiring import Tables, open_tables

PORT: Final = 3002
_ANY: Final = frozenset({"0.0.0.0", "::", ""})  # noqa: S104  names of no host
_PER_S: Final = 100.0
_BURST: Final = 500

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Listening:
    """Where a registry listens, and whether it asks everybody who they are.

    `names` are what it is reached by beside its own address.
    """

    host: str = "127.0.0.1"
    port: int = PORT
    names: frozenset[str] = frozenset()
    private: bool = False

    @property
    def loopback(self) -> bool:
        """Whether only this machine can reach it."""
        return self.host in LOOPBACK_NAMES

    def rules(self) -> Rules:
        """Return what it lets through."""
        own = frozenset({self.host.lower()} - _ANY)
        return Rules(
            hosts=LOOPBACK_NAMES | own | frozenset(name.lower() for name in self.names),
            any_address=not self.loopback,
            takes_origins=False,
            body_bytes=BODY_BYTES,
            per_s=_PER_S,
            burst=_BURST,
            program="perstack registry serve",
        )


@dataclass(frozen=True, slots=True)
class Served:
    """A registry that is ready to answer: the server, what it listens on, and its tables."""

    server: Server
    listener: socket.socket
    tables: Tables

    @property
    def port(self) -> int:
        """The port that it has."""
        return self.listener.getsockname()[1]

    async def answer(self) -> None:
        """Answer until the server is told to end."""
        await self.server.serve(sockets=[self.listener])


@asynccontextmanager
async def open_registry(workspace: Path, asked: Listening) -> AsyncGenerator[Served]:
    """Give the registry in the tables of a folder; it closes them at the end.

    Raises:
        UsageError: the host is no address of this machine.
        ConflictError: the port is taken.
        StorageError: the tables cannot be opened.
    """
    async with bound(asked.host, asked.port) as listener:
        tables = open_tables(workspace)
        try:
            app = create_app(state_over(tables, private=asked.private), asked.rules())
            yield Served(server_of(app), listener, tables)
        finally:
            await tables.aclose()


async def serve(workspace: Path, asked: Listening, say: Say) -> None:
    """Serve until SIGINT or SIGTERM. `say` is told what the person at the terminal has to know.

    Raises:
        UsageError, ConflictError, StorageError: as `open_registry`.
    """
    with unwrapped():
        async with open_registry(workspace, asked) as served:
            organisations = await access_over(served.tables).organisations()
            _tell(served, asked, say, publishers=bool(organisations))
            async with anyio.create_task_group() as group:
                group.start_soon(_watch_signals, served.server)
                await served.answer()
                group.cancel_scope.cancel()


async def _watch_signals(server: Server) -> None:
    """End the server at the first signal, at once at the second."""
    with anyio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        async for _ in signals:
            server.force_exit = server.should_exit
            server.should_exit = True


def _tell(served: Served, asked: Listening, say: Say, *, publishers: bool) -> None:
    host = f"[{asked.host}]" if ":" in asked.host else asked.host
    base = f"http://{host}:{served.port}"
    say(f"Registry:  {base}{API}")
    if asked.loopback:
        say(f"Clients:   PERSTACK_API_BASE_URL={base}")
    if not publishers:
        say("Nobody can publish yet: perstack registry org add NAME")
    if asked.private:
        say("Private: reading needs a key, too.")
    if not asked.loopback:
        say("It speaks plain HTTP, in which keys can be read: put it behind TLS, clients insist.")
    say("Ctrl-C stops it.")
