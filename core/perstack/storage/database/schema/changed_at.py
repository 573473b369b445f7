"""Finding what changed since a moment, however much there is."""

from __future__ import annotations

from typing import Final

import sqlalchemy as sa

from perstack.storage.database.schema.dialect import execute

_STATEMENTS: Final = (
    "CREATE INDEX tasks_started ON tasks (started_at)",
    "CREATE INDEX tasks_completed ON tasks (completed_at)",
    "CREATE INDEX sessions_ended ON sessions (ended_at)",
    "CREATE INDEX project_tasks_changed ON project_tasks (updated_at)",
    "CREATE INDEX specifications_changed ON specifications (updated_at)",
)


def create(connection: sa.Connection) -> None:
    """Add them."""
    execute(connection, _STATEMENTS)
