"""Identities in the database: a change of status is one conditional update, audited with it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial

import sqlalchemy as sa

from perstack.domain.identities import (
    Identity,
    IdentityAuditEntry,
    IdentityStatus,
    IdentityUpdate,
    illegal_move,
    moved,
    updated,
)
from perstack.domain.ids import IdentityId
from perstack.errors import ConflictError, NotFoundError
from perstack.ports.identities import Deed
from perstack.ports.system import Ids
from perstack.storage.database import identity_rows as rows
from perstack.storage.database.agent_rows import AGENTS, is_live
from perstack.storage.database.engine import Database
from perstack.storage.database.identity_rows import IDENTITIES, IDENTITY_AUDIT
from perstack.storage.database.text import safe_text

NewId = Callable[[], str]


class SqlIdentityStore:
    """Implements `ports.identities.IdentityStore` over a handle that others share."""

    def __init__(self, database: Database, *, ids: Ids) -> None:
        self._database = database
        self._new_id = ids.new

    async def create(self, identity: Identity, *, actor_id: str | None = None) -> None:
        """Write a new identity with its first audit entries."""
        await self._database.write(
            partial(insert, identity=identity, actor_id=actor_id, new_id=self._new_id)
        )

    async def find(self, identity_id: IdentityId) -> Identity | None:
        """Return it, or None."""
        return await self._database.read(partial(find, identity_id=identity_id))

    async def find_by_display_name(self, display_name: str) -> Identity | None:
        """Return the identity of exactly that name, a living one first."""
        query = (
            sa.select(IDENTITIES)
            .where(IDENTITIES.c.display_name == safe_text(display_name))
            .order_by(
                (IDENTITIES.c.status == "retired").asc(),
                IDENTITIES.c.retired_at.desc(),
                IDENTITIES.c.number.desc(),
            )
            .limit(1)
        )
        found = await self._database.read(partial(_all, query=query))
        return found[0] if found else None

    async def list(
        self,
        *,
        status: IdentityStatus | None = None,
        agent_type: str | None = None,
        limit: int | None = None,
        offset: int = 0,
    ) -> Sequence[Identity]:
        """Return identities, the last active first."""
        query = sa.select(IDENTITIES)
        if status is not None:
            query = query.where(IDENTITIES.c.status == status)
        if agent_type is not None:
            query = query.where(IDENTITIES.c.agent_type == safe_text(agent_type))
        query = query.order_by(IDENTITIES.c.last_active_at.desc(), IDENTITIES.c.number.desc())
        # SQLite knows no OFFSET without a LIMIT; SQLAlchemy writes one that means all.
        return await self._database.read(partial(_all, query=query.limit(limit).offset(offset)))

    async def update(self, identity_id: IdentityId, change: IdentityUpdate, deed: Deed) -> Identity:
        """Change what is given."""
        return await self._database.write(
            partial(_update, identity_id=identity_id, change=change, deed=deed, new_id=self._new_id)
        )

    async def move(self, identity_id: IdentityId, to: IdentityStatus, deed: Deed) -> Identity:
        """Change its status, if that is legal now."""
        return await self._database.write(
            partial(_move, identity_id=identity_id, to=to, deed=deed, new_id=self._new_id)
        )

    async def release(self, identity_id: IdentityId, deed: Deed) -> bool:
        """Make an active identity dormant if no live agent carries it; say whether it was."""
        return await self._database.write(
            partial(_release, identity_id=identity_id, deed=deed, new_id=self._new_id)
        )

    async def record_spawn(self, identity_id: IdentityId, spawn_id: str, deed: Deed) -> Identity:
        """Note that an agent carries it."""

        def work(connection: sa.Connection) -> Identity:
            identity = get(connection, identity_id)
            if identity.status == "retired":
                raise ConflictError(f"Cannot spawn with retired identity: {identity_id}")
            return note_spawn(connection, identity, spawn_id, deed, self._new_id)

        return await self._database.write(work)

    async def touch(self, identity_id: IdentityId, *, now_ms: int) -> bool:
        """Move `last_active_at`; False if there is none or it is retired."""
        update = (
            IDENTITIES.update()
            .where(IDENTITIES.c.agent_id == safe_text(identity_id))
            .where(IDENTITIES.c.status != "retired")
            .values(last_active_at=_later(now_ms))
        )
        return await self._database.write(lambda c: c.execute(update).rowcount == 1)

    async def audit(
        self, identity_id: IdentityId, *, limit: int = 100
    ) -> Sequence[IdentityAuditEntry]:
        """Return what happened to it, newest first."""
        query = (
            sa.select(IDENTITY_AUDIT)
            .where(IDENTITY_AUDIT.c.agent_id == safe_text(identity_id))
            .order_by(IDENTITY_AUDIT.c.number.desc())
            .limit(limit)
        )
        return await self._database.read(
            lambda c: [rows.to_entry(row) for row in c.execute(query).mappings()]
        )


def insert(
    connection: sa.Connection, *, identity: Identity, actor_id: str | None, new_id: NewId
) -> None:
    """Write a new identity with its first audit entries.

    Raises:
        ConflictError: an identity that is not retired has its display name.
    """
    if identity.display_name is not None:
        refuse_taken(connection, identity.display_name)
    connection.execute(IDENTITIES.insert().values(rows.to_row(identity)))
    born: IdentityStatus = "active" if identity.status == "active" else "created"
    deed = Deed(at=identity.created_at, actor_id=actor_id)
    metadata = {"displayName": identity.display_name, "agentType": identity.agent_type}
    entries = [
        rows.entry(new_id(), identity.agent_id, "created", deed, after=born, metadata=metadata)
    ]
    if born == "active":
        automatic = replace(deed, reason="Auto-activated on creation")
        before = identity.model_copy(update={"status": "created"})
        entries.append(rows.move_entry(new_id(), before, "active", automatic))
    connection.execute(IDENTITY_AUDIT.insert(), entries)


def find(connection: sa.Connection, identity_id: IdentityId) -> Identity | None:
    """Return an identity, which nobody else changes until the transaction ends if it writes."""
    query = sa.select(IDENTITIES).where(IDENTITIES.c.agent_id == safe_text(identity_id))
    found = _all(connection, query=query)
    return found[0] if found else None


def get(connection: sa.Connection, identity_id: IdentityId) -> Identity:
    """Return an identity that is about to be changed: others wait for the transaction's end.

    Raises:
        NotFoundError: no such identity.
    """
    query = sa.select(IDENTITIES).where(IDENTITIES.c.agent_id == safe_text(identity_id))
    found = _all(connection, query=query.with_for_update())
    if not found:
        raise NotFoundError(f"Identity not found: {identity_id}")
    return found[0]


def display_name_taken(connection: sa.Connection, display_name: str) -> bool:
    """Tell whether an identity that is not retired has the name."""
    query = sa.select(IDENTITIES.c.number).where(
        IDENTITIES.c.display_name == safe_text(display_name), IDENTITIES.c.status != "retired"
    )
    return connection.scalar(query.limit(1)) is not None


def refuse_taken(connection: sa.Connection, display_name: str) -> None:
    """Raise if an identity that is not retired has the name; until the end nobody else takes it.

    Raises:
        ConflictError: one has.
    """
    lock_names(connection)
    if display_name_taken(connection, display_name):
        raise ConflictError(
            f"Identity with display name '{display_name}' already exists",
            hint="retire that one, or choose another name",
        )


def lock_names(connection: sa.Connection) -> None:
    """Make others wait who give out names. SQLite's writers do so anyway."""
    if connection.dialect.name != "sqlite":
        connection.exec_driver_sql("SELECT pg_advisory_xact_lock(7307812)")


