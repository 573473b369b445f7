"""A real HTTP server over a folder, on a port of loopback; everybody is let in."""

from __future__ import annotations

import socket
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path

import anyio
import uvicorn

from perstack.ports.system import SystemClock, Uuids
from perstack.services.users import UserService
from perstack.serving.backend import Backend, Place, open_backend
from perstack.serving.feed.hub import Feed, open_feed
from perstack.serving.jobs import ServedJobs, open_jobs
from perstack.serving.rest.app import create_app
from perstack.serving.rest.context import RestState
from perstack.serving.rest.doorkeeping import OpenDoor
from perstack.serving.rest.limits import LoginLimits
from perstack.serving.rest.passwords import Argon2Passwords
from perstack.serving.rest.rules import Rules
from perstack.serving.rest.sign_in import SignIn
from perstack.serving.rest.signing import Signer
from tests.fakes.consensus import until


@dataclass(frozen=True, slots=True)
class EventServer:
    """Where it is, and what is behind it."""

    url: str
    backend: Backend
    jobs: ServedJobs
    feed: Feed


class _Server(uvicorn.Server):
    @contextmanager
    def capture_signals(self) -> Generator[None]:
        yield


@asynccontextmanager
async def event_server(workspace: Path) -> AsyncGenerator[EventServer]:
    """Serve a folder that has its perstack.toml, for as long as the block runs."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(512)
        listener.setblocking(False)
        async with (
            open_backend(Place(workspace, trust=True)) as backend,
            open_jobs(backend) as jobs,
            open_feed(backend) as feed,
        ):
            users = UserService(
                backend.tables.stores, passwords=Argon2Passwords(), clock=SystemClock(), ids=Uuids()
            )
            entry = SignIn(users, Signer(b"x" * 40, clock=SystemClock()), LoginLimits())
            rules = Rules(per_s=1e6, burst=1_000_000)
            app = create_app(RestState(backend, jobs, OpenDoor("tester"), entry, feed, rules))
            options = uvicorn.Config(app, lifespan="off", log_config=None, access_log=False)
            server = _Server(options)
            async with anyio.create_task_group() as group:
                group.start_soon(lambda: server.serve(sockets=[listener]))
                await until(lambda: server.started)
                port = listener.getsockname()[1]
                yield EventServer(f"http://127.0.0.1:{port}", backend, jobs, feed)
                feed.close()
                server.should_exit = True
