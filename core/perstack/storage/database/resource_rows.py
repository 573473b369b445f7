"""Resource metrics, deliverables and exhaustion events as rows, and back."""

from __future__ import annotations

import json
from typing import Final, TypeVar

import sqlalchemy as sa
from pydantic import ValidationError

from perstack.domain.base import Model
from perstack.domain.resources import Deliverable, ExhaustionEvent, ResourceMetrics
from perstack.errors import CorruptRecordError
from perstack.storage.database.text import json_text, safe_text

Row = dict[str, str | int | None]
M = TypeVar("M", bound=Model)

_METADATA: Final = sa.MetaData()
# Columns that hold JSON.
_JSON: Final = ("counted_from", "artifacts", "metrics", "thresholds")

METRICS: Final = sa.Table(
    "agent_resource_metrics",
    _METADATA,
    sa.Column("agent_id", sa.Text, primary_key=True),
    sa.Column("agent_type", sa.Text),
    sa.Column("files_read", sa.BigInteger),
    sa.Column("files_written", sa.BigInteger),
    sa.Column("files_modified", sa.BigInteger),
    sa.Column("api_calls_count", sa.BigInteger),
    sa.Column("subtasks_spawned", sa.BigInteger),
    sa.Column("tokens_consumed", sa.BigInteger),
    sa.Column("started_at", sa.BigInteger),
    sa.Column("last_deliverable_at", sa.BigInteger),
    sa.Column("last_activity_at", sa.BigInteger),
    sa.Column("phase", sa.Text),
    sa.Column("paused_at", sa.BigInteger),
    sa.Column("pause_reason", sa.Text),
    sa.Column("triggered_by", sa.Text),
    sa.Column("counted_from", sa.Text),
    sa.Column("clock_from", sa.BigInteger),
    sa.Column("idle_since", sa.BigInteger),
    sa.Column("raised", sa.Integer),
    sa.Column("run_id", sa.Text),
    sa.Column("last_seq", sa.BigInteger),
)
DELIVERABLES: Final = sa.Table(
    "agent_deliverables",
    _METADATA,
    sa.Column("number", sa.BigInteger, primary_key=True),
    sa.Column("id", sa.Text),
    sa.Column("agent_id", sa.Text),
    sa.Column("type", sa.Text),
    sa.Column("description", sa.Text),
    sa.Column("artifacts", sa.Text),
    sa.Column("created_at", sa.BigInteger),
)
EVENTS: Final = sa.Table(
    "resource_exhaustion_events",
    _METADATA,
    sa.Column("number", sa.BigInteger, primary_key=True),
    sa.Column("id", sa.Text),
    sa.Column("agent_id", sa.Text),
    sa.Column("agent_type", sa.Text),
    sa.Column("phase", sa.Text),
    sa.Column("action_taken", sa.Text),
    sa.Column("metrics", sa.Text),
    sa.Column("thresholds", sa.Text),
    sa.Column("triggered_by", sa.Text),
    sa.Column("created_at", sa.BigInteger),
)


def to_row(model: ResourceMetrics | Deliverable | ExhaustionEvent) -> Row:
    """Return the column values of one of the three."""
    row: Row = {}
    for name, value in model.model_dump(by_alias=False).items():
        if name in _JSON:
            row[name] = json_text(value)
        elif isinstance(value, str):
            row[name] = safe_text(value)
        else:
            row[name] = int(value) if isinstance(value, bool) else value
    return row


def from_row(kind: type[M], row: sa.RowMapping) -> M:
    """Return what a row holds.

    Raises:
        CorruptRecordError: it holds something else.
    """
    try:
        values = {str(name): value for name, value in row.items() if name != "number"}
        for name in _JSON:
            if name in values:
                values[name] = json.loads(str(values[name]))
        return kind.model_validate(values)
    except (ValueError, ValidationError) as error:
        raise CorruptRecordError(
            f"what is stored of the resources of agent {str(row['agent_id'])[:40]!a} is damaged"
        ) from error
