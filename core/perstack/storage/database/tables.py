"""The tables as statements see them; `migrations` makes them."""

from __future__ import annotations

from typing import Final

import sqlalchemy as sa

_METADATA: Final = sa.MetaData()

CHECKPOINTS: Final = sa.Table(
    "consensus_checkpoints",
    _METADATA,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("job_id", sa.Text),
    sa.Column("run_id", sa.Text),
    sa.Column("expert_key", sa.Text),
    sa.Column("task_id", sa.Text),
    sa.Column("parent_task_id", sa.Text),
    sa.Column("depth", sa.Integer),
    sa.Column("reason", sa.Text),
    sa.Column("proposed_subtasks", sa.Text),
    sa.Column("risk_level", sa.Text),
    sa.Column("status", sa.Text),
    sa.Column("reviewer_strategy", sa.Text),
    sa.Column("decision", sa.Text),
    sa.Column("created_at", sa.BigInteger),
    sa.Column("expires_at", sa.BigInteger),
    sa.Column("decided_at", sa.BigInteger),
    sa.Column("session_id", sa.Text),
    sa.Column("review", sa.Text),
    sa.Column("review_holder", sa.Text),
    sa.Column("review_until", sa.BigInteger),
)

AUDIT: Final = sa.Table(
    "consensus_audit",
    _METADATA,
    sa.Column("id", sa.BigInteger, primary_key=True),
    sa.Column("checkpoint_id", sa.Text),
    sa.Column("event", sa.Text),
    sa.Column("actor", sa.Text),
    sa.Column("actor_type", sa.Text),
    sa.Column("details", sa.Text),
    sa.Column("created_at", sa.BigInteger),
)

STANDING: Final = sa.Table(
    "standing_approvals",
    _METADATA,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("job_id", sa.Text),
    sa.Column("expert_key", sa.Text),
    sa.Column("skill_name", sa.Text),
    sa.Column("skill_digest", sa.Text),
    sa.Column("tool_name", sa.Text),
    sa.Column("arguments", sa.Text),
    sa.Column("consensus_id", sa.Text),
    sa.Column("approved_by", sa.Text),
    sa.Column("approved_at", sa.BigInteger),
    sa.Column("revoked_by", sa.Text),
    sa.Column("revoked_at", sa.BigInteger),
)
