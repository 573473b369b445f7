"""Consensus checkpoints: the gate that risky work waits at, and the rules that put it there."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Final, Literal

from pydantic import JsonValue

from perstack.domain.base import Model
from perstack.domain.ids import (
    ConsensusId,
    ExpertKey,
    JobId,
    RunId,
    SessionId,
    SubtaskId,
    TaskId,
    ToolCallId,
)
from perstack.domain.settings import ConsensusSettings, ReviewerStrategy, RiskLevel

ConsensusStatus = Literal["pending", "approved", "rejected", "expired"]

SYSTEM: Final = "system"
LONGEST_PAGE: Final = 1_000
_ORDER: Final[dict[RiskLevel, int]] = {"low": 0, "medium": 1, "high": 2}


class InputRequest(Model):
    """What a tool server wants: an answer of the user, or one of the run's model.

    `answer_schema` is the form (`perstack.domain.inputs`) that an elicitation's answer must fit.
    """

    kind: Literal["elicitation", "sampling"]
    skill_name: str
    answer_schema: dict[str, JsonValue] | None = None


class ProposedSubtask(Model):
    """One gated call: a delegation to the Expert `agent_type`, or a tool call; or a task.

    `digest` is that of the call, `call_digest`; `skill_digest` is how the tool's skill is defined
    (`domain.standing.definition_digest`), None where no tool is called. With an `input_request` it
    is a request that the tool server made during that call. A task that no run waits with has no
    call: it is made once it is approved, with the subtask's id.
    """

    id: SubtaskId
    agent_type: str
    input: str
    estimated_risk_level: RiskLevel
    tool_call_id: ToolCallId = ToolCallId("")
    tool_name: str = ""
    parent_task_id: TaskId | None = None
    digest: str | None = None
    skill_digest: str | None = None
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


class Verdict(Model):
    """What a reviewing Expert says. `risk_assessment` can raise the risk, never lower it."""

    approved: bool
    rejected_subtask_ids: tuple[SubtaskId, ...] = ()
    feedback: str | None = None
    risk_assessment: RiskLevel | None = None


class Review(Model):
    """A review by an Expert; a recommendation unless the decision names it. Times in Unix ms.

    `structured`: the verdict came through the reviewer's own tool, rather than out of its text.
    `error` says why there is no verdict.
    """

    reviewer: ExpertKey
    model: str | None = None
    job_id: JobId | None = None
    run_id: RunId | None = None
    verdict: Verdict | None = None
    structured: bool = False
    error: str | None = None
    started_at: int
    finished_at: int


class ConsensusCheckpoint(Model):
    """What waits for a decision. Times in Unix milliseconds.

    `job_id` and `run_id` are those of the run that waits, None where none does; `task_id` is that
    run's id, or the id that the first proposed task will have. `expert_key` is who asks.
    """

    id: ConsensusId
    job_id: JobId | None = None
    run_id: RunId | None = None
    session_id: SessionId | None = None
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
    review: Review | None = None
    created_at: int
    expires_at: int | None = None
    decided_at: int | None = None

    @property
    def reviewer_id(self) -> str | None:
        """Who decided, None while nobody has."""
        return self.decision.reviewed_by if self.decision else None

    @property
    def reviewer_type(self) -> Literal["agent", "human"] | None:
        """What decided, None while nothing has."""
        return self.decision.reviewer_type if self.decision else None

    @property
    def approved_subtasks(self) -> tuple[ProposedSubtask, ...]:
        """The subtasks that may be done: none unless approved, then those not rejected."""
        if self.status != "approved":
            return ()
        out = self.decision.rejected_subtask_ids if self.decision else ()
        return tuple(task for task in self.proposed_subtasks if task.id not in out)

    @property
    def input_request(self) -> InputRequest | None:
        """What a tool server asks for here, None where work waits."""
        return self.proposed_subtasks[0].input_request if self.proposed_subtasks else None

    @property
    def form(self) -> dict[str, JsonValue] | None:
        """The form that an answer must fit, None where nothing but a decision is wanted."""
        asked = self.input_request
        return asked.answer_schema if asked else None


class ConsensusCheck(Model):
    """Whether work must wait, why (or why not), and what that was judged by."""

    requires_consensus: bool
    reason: str
    risk_level: RiskLevel
    depth: int


class Ancestor(Model):
    """A task that the work at hand descends from."""

    id: TaskId
    agent_type: str
    input: str | None = None


def nobody_decided(checkpoint: ConsensusCheckpoint) -> bool:
    """Tell whether it was closed without a reviewer: it expired, or was taken back."""
    return checkpoint.decision is None or checkpoint.decision.reviewed_by == SYSTEM


def estimate_risk(agent_type: str, text: str, rules: ConsensusSettings) -> RiskLevel:
    """Return the highest risk that the Expert's name or the text's words give."""
    lowered, named = text.lower(), agent_type.strip().lower()
    if _among(named, rules.high_risk_agent_types) or _any_in(rules.high_risk_patterns, lowered):
        return "high"
    if _among(named, rules.medium_risk_agent_types) or _any_in(rules.medium_risk_patterns, lowered):
        return "medium"
    return "low"


def check_required(
    risk: RiskLevel, depth: int, rules: ConsensusSettings, *, is_root: bool = False
) -> ConsensusCheck:
    """Say whether work at `depth` must wait: work of a listed risk, or too deep with any risk."""

    def answer(required: bool, reason: str) -> ConsensusCheck:
        return ConsensusCheck(
            requires_consensus=required, reason=reason, risk_level=risk, depth=depth
        )

    if not rules.enabled:
        return answer(False, "Consensus is disabled")
    if depth > rules.max_depth and not is_root:
        return answer(True, f"Task depth {depth} exceeds maximum allowed depth {rules.max_depth}")
    if risk not in rules.require_for_risk_levels:
        return answer(False, f"Risk level '{risk}' does not require consensus")
    if is_root:
        return answer(False, "Root tasks do not require consensus")
    return answer(True, f"Risk level '{risk}' at depth {depth} requires consensus")


def why_required(risk: RiskLevel, depth: int, rules: ConsensusSettings) -> str | None:
    """Return why a delegation at `depth` must wait, or None when it need not."""
    checked = check_required(risk, depth, rules)
    return checked.reason if checked.requires_consensus else None


def may_approve_alone(checkpoint: ConsensusCheckpoint, verdict: Verdict, most: RiskLevel) -> bool:
    """Tell whether an Expert's approval decides, `most` being the highest risk it may approve."""
    risk = highest([checkpoint.risk_level, verdict.risk_assessment or "low"])
    return verdict.approved and _ORDER[risk] <= _ORDER[most]


def call_digest(target: str, tool_name: str, args: Mapping[str, JsonValue]) -> str:
    """Return a digest of a call: its skill or Expert, its tool and its exact arguments."""
    exact = json.dumps([target, tool_name, args], sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(exact.encode()).hexdigest()


def highest(levels: Sequence[RiskLevel]) -> RiskLevel:
    """Return the highest of `levels`, "low" for none."""
    found: RiskLevel = "low"
    for level in levels:
        if _ORDER[level] > _ORDER[found]:
            found = level
    return found


def _among(named: str, types: Sequence[str]) -> bool:
    return any(one.strip().lower() == named for one in types)


def _any_in(patterns: Sequence[str], lowered: str) -> bool:
    return any(pattern.lower() in lowered for pattern in patterns)
