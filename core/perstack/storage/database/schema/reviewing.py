"""What consensus needs beside its first version.

A checkpoint that no run waits at has an empty `job_id` and `run_id`: the first version made both
NOT NULL, and SQLite cannot take that back.
"""

from __future__ import annotations

from typing import Final

import sqlalchemy as sa

from perstack.storage.database.schema.dialect import execute

_STATEMENTS: Final = (
    "ALTER TABLE consensus_checkpoints ADD COLUMN session_id TEXT",
    "ALTER TABLE consensus_checkpoints ADD COLUMN review TEXT",
    # Who reviews now, and until when (Unix ms) that counts without being renewed.
    "ALTER TABLE consensus_checkpoints ADD COLUMN review_holder TEXT",
    "ALTER TABLE consensus_checkpoints ADD COLUMN review_until BIGINT",
    "CREATE INDEX consensus_checkpoints_expiry ON consensus_checkpoints (status, expires_at)",
)


def create(connection: sa.Connection) -> None:
    """Add them."""
    execute(connection, _STATEMENTS)
