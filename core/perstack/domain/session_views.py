"""What is told of sessions, in the seed's shapes: dump them without None values."""

from __future__ import annotations

from typing import Literal

from perstack.domain.base import Model
from perstack.domain.ids import SessionId
from perstack.domain.sessions import Session, SessionReport


class SessionStarted(Model):
    """A session that was begun."""

    success: Literal[True] = True
    session: Session


class SessionEnded(Model):
    """That a session has ended."""

    success: Literal[True] = True
    message: Literal["Session ended"] = "Session ended"
    session_id: SessionId


class SessionFound(Model):
    """A session that was looked for."""

    found: Literal[True] = True
    session: SessionReport


class ActiveSession(Model):
    """The session that is active, of several the one that was begun last; or that there is none."""

    active: bool
    session: Session | None = None
    message: str | None = None


def active_session(session: Session | None) -> ActiveSession:
    """Return a session as the seed's `session_active` answers it."""
    if session is None:
        return ActiveSession(active=False, message="No active session")
    return ActiveSession(active=True, session=session)
