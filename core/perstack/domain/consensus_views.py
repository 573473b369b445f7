"""What is told of consensus checkpoints, in the seed's shapes and somewhat wider."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from perstack.domain.base import Model
from perstack.domain.consensus import (
    ConsensusCheck,
    ConsensusCheckpoint,
    ConsensusStatus,
    Decision,
    InputRequest,
    ProposedSubtask,
    Review,
)
from perstack.domain.ids import ConsensusId, ExpertKey, JobId, RunId, SessionId, SubtaskId, TaskId
from perstack.domain.moments import Moment
from perstack.domain.settings import ConsensusSettings, ReviewerStrategy, RiskLevel


class ConsensusRules(Model):
    """The settings by which a check was made."""

    enabled: bool
    require_for_risk_levels: tuple[RiskLevel, ...]
    max_depth: int


class CheckReport(Model):
    """Whether a task would have to wait, and why or why not."""

    success: Literal[True] = True
    requires_consensus: bool
    reason: str
    risk_level: RiskLevel
    depth: int
    config: ConsensusRules


class CheckpointSummary(Model):
    """A checkpoint as lists show it."""

    id: ConsensusId
    task_id: str
    parent_task_id: str | None = None
    risk_level: RiskLevel
    status: ConsensusStatus
    reviewer_strategy: ReviewerStrategy
    subtask_count: int
    reason: str
    job_id: JobId | None = None
    session_id: SessionId | None = None
    created_at: Moment
    expires_at: Moment | None = None
    decided_at: Moment | None = None


class CheckpointList(Model):
    """What waits, oldest first. `total` counts all that does."""

    success: Literal[True] = True
    count: int
    total: int
    checkpoints: tuple[CheckpointSummary, ...]


class SubtaskDetail(Model):
    """What was proposed. `tool_name` where a call waits, `input_request` where a server asks."""

    id: SubtaskId
    agent_type: str
    input: str
    estimated_risk_level: RiskLevel
    parent_task_id: TaskId | None = None
    tool_name: str | None = None
    input_request: InputRequest | None = None


class ReviewDetail(Model):
    """What a reviewing Expert found; a recommendation unless the decision names it."""

    reviewer: ExpertKey
    model: str | None = None
    job_id: JobId | None = None
    approved: bool | None = None
    rejected_subtask_ids: tuple[SubtaskId, ...] = ()
    feedback: str | None = None
    error: str | None = None
    started_at: Moment
    finished_at: Moment


class CheckpointDetail(Model):
    """A checkpoint, whole."""

    id: ConsensusId
    task_id: str
    parent_task_id: str | None = None
    proposed_subtasks: tuple[SubtaskDetail, ...]
    risk_level: RiskLevel
    depth: int
    reason: str
    status: ConsensusStatus
    reviewer_strategy: ReviewerStrategy
    reviewer_id: str | None = None
    reviewer_type: Literal["agent", "human"] | None = None
    decision: Decision | None = None
    review: ReviewDetail | None = None
    expert_key: ExpertKey
    job_id: JobId | None = None
    run_id: RunId | None = None
    session_id: SessionId | None = None
    created_at: Moment
    expires_at: Moment | None = None
    decided_at: Moment | None = None


class CheckpointReport(Model):
    """One checkpoint."""

    success: Literal[True] = True
    checkpoint: CheckpointDetail


class DecidedCheckpoint(Model):
    """How a checkpoint was decided. `approved_subtask_ids` may be done, or are tasks now."""

    id: ConsensusId
    status: ConsensusStatus
    decided_at: Moment | None = None
    approved_subtask_ids: tuple[SubtaskId, ...] = ()


class DecisionReport(Model):
    """That a checkpoint was decided."""

    success: Literal[True] = True
    checkpoint: DecidedCheckpoint


def check_report(check: ConsensusCheck, rules: ConsensusSettings) -> CheckReport:
    """Return a check as the seed's `consensus_check` answers it."""
    return CheckReport(
        requires_consensus=check.requires_consensus,
        reason=check.reason,
        risk_level=check.risk_level,
        depth=check.depth,
        config=ConsensusRules(
            enabled=rules.enabled,
            require_for_risk_levels=tuple(rules.require_for_risk_levels),
            max_depth=rules.max_depth,
        ),
    )


def checkpoint_list(found: Sequence[ConsensusCheckpoint], total: int) -> CheckpointList:
    """Return checkpoints as the seed's `consensus_list_pending` answers them."""
    listed = tuple(checkpoint_summary(one) for one in found)
    return CheckpointList(count=len(listed), total=total, checkpoints=listed)


def checkpoint_summary(one: ConsensusCheckpoint) -> CheckpointSummary:
    """Return a checkpoint as lists show it."""
    alike = CheckpointSummary.model_fields.keys() - {"subtask_count"}
    same = {name: getattr(one, name) for name in alike}
    return CheckpointSummary(**same, subtask_count=len(one.proposed_subtasks))


def checkpoint_detail(one: ConsensusCheckpoint) -> CheckpointDetail:
    """Return a checkpoint, whole."""
    alike = CheckpointDetail.model_fields.keys() - {"proposed_subtasks", "review"}
    same = {name: getattr(one, name) for name in alike}
    return CheckpointDetail(
        **same,
        proposed_subtasks=tuple(_subtask(each) for each in one.proposed_subtasks),
        review=None if one.review is None else _review(one.review),
    )


def decision_report(decided: ConsensusCheckpoint) -> DecisionReport:
    """Return a decision as the seed's `consensus_approve` and `consensus_reject` answer it."""
    return DecisionReport(
        checkpoint=DecidedCheckpoint(
            id=decided.id,
            status=decided.status,
            decided_at=decided.decided_at,
            approved_subtask_ids=tuple(one.id for one in decided.approved_subtasks),
        )
    )


def _subtask(one: ProposedSubtask) -> SubtaskDetail:
    return SubtaskDetail(
        id=one.id,
        agent_type=one.agent_type,
        input=one.input,
        estimated_risk_level=one.estimated_risk_level,
        parent_task_id=one.parent_task_id,
        tool_name=one.tool_name or None,
        input_request=one.input_request,
    )


def _review(one: Review) -> ReviewDetail:
    verdict = one.verdict
    return ReviewDetail(
        reviewer=one.reviewer,
        model=one.model,
        job_id=one.job_id,
        approved=None if verdict is None else verdict.approved,
        rejected_subtask_ids=() if verdict is None else verdict.rejected_subtask_ids,
        feedback=None if verdict is None else verdict.feedback,
        error=one.error,
        started_at=one.started_at,
        finished_at=one.finished_at,
    )
