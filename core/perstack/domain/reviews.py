"""Review loops: one Expert writes code, another tries to break it, until it cannot."""

from __future__ import annotations

from typing import Final, Literal, NewType

from perstack.domain.base import Model
from perstack.domain.ids import AgentId, ExpertKey, JobId, SessionId

LoopId = NewType("LoopId", str)

Severity = Literal["CRITICAL", "HIGH", "MEDIUM", "LOW"]
Verdict = Literal["APPROVE", "REJECT"]
LoopStatus = Literal[
    "pending",
    "coding",
    "reviewing",
    "fixing",
    "approved",
    "max_iterations_reached",
    "failed",
    "aborted",
]

SEVERITIES: Final[tuple[Severity, ...]] = ("CRITICAL", "HIGH", "MEDIUM", "LOW")
GRAVE: Final[tuple[Severity, ...]] = ("CRITICAL", "HIGH")
ACTIVE: Final[tuple[LoopStatus, ...]] = ("pending", "coding", "reviewing", "fixing")
MAX_LOOPS: Final = 5
MAX_ITERATIONS: Final = 10
DEFAULT_ITERATIONS: Final = 3
MAX_CODE: Final = 500_000
DEFAULT_FIX: Final = "Fix the identified issue"


class ReviewIssue(Model):
    """What is wrong with the code, and what must be done about it."""

    id: str
    severity: Severity
    title: str
    location: str | None = None
    attack_vector: str | None = None
    impact: str | None = None
    required_fix: str = DEFAULT_FIX


class Review(Model):
    """One review. `structured`: the verdict came through the tool, not out of the text.

    `summary` is what the reviewer said, `timestamp` Unix milliseconds, `job_id` the reviewer's job.
    """

    review_id: str
    iteration: int
    verdict: Verdict
    issues: tuple[ReviewIssue, ...]
    summary: str
    timestamp: int
    structured: bool
    job_id: JobId | None = None


class ReviewLoop(Model):
    """A loop as it stands. Times in Unix milliseconds.

    `code_input` is what was asked for, or code to be reviewed; `current_code` the coder's latest.
    `iteration` counts reviews from 1. A loop that waits for its turn has no agents yet.
    `coder_job_id` is the job that wrote the latest code; `error` says why a failed loop failed.
    """

    id: LoopId
    session_id: SessionId | None = None
    coder: ExpertKey
    adversarial: ExpertKey
    coder_id: AgentId | None = None
    adversarial_id: AgentId | None = None
    model: str | None = None
    status: LoopStatus
    iteration: int = 0
    max_iterations: int
    code_input: str
    current_code: str | None = None
    coder_job_id: JobId | None = None
    reviews: tuple[Review, ...] = ()
    final_verdict: Verdict | None = None
    error: str | None = None
    started_at: int
    completed_at: int | None = None


def after_review(loop: ReviewLoop, review: Review, *, now_ms: int) -> ReviewLoop:
    """Return the loop once `review` is there: approved, at its end, or with code to be fixed."""
    values: dict[str, object] = {"reviews": (*loop.reviews, review)}
    if review.verdict == "APPROVE":
        values |= {"status": "approved", "final_verdict": "APPROVE", "completed_at": now_ms}
    elif loop.iteration >= loop.max_iterations:
        values |= {
            "status": "max_iterations_reached",
            "final_verdict": "REJECT",
            "completed_at": now_ms,
        }
    else:
        values["status"] = "fixing"
    return loop.model_copy(update=values)


def with_code(loop: ReviewLoop, code: str, job_id: JobId | None) -> ReviewLoop:
    """Return the loop once the coder has written `code`: a review comes next."""
    return loop.model_copy(
        update={
            "status": "reviewing",
            "iteration": loop.iteration + 1,
            "current_code": code,
            "coder_job_id": job_id,
        }
    )


def failed(loop: ReviewLoop, why: str, *, now_ms: int) -> ReviewLoop:
    """Return the loop as it is once it cannot go on."""
    return loop.model_copy(update={"status": "failed", "error": why, "completed_at": now_ms})
