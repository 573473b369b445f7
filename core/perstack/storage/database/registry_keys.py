"""Organisations and their API keys, within one transaction."""

from __future__ import annotations

from collections.abc import Sequence

import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError

from perstack.domain.registry_hosting import ApiKey, Organisation
from perstack.errors import ConflictError
from perstack.storage.database.registry_tables import (
    KEYS,
    NAMES,
    ORGANISATIONS,
    key_of,
    organisation_of,
)
from perstack.storage.database.text import safe_text


class SqlKeyLedger:
    """The part of `ports.registry_ledger.Ledger` that says who asks."""

    def __init__(self, connection: sa.Connection) -> None:
        self._connection = connection

    def organisation(self, organisation_id: str) -> Organisation | None:
        """Return it."""
        return self._organisation(ORGANISATIONS.c.id == safe_text(organisation_id))

    def organisations(self) -> Sequence[Organisation]:
        """Return all, the oldest first."""
        query = sa.select(ORGANISATIONS).order_by(ORGANISATIONS.c.number)
        return [organisation_of(row) for row in self._connection.execute(query).mappings()]

    def add_organisation(self, organisation: Organisation) -> None:
        """Write a new one."""
        insert = ORGANISATIONS.insert().values(organisation.model_dump(by_alias=False))
        self._insert(insert, f"there is an organisation {organisation.name!a}")

    def key(self, digest: str) -> ApiKey | None:
        """Return the key that has this SHA-256."""
        query = sa.select(KEYS).where(KEYS.c.digest == digest)
        row = self._connection.execute(query).mappings().one_or_none()
        return None if row is None else key_of(row)

    def keys(self) -> Sequence[ApiKey]:
        """Return all, the oldest first."""
        query = sa.select(KEYS).order_by(KEYS.c.number)
        return [key_of(row) for row in self._connection.execute(query).mappings()]

    def add_key(self, key: ApiKey, digest: str) -> None:
        """Write a new one."""
        values = {**key.model_dump(by_alias=False), "scopes": ",".join(key.scopes)}
        self._insert(KEYS.insert().values(digest=digest, **values), "there is a key like that")

    def revoke(self, prefix: str, *, now_ms: int) -> ApiKey | None:
        """Let a key be worth nothing any more."""
        of_prefix = KEYS.c.prefix == safe_text(prefix)
        change = KEYS.update().where(of_prefix, KEYS.c.revoked_at.is_(None))
        self._connection.execute(change.values(revoked_at=now_ms))
        row = self._connection.execute(sa.select(KEYS).where(of_prefix)).mappings().one_or_none()
        return None if row is None else key_of(row)

    def note_use(self, prefix: str, *, now_ms: int) -> None:
        """Write when a key was last used."""
        change = KEYS.update().where(KEYS.c.prefix == prefix).values(last_used_at=now_ms)
        self._connection.execute(change)

    def owner(self, name: str) -> Organisation | None:
        """Return whose name it is."""
        of_name = sa.select(NAMES.c.organisation_id).where(NAMES.c.name == safe_text(name))
        return self._organisation(ORGANISATIONS.c.id == of_name.scalar_subquery())

    def take_name(self, name: str, organisation_id: str) -> None:
        """Write whose name it is."""
        insert = NAMES.insert().values(name=name, organisation_id=organisation_id)
        self._insert(insert, f"the name {name} is taken")

    def _organisation(self, where: sa.ColumnElement[bool]) -> Organisation | None:
        query = sa.select(ORGANISATIONS).where(where)
        row = self._connection.execute(query).mappings().one_or_none()
        return None if row is None else organisation_of(row)

    def _insert(self, insert: sa.Insert, taken: str) -> None:
        try:
            self._connection.execute(insert)
        except IntegrityError as error:
            raise ConflictError(taken) from error
