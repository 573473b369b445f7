"""The verbs of sessions: the seed's four."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, JsonValue

from perstack.domain.ids import SessionId
from perstack.domain.session_views import (
    ActiveSession,
    SessionEnded,
    SessionFound,
    SessionStarted,
    active_session,
)
from perstack.serving.verbs.verb import MOST_ID, Asked, Call, Nothing, Verb


class StartSession(Asked):
    """A new session."""

    metadata: dict[str, JsonValue] | None = None
    """Optional metadata, at most 64 KiB"""


class WhichSession(Asked):
    """A session."""

    session_id: Annotated[SessionId | None, Field(min_length=1, max_length=MOST_ID)] = None
    """Session ID; without one it is the active session that was begun last"""


async def start(call: Call, asked: StartSession) -> SessionStarted:
    """Begin one; others stay active."""
    return SessionStarted(session=await call.coordination.sessions.start(asked.metadata))


async def end(call: Call, asked: WhichSession) -> SessionEnded:
    """End one, with its agents and its memory."""
    ended = await call.coordination.sessions.end(asked.session_id)
    return SessionEnded(session_id=ended.id)


async def status(call: Call, asked: WhichSession) -> SessionFound:
    """Return one with how many tasks it has."""
    return SessionFound(session=await call.coordination.sessions.status(asked.session_id))


async def active(call: Call, _: Nothing) -> ActiveSession:
    """Return the active one."""
    return active_session(await call.coordination.sessions.active())


SESSION_VERBS = (
    Verb(
        "session_start",
        "Create a new session. Agents, tasks and memory can belong to it.",
        StartSession,
        SessionStarted,
        start,
        effect="writes",
        fails_as="success",
    ),
    Verb(
        "session_end",
        "End a session. Its agents are stopped and its own memory is deleted.",
        WhichSession,
        SessionEnded,
        end,
        effect="destroys",
        fails_as="success",
    ),
    Verb(
        "session_status",
        "Get session info, with how many tasks it has by status.",
        WhichSession,
        SessionFound,
        status,
        fails_as="found",
    ),
    Verb("session_active", "Get current active session.", Nothing, ActiveSession, active),
)