def note_spawn(
    connection: sa.Connection, identity: Identity, spawn_id: str, deed: Deed, new_id: NewId
) -> Identity:
    """Write that an agent carries `identity`, and return it as it is then."""
    at = max(identity.last_active_at, deed.at)
    after = identity.model_copy(update={"last_active_at": at, "updated_at": deed.at})
    _write(connection, after)
    noted = rows.entry(new_id(), identity.agent_id, "spawned", deed, metadata={"spawnId": spawn_id})
    connection.execute(IDENTITY_AUDIT.insert().values(noted))
    return after


def _all(connection: sa.Connection, *, query: sa.Select[tuple[object, ...]]) -> Sequence[Identity]:
    return [rows.from_row(row) for row in connection.execute(query).mappings()]


def _write(connection: sa.Connection, identity: Identity) -> None:
    mine = IDENTITIES.c.agent_id == safe_text(identity.agent_id)
    connection.execute(IDENTITIES.update().where(mine).values(rows.to_row(identity)))


def _later(now_ms: int) -> sa.ColumnElement[int]:
    return sa.case(
        (IDENTITIES.c.last_active_at > now_ms, IDENTITIES.c.last_active_at), else_=now_ms
    )


def _update(
    connection: sa.Connection,
    *,
    identity_id: IdentityId,
    change: IdentityUpdate,
    deed: Deed,
    new_id: NewId,
) -> Identity:
    if change.display_name is not None:
        # Before the row, as everybody locks: who takes a name for a new agent does it like this.
        lock_names(connection)
    before = get(connection, identity_id)
    if before.status == "retired":
        raise ConflictError("Cannot update a retired identity")
    after, names = updated(before, change, at=deed.at)
    if not names:
        return before
    if after.display_name is not None and after.display_name != before.display_name:
        refuse_taken(connection, after.display_name)
    _write(connection, after)
    noted = rows.entry(new_id(), identity_id, "updated", deed, metadata={"updates": list(names)})
    connection.execute(IDENTITY_AUDIT.insert().values(noted))
    return after


def _move(
    connection: sa.Connection,
    *,
    identity_id: IdentityId,
    to: IdentityStatus,
    deed: Deed,
    new_id: NewId,
) -> Identity:
    before = get(connection, identity_id)
    if (why := illegal_move(before.status, to)) is not None:
        raise ConflictError(why)
    after = moved(before, to, reason=deed.reason, at=deed.at)
    _write(connection, after)
    connection.execute(IDENTITY_AUDIT.insert().values(rows.move_entry(new_id(), before, to, deed)))
    return after


def _release(
    connection: sa.Connection, *, identity_id: IdentityId, deed: Deed, new_id: NewId
) -> bool:
    try:
        before = get(connection, identity_id)
    except NotFoundError:
        return False
    carried = sa.select(AGENTS.c.number).where(
        AGENTS.c.identity_id == safe_text(identity_id), is_live()
    )
    if before.status != "active" or connection.scalar(carried.limit(1)) is not None:
        return False
    _write(connection, moved(before, "dormant", reason=deed.reason, at=deed.at))
    connection.execute(
        IDENTITY_AUDIT.insert().values(rows.move_entry(new_id(), before, "dormant", deed))
    )
    return True
