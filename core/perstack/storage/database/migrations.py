"""The schema's versions, oldest first. A released one is never edited: a change is a new one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

import sqlalchemy as sa

from perstack.errors import CorruptRecordError, StorageError
from perstack.storage.database.schema import (
    agents,
    changed_at,
    consensus,
    identities,
    memory,
    orders,
    plugins,
    projects,
    registry,
    resources,
    reviewing,
    reviews,
    sessions,
    standing,
    standing_skill,
    tasks,
    users,
)

Migration = Callable[[sa.Connection], None]


MIGRATIONS: Final[Sequence[Migration]] = (
    consensus.create,
    agents.create,
    sessions.create,
    identities.create,
    tasks.create,
    memory.create,
    resources.create,
    reviews.create,
    projects.create,
    plugins.create,
    reviewing.create,
    standing.create,
    orders.create,
    standing_skill.create,
    changed_at.create,
    users.create,
    registry.create,
)


def find_version(connection: sa.Connection) -> int | None:
    """Return the schema's version, None when the database holds no schema of ours."""
    if not sa.inspect(connection).has_table("schema_version"):
        return None
    found: object = connection.exec_driver_sql("SELECT max(version) FROM schema_version").scalar()
    return found if isinstance(found, int) else None


def check_version(found: int | None, place: str, migrations: Sequence[Migration]) -> int:
    """Return the version, or 0 for none.

    Raises:
        StorageError: the schema is newer than `migrations`.
        CorruptRecordError: the version is none that there ever was.
    """
    version = 0 if found is None else found
    if version > len(migrations):
        raise StorageError(
            f"{place} was written by a newer Perstack"
            f" (schema {version}; this one knows {len(migrations)})",
            hint="update Perstack, or use another workspace",
        )
    if version < 0:
        raise CorruptRecordError(f"{place} is damaged: its schema version is {version}")
    return version


def migrate(connection: sa.Connection, place: str, migrations: Sequence[Migration]) -> None:
    """Apply what is missing, in the caller's transaction."""
    version = check_version(find_version(connection), place, migrations)
    if version == 0:
        connection.exec_driver_sql("CREATE TABLE schema_version (version INTEGER NOT NULL)")
        connection.exec_driver_sql("INSERT INTO schema_version (version) VALUES (0)")
    for migration in migrations[version:]:
        migration(connection)
    connection.exec_driver_sql(f"UPDATE schema_version SET version = {len(migrations)}")  # noqa: S608
