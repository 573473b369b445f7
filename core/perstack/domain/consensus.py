"""Consensus checkpoints: the gate that risky work waits at, and the rules that put it there."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Literal

from pydantic import JsonValue

from perstack.domain.base import Model
from perstack.domain.ids import ConsensusId, ExpertKey, JobId, RunId, SubtaskId, ToolCallId
from perstack.domain.settings import ConsensusSettings, ReviewerStrategy, RiskLevel

ConsensusStatus = Literal["pending", "approved", "rejected", "expired"]

SYSTEM: Final = "system"
_ORDER: Final[dict[RiskLevel, int]] = {"low": 0, "medium": 1, "high": 2}


class InputRequest(Model):
    """What a tool server wants: an answer of the user, or one of the run's model.

    `answer_schema` is the form (`perstack.domain.inputs`) that an elicitation's answer must fit.
    """

    kind: Literal["elicitation", "sampling"]
    skill_name: str
    answer_schema: dict[str, JsonValue] | None = None


class ProposedSubtask(Model):
    """One gated call: a delegation to the Expert `agent_type`, or a tool call.

    With an `input_request` it is a request that the tool server made during that call.
    """

    id: SubtaskId
    agent_type: str
    input: str
    estimated_risk_level: RiskLevel
    tool_call_id: ToolCallId
    tool_name: str
    input_request: InputRequest | None = None


class Decision(Model):
    """Who decided what. `approved` with `rejected_subtask_ids` is a partial approval.

    To the question of a tool server, `feedback` of an approval is the answer, as JSON.
    """

    approved: bool
    rejected_subtask_ids: tuple[SubtaskId, ...] = ()
    feedback: str | None = None
    reviewed_by: str
    reviewer_type: Literal["agent", "human"] = "human"


class ConsensusCheckpoint(Model):
    """What waits for a decision. Times in Unix milliseconds; `task_id` is the waiting run's id."""

    id: ConsensusId
    job_id: JobId
    run_id: RunId
    expert_key: ExpertKey
    task_id: str
    parent_task_id: str | None = None
    depth: int = 0
    reason: str
    proposed_subtasks: tuple[ProposedSubtask, ...]
    risk_level: RiskLevel
    status: ConsensusStatus = "pending"
    reviewer_strategy: ReviewerStrategy = "human"
    decision: Decision | None = None
    created_at: int
    expires_at: int | None = None
    decided_at: int | None = None

    @property
    def input_request(self) -> InputRequest | None:
        """What a tool server asks for here, None where work waits."""
        return self.proposed_subtasks[0].input_request if self.proposed_subtasks else None

    @property
    def form(self) -> dict[str, JsonValue] | None:
        """The form that an answer must fit, None where nothing but a decision is wanted."""
        asked = self.input_request
        return asked.answer_schema if asked else None


def nobody_decided(checkpoint: ConsensusCheckpoint) -> bool:
    """Tell whether it was closed without a reviewer: it expired, or was taken back."""
    return checkpoint.decision is None or checkpoint.decision.reviewed_by == SYSTEM


def estimate_risk(agent_type: str, text: str, rules: ConsensusSettings) -> RiskLevel:
    """Return the highest risk that the Expert's name or the text's words give."""
    lowered = text.lower()
    if agent_type in rules.high_risk_agent_types or _any_in(rules.high_risk_patterns, lowered):
        return "high"
    if agent_type in rules.medium_risk_agent_types or _any_in(rules.medium_risk_patterns, lowered):
        return "medium"
    return "low"


def why_required(risk: RiskLevel, depth: int, rules: ConsensusSettings) -> str | None:
    """Return why a delegation at `depth` must wait, or None when it need not."""
    if not rules.enabled:
        return None
    if depth > rules.max_depth:
        return f"Task depth {depth} exceeds maximum allowed depth {rules.max_depth}"
    if risk in rules.require_for_risk_levels:
        return f"Risk level '{risk}' at depth {depth} requires consensus"
    return None


def highest(levels: Sequence[RiskLevel]) -> RiskLevel:
    """Return the highest of `levels`, "low" for none."""
    found: RiskLevel = "low"
    for level in levels:
        if _ORDER[level] > _ORDER[found]:
            found = level
    return found


def _any_in(patterns: Sequence[str], lowered: str) -> bool:
    return any(pattern.lower() in lowered for pattern in patterns)
