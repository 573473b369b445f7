"""A registry of Experts on 127.0.0.1, in a thread of its own: for async tests and sync ones."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Generator, Iterable
from concurrent.futures import Future
from contextlib import ExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import anyio
import anyio.to_thread
from anyio.from_thread import BlockingPortal, start_blocking_portal

from perstack.domain.registry_hosting import SCOPES
from perstack.services.registry.access import RegistryAccess
from perstack.serving.http.rules import Rules
from perstack.serving.registry.app import access_over
from perstack.serving.registry.server import Listening, Served, open_registry
from tests.fakes.consensus import until

Bound = Callable[[Rules], Rules]


@dataclass(frozen=True, slots=True)
class _Bounded(Listening):
    """Listens by other rules than `perstack registry serve` has."""

    bound: Bound = lambda rules: rules

    def rules(self) -> Rules:
        """Return what it lets through."""
        return self.bound(Listening.rules(self))


class RegistryServer:
    """A server that runs. `key` and `stop` may be called from anywhere, also in a running loop."""

    def __init__(self, portal: BlockingPortal, served: Served, answering: Future[None]) -> None:
        self._portal = portal
        self._served = served
        self._answering = answering
        self.url = f"http://127.0.0.1:{served.port}"

    @property
    def port(self) -> int:
        return self._served.port

    @property
    def access(self) -> RegistryAccess:
        return access_over(self._served.tables)

    def organisation(self, name: str | None) -> str:
        """Return the id of the organisation, which is added if there is none of that name."""
        if name is not None:
            for each in self._portal.call(self.access.organisations):
                if each.name == name:
                    return each.id
        return self._portal.call(self.access.add_organisation, name).id

    def key(
        self,
        org: str | None = "acme",
        *,
        scopes: Iterable[str] = SCOPES,
        lasts_ms: int | None = None,
    ) -> str:
        """Return a new API key of the organisation; None is a new one without a name."""
        organisation = self.organisation(org)
        made = self._portal.call(
            partial(self.access.add_key, organisation, scopes=tuple(scopes), lasts_ms=lasts_ms)
        )
        return made.token

    def revoke(self, key: str) -> None:
        """Let a key be worth nothing any more."""
        self._portal.call(self.access.revoke, key)

    def stop(self) -> None:
        """Stop it; once stopped nobody answers at the URL. Idempotent."""
        self._served.server.should_exit = True
        self._answering.result(timeout=20)
        self._portal.call(self._close)

    async def _close(self) -> None:
        self._served.listener.close()


@contextmanager
def registry_running(
    folder: Path,
    *,
    orgs: Iterable[str] = ("acme",),
    private: bool = False,
    port: int = 0,
    bound: Bound | None = None,
) -> Generator[RegistryServer]:
    """Run a server over a folder; for tests that are not async. `bound` makes its rules others."""
    with ExitStack() as stack:
        portal = stack.enter_context(start_blocking_portal())
        asked = Listening(port=port, private=private)
        if bound is not None:
            asked = _Bounded(port=port, private=private, bound=bound)
        served = stack.enter_context(
            portal.wrap_async_context_manager(open_registry(folder, asked))
        )
        server = RegistryServer(portal, served, portal.start_task_soon(served.answer))
        stack.callback(server.stop)
        portal.call(until, lambda: served.server.started)
        for name in orgs:
            server.organisation(name)
        yield server


@asynccontextmanager
async def registry_server(
    folder: Path, *, orgs: Iterable[str] = ("acme",), private: bool = False, port: int = 0
) -> AsyncGenerator[RegistryServer]:
    """Run a server over a folder."""
    running = registry_running(folder, orgs=orgs, private=private, port=port)
    server = await anyio.to_thread.run_sync(running.__enter__)
    try:
        yield server
    finally:
        with anyio.CancelScope(shield=True):
            await anyio.to_thread.run_sync(running.__exit__, None, None, None)
