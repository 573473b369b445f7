"""Sessions: stretches of work that agents, tasks and memory can belong to."""

from __future__ import annotations

from typing import Final, Literal

from pydantic import Field, JsonValue

from perstack.domain.base import Model
from perstack.domain.ids import SessionId
from perstack.domain.moments import Moment
from perstack.domain.tasks import TaskCounts

SessionStatus = Literal["active", "ended", "error"]

SESSION_STATUSES: Final[tuple[SessionStatus, ...]] = ("active", "ended", "error")


class Session(Model):
    """One session. Any number may be active at a time; "error" is one that was broken off."""

    id: SessionId
    status: SessionStatus = "active"
    started_at: Moment
    ended_at: Moment | None = Field(default=None, exclude_if=lambda value: value is None)
    metadata: dict[str, JsonValue] | None = None


class SessionReport(Session):
    """A session with how many tasks it has, by status."""

    tasks: TaskCounts


def memory_namespace(session_id: str) -> str:
    """Return the namespace of memory that is the session's own."""
    return f"session:{session_id}"
