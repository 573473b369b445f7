"""A registry of Experts in the database."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, TypeVar

import sqlalchemy as sa

from perstack.ports.registry_ledger import Ledger
from perstack.storage.database.engine import Database
from perstack.storage.database.registry_keys import SqlKeyLedger
from perstack.storage.database.registry_versions import SqlVersionLedger
from perstack.storage.database.schema.dialect import is_sqlite

T = TypeVar("T")
# SQLite has one lock for all that write. Of a server's, this one is the registry's.
_LOCK: Final = 7_307_812
_SNAPSHOT: Final = "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY"


class SqlLedger(SqlKeyLedger, SqlVersionLedger):
    """Implements `ports.registry_ledger.Ledger` within a transaction."""


class SqlRegistryStore:
    """Implements `ports.registry_ledger.RegistryStore`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def look(self, work: Callable[[Ledger], T]) -> T:
        """Return what `work` found, all of it at one moment."""

        def at_one_moment(connection: sa.Connection) -> T:
            if not is_sqlite(connection):
                connection.exec_driver_sql(_SNAPSHOT)
            return work(SqlLedger(connection))

        return await self._database.read(at_one_moment)

    async def change(self, work: Callable[[Ledger], T]) -> T:
        """Do `work` while nobody else writes."""

        def alone(connection: sa.Connection) -> T:
            if not is_sqlite(connection):
                connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_LOCK})")
            return work(SqlLedger(connection))

        return await self._database.write(alone)
