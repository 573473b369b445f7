"""What services ask of the table of sessions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, Protocol

from perstack.domain.ids import SessionId
from perstack.domain.sessions import Session, SessionStatus


class SessionStore(Protocol):
    """Sessions, shared by all processes."""

    async def add(self, session: Session) -> None:
        """Write a new session.

        Raises:
            ConflictError: one with that id exists.
        """
        ...

    async def find(self, session_id: SessionId) -> Session | None:
        """Return it, or None."""
        ...

    async def active(self) -> Session | None:
        """Return the active session that was started last, None without one."""
        ...

    async def list(
        self, *, status: SessionStatus | None = None, limit: int = 100, offset: int = 0
    ) -> Sequence[Session]:
        """Return sessions, the last started first."""
        ...

    async def count(self, *, status: SessionStatus | None = None) -> int:
        """Return how many there are."""
        ...

    async def end(
        self, session_id: SessionId, *, now_ms: int, status: Literal["ended", "error"] = "ended"
    ) -> bool:
        """End an active session; False when there is none. One caller alone ends it."""
        ...
