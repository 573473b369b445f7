"""/api/v1/sessions."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Query
from pydantic import JsonValue

from perstack.domain.base import Model
from perstack.domain.ids import SessionId
from perstack.domain.moments import Moment
from perstack.domain.sessions import Session, SessionStatus
from perstack.serving.rest.context import Services, needs
from perstack.serving.rest.envelope import Envelope, Page, ok, page
from perstack.serving.rest.parameters import Body, Limit, Offset, SessionPath

router = APIRouter(prefix="/sessions", tags=["sessions"])
READS = Depends(needs("sessions", "read"))
WRITES = Depends(needs("sessions", "write"))


class StartBody(Body):
    """What is kept of a session."""

    metadata: dict[str, JsonValue] | None = None


class SessionView(Model):
    """A session. `ended_at` is null while it is active."""

    id: SessionId
    status: SessionStatus
    started_at: Moment
    ended_at: Moment | None
    metadata: dict[str, JsonValue] | None


@router.get("", dependencies=[READS])
async def list_sessions(
    services: Services,
    status: Annotated[SessionStatus | None, Query()] = None,
    limit: Limit = 50,
    offset: Offset = 0,
) -> Page[SessionView]:
    """List sessions, the last begun first."""
    sessions = services.coordination.sessions
    found = await sessions.list(status=status, limit=limit, offset=offset)
    total = await sessions.count(status=status)
    return page(tuple(map(session_view, found)), limit=limit, offset=offset, total=total)


@router.get("/active", dependencies=[READS])
async def active(services: Services) -> Envelope[SessionView | None]:
    """Return the active session that was begun last; null without one."""
    found = await services.coordination.sessions.active()
    return ok(None if found is None else session_view(found))


@router.post("", status_code=201, dependencies=[WRITES])
async def start(services: Services, body: StartBody | None = None) -> Envelope[SessionView]:
    """Begin a session; the active one ends first."""
    told = body or StartBody()
    return ok(session_view(await services.coordination.sessions.start_next(told.metadata)))


@router.get("/{id}", dependencies=[READS])
async def get_session(services: Services, session_id: SessionPath) -> Envelope[SessionView]:
    """Return a session."""
    return ok(session_view(await services.coordination.sessions.get(session_id)))


@router.put("/{id}/end", dependencies=[WRITES])
async def end(services: Services, session_id: SessionPath) -> Envelope[SessionView]:
    """End a session with all that belongs to it."""
    return ok(session_view(await services.coordination.sessions.end(session_id)))


def session_view(session: Session) -> SessionView:
    """Return a session with all that is missing said."""
    return SessionView.model_validate(
        {name: getattr(session, name) for name in SessionView.model_fields}
    )
