"""The schema's versions, oldest first. A released one is never edited: a change is a new one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

import sqlalchemy as sa

from perstack.errors import CorruptRecordError, StorageError

Migration = Callable[[sa.Connection], None]


def _consensus(connection: sa.Connection) -> None:
    number = (
        "INTEGER PRIMARY KEY AUTOINCREMENT"
        if connection.dialect.name == "sqlite"
        else "BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY"
    )
    for statement in _CONSENSUS:
        connection.exec_driver_sql(statement.replace("%NUMBER%", number))


_CONSENSUS: Final = (
    """
    CREATE TABLE consensus_checkpoints (
        id TEXT PRIMARY KEY,
        job_id TEXT NOT NULL,
        run_id TEXT NOT NULL,
        expert_key TEXT NOT NULL,
        task_id TEXT NOT NULL,
        parent_task_id TEXT,
        depth INTEGER NOT NULL,
        reason TEXT NOT NULL,
        proposed_subtasks TEXT NOT NULL,
        risk_level TEXT NOT NULL CHECK (risk_level IN ('low', 'medium', 'high')),
        status TEXT NOT NULL CHECK (status IN ('pending', 'approved', 'rejected', 'expired')),
        reviewer_strategy TEXT NOT NULL,
        decision TEXT,
        created_at BIGINT NOT NULL,
        expires_at BIGINT,
        decided_at BIGINT
    )
    """,
    "CREATE INDEX consensus_checkpoints_status ON consensus_checkpoints (status, created_at)",
    "CREATE INDEX consensus_checkpoints_run ON consensus_checkpoints (run_id, created_at)",
    """
    CREATE TABLE consensus_audit (
        id %NUMBER%,
        checkpoint_id TEXT NOT NULL REFERENCES consensus_checkpoints (id),
        event TEXT NOT NULL,
        actor TEXT NOT NULL,
        actor_type TEXT NOT NULL,
        details TEXT NOT NULL,
        created_at BIGINT NOT NULL
    )
    """,
    "CREATE INDEX consensus_audit_checkpoint ON consensus_audit (checkpoint_id, id)",
)

MIGRATIONS: Final[Sequence[Migration]] = (_consensus,)


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
