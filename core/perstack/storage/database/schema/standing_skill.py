"""Whose call a standing approval is of, and of a skill that is defined how.

What was given before says neither, and so covers nothing any more.
"""

from __future__ import annotations

from typing import Final

import sqlalchemy as sa

from perstack.storage.database.schema.dialect import execute

_STATEMENTS: Final = (
    "ALTER TABLE standing_approvals ADD COLUMN expert_key TEXT NOT NULL DEFAULT ''",
    "ALTER TABLE standing_approvals ADD COLUMN skill_digest TEXT NOT NULL DEFAULT ''",
)


def create(connection: sa.Connection) -> None:
    """Add them."""
    execute(connection, _STATEMENTS)
