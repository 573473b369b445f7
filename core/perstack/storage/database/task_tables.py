"""The tables of tasks as statements see them; `schema.tasks` makes them."""

from __future__ import annotations

from typing import Final

import sqlalchemy as sa

_METADATA: Final = sa.MetaData()


def _texts(*names: str) -> list[sa.Column[str]]:
    return [sa.Column(name, sa.Text) for name in names]


def _numbers(*names: str) -> list[sa.Column[int]]:
    return [sa.Column(name, sa.BigInteger) for name in names]


TASKS: Final = sa.Table(
    "tasks",
    _METADATA,
    sa.Column("number", sa.BigInteger, primary_key=True),
    *_texts("id", "agent_type", "status", "input", "output", "session_id", "parent_task_id"),
    *_texts("risk_level", "consensus_checkpoint_id", "job_id", "run_id", "agent_id", "feedback"),
    *_numbers("depth", "priority", "attempts", "created_at", "started_at", "completed_at"),
)

QUEUE: Final = sa.Table(
    "task_queue",
    _METADATA,
    sa.Column("number", sa.BigInteger, primary_key=True),
    *_texts("task_id", "agent_type", "state", "claimed_by"),
    *_numbers("priority", "enqueued_at", "claimed_at"),
)

RELATIONSHIPS: Final = sa.Table(
    "task_relationships",
    _METADATA,
    sa.Column("number", sa.BigInteger, primary_key=True),
    *_texts("id", "from_task_id", "to_task_id", "relationship_type", "metadata"),
    *_numbers("created_at"),
)

EMBEDDINGS: Final = sa.Table(
    "task_embeddings",
    _METADATA,
    sa.Column("task_id", sa.Text, primary_key=True),
    *_texts("state", "model"),
    sa.Column("embedding", sa.LargeBinary),
    *_numbers("dimensions", "created_at"),
)

DRIFT_EVENTS: Final = sa.Table(
    "drift_detection_events",
    _METADATA,
    sa.Column("number", sa.BigInteger, primary_key=True),
    *_texts("id", "task_id", "task_type", "ancestor_task_id", "action_taken", "verdict"),
    *_texts("reason", "task_input"),
    sa.Column("similarity_score", sa.Double),
    sa.Column("threshold", sa.Double),
    *_numbers("created_at"),
)
