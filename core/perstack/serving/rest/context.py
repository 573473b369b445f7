"""What every route works with: who asks, what they may do, and the services."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import Annotated, Final, Literal, Protocol, cast, get_args

from fastapi import Depends, Request
from starlette.requests import HTTPConnection

from perstack.domain.ids import SessionId
from perstack.domain.memory import Caller
from perstack.domain.users import Role
from perstack.errors import DeniedError
from perstack.serving.backend import Backend, Served
from perstack.serving.feed.hub import Feed
from perstack.serving.jobs import ServedJobs
from perstack.serving.rest.metrics import HttpMetrics
from perstack.serving.rest.rules import Rules
from perstack.serving.rest.sign_in import SignIn

Area = Literal[
    "agents",
    "identities",
    "memory",
    "tasks",
    "sessions",
    "workflows",
    "reviews",
    "projects",
    "consensus",
    "jobs",
    "experts",
    "events",
    "system",
    "filesystem",
    "users",
]
Deed = Literal["read", "write"]

_ADMIN_ONLY: Final[frozenset[tuple[Area, Deed]]] = frozenset(
    {("users", "read"), ("users", "write"), ("system", "write")}
)
_CLAIMED: Final = 90
_NOT_FOR_VIEWERS: Final[frozenset[Area]] = frozenset({"filesystem", "users"})


@dataclass(frozen=True, slots=True)
class Principal:
    """Who asks. `user_id` None: the server's own token, or nobody is asked who they are."""

    name: str
    role: Role
    user_id: str | None = None
    epoch: int = 0

    def may(self, area: Area, deed: Deed) -> bool:
        """Tell whether the role allows it."""
        match self.role:
            case "admin":
                return True
            case "developer":
                return (area, deed) not in _ADMIN_ONLY
            case "viewer":
                return deed == "read" and area not in _NOT_FOR_VIEWERS

    @property
    def caller(self) -> Caller:
        """As memory knows it: a person, who sees everything."""
        return Caller(name=self.name)

    def known_as(self, claimed: str | None) -> str:
        """Return who is written down as having decided: who signed in, whatever they claim.

        Where nobody signs in a claim is kept, and behind it what is known of who made it.
        """
        if self.user_id is not None or claimed is None:
            return self.name
        return f"{claimed.strip()[:_CLAIMED]} (said {self.name[:_CLAIMED]})"

    def in_session(self, session_id: SessionId | None) -> Caller:
        """As memory knows it within a session, whose view it then has."""
        return Caller(name=self.name, session_id=session_id)


class Doorkeeper(Protocol):
    """Says who asks."""

    async def admit(self, connection: HTTPConnection) -> Principal:
        """Return who it is.

        Raises:
            NotSignedInError: nobody that is known.
        """
        ...

    async def admit_token(self, token: str) -> Principal:
        """Return whose token it is, however it came.

        Raises:
            NotSignedInError: nobody's that is known.
        """
        ...

    async def again(self, principal: Principal) -> Principal:
        """Return who somebody is now who was admitted before.

        Raises:
            NotSignedInError: they signed out, or are no user any more.
        """
        ...


@dataclass(frozen=True, slots=True)
class RestState:
    """What the application was made with; `app.state.rest` holds it."""

    backend: Backend
    jobs: ServedJobs
    doorkeeper: Doorkeeper
    sign_in: SignIn
    feed: Feed
    rules: Rules = field(default_factory=Rules)
    metrics: HttpMetrics = field(default_factory=HttpMetrics)


def state_of(connection: HTTPConnection) -> RestState:
    """Return what the application was made with."""
    return cast("RestState", connection.app.state.rest)


def needs(area: Area, deed: Deed) -> Callable[[HTTPConnection], Awaitable[Principal]]:
    """Return a dependency that admits who may do this, and gives who it is.

    Every route has one: a test walks the OpenAPI document.
    """

    async def admitted(connection: HTTPConnection) -> Principal:
        principal = await state_of(connection).doorkeeper.admit(connection)
        if not principal.may(area, deed):
            raise DeniedError("Insufficient permissions", hint=f"it needs {area}:{deed}")
        return principal

    return admitted


async def signed_in(connection: HTTPConnection) -> Principal:
    """Give whoever asks: for what everybody may do who is known."""
    return await state_of(connection).doorkeeper.admit(connection)


def permissions(principal: Principal) -> tuple[str, ...]:
    """Return what somebody may do, as `area:deed`; `*` is everything."""
    if principal.role == "admin":
        return ("*",)
    areas: tuple[Area, ...] = get_args(Area)
    deeds: tuple[Deed, ...] = get_args(Deed)
    return tuple(f"{area}:{deed}" for area in areas for deed in deeds if principal.may(area, deed))


async def _served(request: Request) -> AsyncGenerator[Served]:
    async with state_of(request).backend.use() as served:
        yield served


Services = Annotated[Served, Depends(_served)]


async def _jobs(connection: HTTPConnection) -> ServedJobs:
    return state_of(connection).jobs


Jobs = Annotated[ServedJobs, Depends(_jobs)]
