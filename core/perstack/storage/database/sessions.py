"""Sessions in the database: the end of one is one conditional update."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Final, Literal

import sqlalchemy as sa
from pydantic import ValidationError

from perstack.domain.ids import SessionId
from perstack.domain.sessions import Session, SessionStatus
from perstack.errors import ConflictError, CorruptRecordError
from perstack.storage.database.engine import Database
from perstack.storage.database.text import json_text, safe_text

SESSIONS: Final = sa.Table(
    "sessions",
    sa.MetaData(),
    sa.Column("number", sa.BigInteger, primary_key=True),
    sa.Column("id", sa.Text),
    sa.Column("status", sa.Text),
    sa.Column("started_at", sa.BigInteger),
    sa.Column("ended_at", sa.BigInteger),
    sa.Column("metadata", sa.Text),
)
_NEWEST: Final = (SESSIONS.c.started_at.desc(), SESSIONS.c.number.desc())


class SqlSessionStore:
    """Implements `ports.sessions.SessionStore` over a handle that others share."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def add(self, session: Session) -> None:
        """Write a new session."""

        def work(connection: sa.Connection) -> None:
            if _find(connection, session.id) is not None:
                raise ConflictError(f"session {session.id[:40]!a} exists")
            connection.execute(SESSIONS.insert().values(_to_row(session)))

        await self._database.write(work)

    async def find(self, session_id: SessionId) -> Session | None:
        """Return it, or None."""
        return await self._database.read(lambda connection: _find(connection, session_id))

    async def active(self) -> Session | None:
        """Return the active session that was started last."""
        found = await self.list(status="active", limit=1)
        return found[0] if found else None

    async def list(
        self, *, status: SessionStatus | None = None, limit: int = 100, offset: int = 0
    ) -> Sequence[Session]:
        """Return sessions, the last started first."""
        query = sa.select(SESSIONS).order_by(*_NEWEST).limit(limit).offset(offset)
        if status is not None:
            query = query.where(SESSIONS.c.status == status)
        return await self._database.read(
            lambda connection: [_from_row(row) for row in connection.execute(query).mappings()]
        )

    async def count(self, *, status: SessionStatus | None = None) -> int:
        """Return how many there are."""
        query = sa.select(sa.func.count()).select_from(SESSIONS)
        if status is not None:
            query = query.where(SESSIONS.c.status == status)
        return await self._database.read(lambda connection: connection.scalar(query) or 0)

    async def end(
        self, session_id: SessionId, *, now_ms: int, status: Literal["ended", "error"] = "ended"
    ) -> bool:
        """End an active session; say whether this call did."""
        update = (
            SESSIONS.update()
            .where(SESSIONS.c.id == safe_text(session_id), SESSIONS.c.status == "active")
            .values(status=status, ended_at=now_ms)
        )
        return await self._database.write(
            lambda connection: connection.execute(update).rowcount == 1
        )


def _find(connection: sa.Connection, session_id: str) -> Session | None:
    query = sa.select(SESSIONS).where(SESSIONS.c.id == safe_text(session_id))
    row = connection.execute(query).mappings().one_or_none()
    return None if row is None else _from_row(row)


def _to_row(session: Session) -> dict[str, str | int | None]:
    return {
        "id": safe_text(session.id),
        "status": session.status,
        "started_at": session.started_at,
        "ended_at": session.ended_at,
        "metadata": None if session.metadata is None else json_text(session.metadata),
    }


def _from_row(row: sa.RowMapping) -> Session:
    try:
        values = {str(name): value for name, value in row.items() if name != "number"}
        values["metadata"] = json.loads(str(row["metadata"])) if row["metadata"] else None
        return Session.model_validate(values)
    except (ValueError, ValidationError) as error:
        raise CorruptRecordError(
            f"the stored session {str(row['id'])[:40]!a} is damaged"
        ) from error
