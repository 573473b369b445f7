"""The REST door in memory: an ASGI client over a real backend, whoever asks being settled."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from fastapi import FastAPI
from httpx2 import ASGITransport, AsyncClient
from starlette.requests import HTTPConnection

from perstack.ports.system import SystemClock, Uuids
from perstack.services.users import UserService
from perstack.serving.backend import Backend, Place, open_backend
from perstack.serving.feed.hub import Feed, open_feed
from perstack.serving.jobs import ServedJobs, open_jobs
from perstack.serving.rest.app import create_app
from perstack.serving.rest.context import Doorkeeper, Principal, RestState, Role
from perstack.serving.rest.doorkeeping import TokenDoor
from perstack.serving.rest.limits import LoginLimits
from perstack.serving.rest.passwords import Argon2Passwords
from perstack.serving.rest.rules import Rules
from perstack.serving.rest.sign_in import SignIn
from perstack.serving.rest.signing import Signer

BASE = "http://127.0.0.1"
SECRET = b"a secret of tests, long enough for them"


@dataclass(frozen=True, slots=True)
class Everybody:
    """A doorkeeper to whom everybody is the same."""

    principal: Principal

    async def admit(self, connection: HTTPConnection) -> Principal:
        return self.principal

    async def admit_token(self, token: str) -> Principal:
        return self.principal

    async def again(self, principal: Principal) -> Principal:
        return principal


@dataclass(frozen=True, slots=True)
class RestDoor:
    """What the application is made of, for tests that look behind it."""

    app: FastAPI
    client: AsyncClient
    backend: Backend
    jobs: ServedJobs
    users: UserService
    signer: Signer
    feed: Feed


@asynccontextmanager
async def rest_door(
    workspace: Path,
    toml: str = "",
    *,
    role: Role = "admin",
    name: str = "somebody",
    user_id: str | None = "user-1",
    doorkeeper: Doorkeeper | None = None,
    rules: Rules | None = None,
    server_token: str | None = None,
) -> AsyncGenerator[RestDoor]:
    """Open the application over a folder, and a client that asks as one principal.

    With a `server_token` everybody has to say who they are.
    """
    if toml:
        (workspace / "perstack.toml").write_text(toml)
    keeper = doorkeeper or Everybody(Principal(name, role, user_id))
    place = Place(workspace, trust=bool(toml))
    async with (
        open_backend(place) as backend,
        open_jobs(backend) as jobs,
        open_feed(backend) as feed,
    ):
        users = UserService(
            backend.tables.stores, passwords=Argon2Passwords(), clock=SystemClock(), ids=Uuids()
        )
        signer = Signer(SECRET, clock=SystemClock())
        if server_token is not None:
            keeper = TokenDoor(users=users, signer=signer, name=name, server_token=server_token)
        entry = SignIn(users, signer, LoginLimits())
        app = create_app(RestState(backend, jobs, keeper, entry, feed, rules or Rules()))
        transport = ASGITransport(app)
        async with AsyncClient(transport=transport, base_url=BASE) as client:
            yield RestDoor(app, client, backend, jobs, users, signer, feed)


@asynccontextmanager
async def rest(
    workspace: Path,
    toml: str = "",
    *,
    role: Role = "admin",
    name: str = "somebody",
    user_id: str | None = "user-1",
) -> AsyncGenerator[AsyncClient]:
    """Give the client alone."""
    async with rest_door(workspace, toml, role=role, name=name, user_id=user_id) as door:
        yield door.client
