"""What every route works with: who asks, what they may do, and the services."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable
from dataclasses import dataclass
from typing import Annotated, Final, Literal, Protocol, cast

from fastapi import Depends, Request
from starlette.requests import HTTPConnection

from perstack.domain.memory import Caller
from perstack.errors import DeniedError
from perstack.serving.backend import Backend, Served
from perstack.serving.jobs import ServedJobs

Role = Literal["admin", "developer", "viewer"]
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
_NOT_FOR_VIEWERS: Final[frozenset[Area]] = frozenset({"filesystem", "users"})


@dataclass(frozen=True, slots=True)
class Principal:
    """Who asks. `user_id` None: the server's own token, or nobody is asked who they are."""

    name: str
    role: Role
    user_id: str | None = None

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


class Doorkeeper(Protocol):
    """Says who asks."""

    async def admit(self, connection: HTTPConnection) -> Principal:
        """Return who it is.

        Raises:
            NotSignedInError: nobody that is known.
        """
        ...


@dataclass(frozen=True, slots=True)
class RestState:
    """What the application was made with; `app.state.rest` holds it."""

    backend: Backend
    jobs: ServedJobs
    doorkeeper: Doorkeeper


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


async def _served(request: Request) -> AsyncGenerator[Served]:
    async with state_of(request).backend.use() as served:
        yield served


Services = Annotated[Served, Depends(_served)]
