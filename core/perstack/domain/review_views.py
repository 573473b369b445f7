"""What is told of review loops, in the seed's words.

Inside, a verdict is APPROVE or REJECT and a severity in capitals; the seed's samples say APPROVED,
NEEDS_CHANGES and `high`, and call every loop that has not ended `running`: `phase` says more.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, Literal

from perstack.domain.base import Model
from perstack.domain.ids import AgentId, JobId, SessionId
from perstack.domain.moments import Moment
from perstack.domain.reviews import (
    ACTIVE,
    LoopId,
    LoopStatus,
    Review,
    ReviewIssue,
    ReviewLoop,
    Severity,
    Verdict,
)

SaidVerdict = Literal["APPROVED", "NEEDS_CHANGES"]
SaidSeverity = Literal["critical", "high", "medium", "low"]
SaidStatus = Literal["running", "approved", "max_iterations_reached", "failed", "aborted"]

_VERDICTS: Final[Mapping[Verdict, SaidVerdict]] = {"APPROVE": "APPROVED", "REJECT": "NEEDS_CHANGES"}
_SEVERITIES: Final[Mapping[Severity, SaidSeverity]] = {
    "CRITICAL": "critical",
    "HIGH": "high",
    "MEDIUM": "medium",
    "LOW": "low",
}
_STATUSES: Final[Mapping[LoopStatus, SaidStatus]] = {
    **dict.fromkeys(ACTIVE, "running"),
    "approved": "approved",
    "max_iterations_reached": "max_iterations_reached",
    "failed": "failed",
    "aborted": "aborted",
}


class LoopSummary(Model):
    """A loop as it stands. `phase` is what a running one does; agents it has once it has begun."""

    id: LoopId
    status: SaidStatus
    phase: LoopStatus
    iteration: int
    max_iterations: int
    coder_id: AgentId | None = None
    adversarial_id: AgentId | None = None
    session_id: SessionId | None = None
    review_count: int
    final_verdict: SaidVerdict | None = None
    error: str | None = None
    started_at: Moment
    completed_at: Moment | None = None


class LoopOutcome(Model):
    """How a loop ended. `success` tells whether the code was approved."""

    success: bool
    loop: LoopSummary
    final_code: str | None = None
    message: str


class LatestReview(Model):
    """The last review of a loop."""

    verdict: SaidVerdict
    issue_count: int
    timestamp: Moment


class LoopReport(Model):
    """A loop, and its latest review."""

    found: Literal[True] = True
    loop: LoopSummary
    latest_review: LatestReview | None = None


class LoopAborted(Model):
    """That a loop was ended."""

    success: Literal[True] = True
    message: Literal["Review loop aborted"] = "Review loop aborted"
    loop_id: LoopId


class IssueDetail(Model):
    """What is wrong with the code, and what must be done about it."""

    id: str
    severity: SaidSeverity
    title: str
    location: str | None = None
    attack_vector: str | None = None
    impact: str | None = None
    required_fix: str


class ReviewReport(Model):
    """One review. `job_id` is the reviewer's job."""

    iteration: int
    review_id: str
    verdict: SaidVerdict
    issue_count: int
    issues: tuple[IssueDetail, ...]
    summary: str
    timestamp: Moment
    job_id: JobId | None = None


class LoopIssues(Model):
    """All reviews of a loop, in order."""

    found: Literal[True] = True
    loop_id: LoopId
    reviews: tuple[ReviewReport, ...]


class LoopList(Model):
    """Loops that have not ended, newest first."""

    count: int
    loops: tuple[LoopSummary, ...]


class LoopCode(Model):
    """The code of a loop as it stands."""

    found: Literal[True] = True
    loop_id: LoopId
    status: SaidStatus
    iteration: int
    original_input: str
    current_code: str | None = None
    final_verdict: SaidVerdict | None = None


def loop_summary(loop: ReviewLoop) -> LoopSummary:
    """Return a loop without its code and reviews."""
    return LoopSummary(
        id=loop.id,
        status=_STATUSES[loop.status],
        phase=loop.status,
        iteration=loop.iteration,
        max_iterations=loop.max_iterations,
        coder_id=loop.coder_id,
        adversarial_id=loop.adversarial_id,
        session_id=loop.session_id,
        review_count=len(loop.reviews),
        final_verdict=_said(loop.final_verdict),
        error=loop.error,
        started_at=loop.started_at,
        completed_at=loop.completed_at,
    )


def loop_outcome(loop: ReviewLoop) -> LoopOutcome:
    """Return a loop that has ended as the seed's `review_loop_start` answers it."""
    approved = loop.status == "approved"
    said = f"Code approved after {loop.iteration} iteration(s)"
    return LoopOutcome(
        success=approved,
        loop=loop_summary(loop),
        final_code=loop.current_code,
        message=said if approved else f"Review loop completed with status: {loop.status}",
    )


def loop_report(loop: ReviewLoop) -> LoopReport:
    """Return a loop as the seed's `review_loop_status` answers it."""
    last = loop.reviews[-1] if loop.reviews else None
    latest = None
    if last is not None:
        latest = LatestReview(
            verdict=_VERDICTS[last.verdict],
            issue_count=len(last.issues),
            timestamp=last.timestamp,
        )
    return LoopReport(loop=loop_summary(loop), latest_review=latest)


def loop_issues(loop: ReviewLoop) -> LoopIssues:
    """Return a loop's reviews as the seed's `review_loop_issues` answers them."""
    return LoopIssues(loop_id=loop.id, reviews=tuple(_review(one) for one in loop.reviews))


def loop_list(loops: Sequence[ReviewLoop]) -> LoopList:
    """Return loops as the seed's `review_loop_list` answers them."""
    return LoopList(count=len(loops), loops=tuple(loop_summary(one) for one in loops))


def loop_code(loop: ReviewLoop) -> LoopCode:
    """Return a loop's code as the seed's `review_loop_get_code` answers it."""
    return LoopCode(
        loop_id=loop.id,
        status=_STATUSES[loop.status],
        iteration=loop.iteration,
        original_input=loop.code_input,
        current_code=loop.current_code,
        final_verdict=_said(loop.final_verdict),
    )


def _said(verdict: Verdict | None) -> SaidVerdict | None:
    return None if verdict is None else _VERDICTS[verdict]


def _review(one: Review) -> ReviewReport:
    return ReviewReport(
        iteration=one.iteration,
        review_id=one.review_id,
        verdict=_VERDICTS[one.verdict],
        issue_count=len(one.issues),
        issues=tuple(_issue(each) for each in one.issues),
        summary=one.summary,
        timestamp=one.timestamp,
        job_id=one.job_id,
    )


def _issue(one: ReviewIssue) -> IssueDetail:
    return IssueDetail(
        id=one.id,
        severity=_SEVERITIES[one.severity],
        title=one.title,
        location=one.location,
        attack_vector=one.attack_vector,
        impact=one.impact,
        required_fix=one.required_fix,
    )
