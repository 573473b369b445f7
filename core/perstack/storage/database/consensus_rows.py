"""Consensus checkpoints as rows and back, and what a decision makes of one."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Final

from pydantic import JsonValue, TypeAdapter, ValidationError
from sqlalchemy import RowMapping

from perstack.domain.consensus import SYSTEM, ConsensusCheckpoint, Decision, Review
from perstack.domain.ids import ConsensusId
from perstack.errors import ConflictError, CorruptRecordError, UsageError
from perstack.ports.consensus import AuditEntry, AuditEvent
from perstack.storage.database.text import json_text, safe_text

Row = dict[str, str | int | None]

EXPIRED_FEEDBACK: Final = "Nobody decided in time."
_ENTRY: Final = TypeAdapter(AuditEntry)
# Columns that hold an empty text where nothing waits, since they may not be null.
_OF_THE_RUN: Final = ("job_id", "run_id")
# Columns that no checkpoint has.
_OF_THE_CLAIM: Final = ("review_holder", "review_until")


def to_row(checkpoint: ConsensusCheckpoint) -> Row:
    """Return the column values of a checkpoint."""
    row: Row = {
        name: safe_text(value) if isinstance(value, str) else value
        for name, value in checkpoint.model_dump(
            exclude={"proposed_subtasks", "decision", "review"}, by_alias=False
        ).items()
    }
    row |= {name: row[name] or "" for name in _OF_THE_RUN}
    row["proposed_subtasks"] = json_text(
        [one.model_dump(exclude_none=True) for one in checkpoint.proposed_subtasks]
    )
    row["decision"] = _decision_json(checkpoint.decision)
    return row


def outcome(checkpoint: ConsensusCheckpoint) -> Row:
    """Return the column values that a decision or an expiry sets."""
    return {
        "status": checkpoint.status,
        "decision": _decision_json(checkpoint.decision),
        "decided_at": checkpoint.decided_at,
    }


def from_row(row: RowMapping) -> ConsensusCheckpoint:
    """Return the checkpoint that a row holds.

    Raises:
        CorruptRecordError: the row holds something else.
    """
    try:
        values = {str(name): value for name, value in row.items() if name not in _OF_THE_CLAIM}
        values |= {name: row[name] or None for name in _OF_THE_RUN}
        values["proposed_subtasks"] = json.loads(str(row["proposed_subtasks"]))
        for name in ("decision", "review"):
            values[name] = json.loads(str(row[name])) if row[name] else None
        return ConsensusCheckpoint.model_validate(values)
    except (ValueError, ValidationError) as error:
        raise CorruptRecordError(
            f"the stored consensus checkpoint {str(row['id'])[:40]!a} is damaged"
        ) from error


def same_question(one: ConsensusCheckpoint, other: ConsensusCheckpoint) -> bool:
    """Say whether both ask the same run for the same subtasks."""
    return (one.run_id, one.proposed_subtasks) == (other.run_id, other.proposed_subtasks)


def decided(asked: ConsensusCheckpoint, decision: Decision, *, now: int) -> ConsensusCheckpoint:
    """Return `asked` as it is once `decision` was taken.

    Raises:
        UsageError: it names unknown subtasks, or approves while rejecting all.
    """
    known = [subtask.id for subtask in asked.proposed_subtasks]
    unknown = [one for one in decision.rejected_subtask_ids if one not in known]
    if unknown:
        raise UsageError(
            f"consensus checkpoint {asked.id} has no subtask {unknown[0][:40]!a}",
            hint=f"its subtasks are: {', '.join(known)}",
        )
    if decision.approved and set(known) <= set(decision.rejected_subtask_ids):
        raise UsageError(
            "nothing would be kept: every subtask is rejected",
            hint=f"perstack consensus reject {asked.id}",
        )
    rejected = tuple(dict.fromkeys(decision.rejected_subtask_ids))
    return asked.model_copy(
        update={
            "status": "approved" if decision.approved else "rejected",
            "decision": decision.model_copy(update={"rejected_subtask_ids": rejected}),
            "decided_at": now,
        }
    )


def expired(due: ConsensusCheckpoint, *, now: int, auto_reject: bool) -> ConsensusCheckpoint:
    """Return `due` as it is once its time was over."""
    if not auto_reject:
        return due.model_copy(update={"status": "expired", "decided_at": now})
    decision = Decision(
        approved=False, feedback=EXPIRED_FEEDBACK, reviewed_by=SYSTEM, reviewer_type="agent"
    )
    return due.model_copy(update={"status": "rejected", "decision": decision, "decided_at": now})


def too_late(found: ConsensusCheckpoint, *, now: int) -> ConflictError:
    """Return the error for whoever was not first."""
    if found.status == "pending":
        since = found.expires_at
    elif found.status == "expired":
        since = found.expires_at or found.decided_at
    else:
        since = found.decided_at
    ago = _ago(now - (now if since is None else since))
    if found.status in ("pending", "expired"):
        return ConflictError(f"consensus checkpoint {found.id} expired {ago}")
    by = found.decision.reviewed_by if found.decision else "somebody"
    return ConflictError(
        f"consensus checkpoint {found.id} was already {found.status} by {by}, {ago}"
    )


def _ago(elapsed_ms: int) -> str:
    seconds = max(elapsed_ms, 0) // 1000
    for size, unit in ((86_400, "d"), (3_600, "h"), (60, "min")):
        if seconds >= size:
            return f"{seconds // size} {unit} ago"
    return f"{seconds} s ago"


def created(checkpoint: ConsensusCheckpoint) -> Row:
    """Return the audit row of a new checkpoint."""
    details: dict[str, JsonValue] = {
        "riskLevel": checkpoint.risk_level,
        "subtaskCount": len(checkpoint.proposed_subtasks),
    }
    return _entry(
        checkpoint, "created", checkpoint.expert_key, "agent", details, checkpoint.created_at
    )


def decision_entries(decided: ConsensusCheckpoint) -> list[Row]:
    """Return the audit rows of a decision: each rejected part of an approval, then the whole."""
    decision = decided.decision
    if decision is None or decided.decided_at is None:
        return []
    by, kind, at = decision.reviewed_by, decision.reviewer_type, decided.decided_at
    parts = decision.rejected_subtask_ids if decision.approved else ()
    return [
        *(_entry(decided, "subtask_rejected", by, kind, {"subtaskId": one}, at) for one in parts),
        _entry(
            decided,
            "approved" if decision.approved else "rejected",
            by,
            kind,
            {"feedback": decision.feedback},
            at,
        ),
    ]


def expiry_entries(expired: ConsensusCheckpoint) -> list[Row]:
    """Return the audit rows of an expiry; with automatic rejection that follows it."""
    at = expired.decided_at or 0
    entries = [_entry(expired, "expired", "system", "system", {}, at)]
    if expired.status == "rejected":
        details: dict[str, JsonValue] = {"feedback": EXPIRED_FEEDBACK}
        entries.append(_entry(expired, "rejected", "system", "system", details, at))
    return entries


def review_started(
    checkpoint: ConsensusCheckpoint, reviewer: str, *, model: str | None, at: int
) -> Row:
    """Return the audit row of a review that begins."""
    details: dict[str, JsonValue] = {"strategy": checkpoint.reviewer_strategy, "model": model}
    return _entry(checkpoint, "review_started", reviewer, "agent", details, at)


def reviewed(checkpoint: ConsensusCheckpoint, review: Review) -> Row:
    """Return the audit row of a review's end."""
    details: dict[str, JsonValue] = {"error": review.error}
    if review.verdict is not None:
        details = review.verdict.model_dump(mode="json") | {"structured": review.structured}
    return _entry(checkpoint, "reviewed", review.reviewer, "agent", details, review.finished_at)


def to_entry(row: RowMapping) -> AuditEntry:
    """Return what an audit row says.

    Raises:
        CorruptRecordError: the row holds something else.
    """
    try:
        return _ENTRY.validate_python(
            {
                "event": row["event"],
                "actor": row["actor"],
                "actor_type": row["actor_type"],
                "at": row["created_at"],
                "details": json.loads(str(row["details"])),
            }
        )
    except (ValueError, ValidationError) as error:
        raise CorruptRecordError("an audit entry of the database is damaged") from error


def _entry(
    checkpoint: ConsensusCheckpoint,
    event: AuditEvent,
    actor: str,
    actor_type: str,
    details: Mapping[str, JsonValue],
    at: int,
) -> Row:
    return {
        "checkpoint_id": ConsensusId(checkpoint.id),
        "event": event,
        "actor": safe_text(actor),
        "actor_type": actor_type,
        "details": json_text(dict(details)),
        "created_at": at,
    }


def _decision_json(decision: Decision | None) -> str | None:
    return None if decision is None else json_text(decision.model_dump())
