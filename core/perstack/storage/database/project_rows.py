"""Projects, their tasks and specifications as rows and back."""

from __future__ import annotations

import json
from typing import Final, TypeVar

import sqlalchemy as sa
from pydantic import ValidationError

from perstack.domain.base import Model
from perstack.errors import CorruptRecordError
from perstack.storage.database.text import json_text, safe_text

M = TypeVar("M", bound=Model)
Row = dict[str, str | int | None]

_METADATA: Final = sa.MetaData()
_JSON: Final = ("metadata", "assigned_agents", "task_ids", "consensus_ids", "comments")

PROJECTS: Final = sa.Table(
    "projects",
    _METADATA,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("name", sa.Text),
    sa.Column("path", sa.Text),
    sa.Column("description", sa.Text),
    sa.Column("status", sa.Text),
    sa.Column("created_at", sa.BigInteger),
    sa.Column("updated_at", sa.BigInteger),
    sa.Column("metadata", sa.Text),
)

TASKS: Final = sa.Table(
    "project_tasks",
    _METADATA,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("project_id", sa.Text),
    sa.Column("session_id", sa.Text),
    sa.Column("title", sa.Text),
    sa.Column("description", sa.Text),
    sa.Column("phase", sa.Text),
    sa.Column("priority", sa.Integer),
    sa.Column("assigned_agents", sa.Text),
    sa.Column("task_ids", sa.Text),
    sa.Column("consensus_ids", sa.Text),
    sa.Column("created_at", sa.BigInteger),
    sa.Column("updated_at", sa.BigInteger),
    sa.Column("completed_at", sa.BigInteger),
)

SPECIFICATIONS: Final = sa.Table(
    "specifications",
    _METADATA,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("project_task_id", sa.Text),
    sa.Column("type", sa.Text),
    sa.Column("title", sa.Text),
    sa.Column("content", sa.Text),
    sa.Column("version", sa.Integer),
    sa.Column("status", sa.Text),
    sa.Column("created_by", sa.Text),
    sa.Column("reviewed_by", sa.Text),
    sa.Column("created_at", sa.BigInteger),
    sa.Column("updated_at", sa.BigInteger),
    sa.Column("approved_at", sa.BigInteger),
    sa.Column("comments", sa.Text),
)


def to_row(value: Model) -> Row:
    """Return the column values of a project, a task of one, or a specification."""
    return {name: _column(one) for name, one in value.model_dump(by_alias=False).items()}


def _column(value: object) -> str | int | None:
    if isinstance(value, str):
        return safe_text(value)
    if isinstance(value, int) or value is None:
        return value
    return json_text(value)


def from_row(kind: type[M], row: sa.RowMapping) -> M:
    """Return what a row holds.

    Raises:
        CorruptRecordError: the row holds something else.
    """
    values = {str(name): value for name, value in row.items()}
    try:
        for name in _JSON:
            if name in values:
                values[name] = json.loads(str(values[name]))
        return kind.model_validate(values)
    except (ValueError, ValidationError) as error:
        raise CorruptRecordError(
            f"the stored {kind.__name__.lower()} {str(row['id'])[:40]!a} is damaged"
        ) from error
