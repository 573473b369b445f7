"""Review loops in the words and shapes of seed 003.

Ours are finer: a loop that works is `running` there and `coding`, `reviewing` or `fixing` here,
which is kept beside it as `phase`.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final

from pydantic import JsonValue

from perstack.domain.reviews import LoopStatus, Review, ReviewIssue, ReviewLoop, Verdict

Json = dict[str, JsonValue]

NOT_FOUND: Final[Json] = {"found": False, "message": "Review loop not found"}
ABORTED: Final[Json] = {"success": True, "message": "Review loop aborted"}
_VERDICTS: Final[dict[Verdict, str]] = {"APPROVE": "APPROVED", "REJECT": "NEEDS_CHANGES"}
_WORKING: Final[tuple[LoopStatus, ...]] = ("coding", "reviewing", "fixing")


def seed_status(status: LoopStatus) -> str:
    """Return the seed's word for a status."""
    return "running" if status in _WORKING else status


def seed_verdict(verdict: Verdict | None) -> str | None:
    """Return the seed's word for a verdict."""
    return None if verdict is None else _VERDICTS[verdict]


def started(loop: ReviewLoop) -> Json:
    """Return the answer of `review_loop_start`."""
    if loop.status == "approved":
        message = f"Code approved after {loop.iteration} iteration(s)"
    else:
        message = f"Review loop completed with status: {loop.status}"
    return {
        "success": True,
        "loop": {
            **_brief(loop),
            "coderId": loop.coder_id,
            "adversarialId": loop.adversarial_id,
            "reviewCount": len(loop.reviews),
            "finalVerdict": seed_verdict(loop.final_verdict),
        },
        "finalCode": loop.current_code,
        "message": message,
    }


def status(loop: ReviewLoop) -> Json:
    """Return the answer of `review_loop_status`."""
    latest = loop.reviews[-1] if loop.reviews else None
    return {
        "found": True,
        "loop": _brief(loop),
        "latestReview": None if latest is None else _review_brief(latest),
    }


def issues(loop: ReviewLoop) -> Json:
    """Return the answer of `review_loop_issues`."""
    reviews: list[JsonValue] = [
        {
            "iteration": review.iteration,
            "reviewId": review.review_id,
            **_review_brief(review),
            "issues": [_issue(issue) for issue in review.issues],
        }
        for review in loop.reviews
    ]
    return {"found": True, "loopId": loop.id, "reviews": reviews}


def listed(loops: Sequence[ReviewLoop]) -> Json:
    """Return the answer of `review_loop_list`."""
    return {"count": len(loops), "loops": [_brief(loop) for loop in loops]}


def code(loop: ReviewLoop) -> Json:
    """Return the answer of `review_loop_get_code`."""
    return {
        "found": True,
        "loopId": loop.id,
        "status": seed_status(loop.status),
        "iteration": loop.iteration,
        "originalInput": loop.code_input,
        "currentCode": loop.current_code,
        "finalVerdict": seed_verdict(loop.final_verdict),
    }


def _brief(loop: ReviewLoop) -> Json:
    return {
        "id": loop.id,
        "status": seed_status(loop.status),
        "phase": loop.status,
        "iteration": loop.iteration,
        "maxIterations": loop.max_iterations,
    }


def _review_brief(review: Review) -> Json:
    return {
        "verdict": seed_verdict(review.verdict),
        "issueCount": len(review.issues),
        "timestamp": _iso(review.timestamp),
    }


def _issue(issue: ReviewIssue) -> JsonValue:
    shown: JsonValue = {
        **issue.model_dump(mode="json", exclude_none=True),
        "severity": issue.severity.lower(),
    }
    return shown


def _iso(unix_ms: int) -> str:
    at = datetime.fromtimestamp(unix_ms // 1000, UTC).replace(microsecond=unix_ms % 1000 * 1000)
    return at.isoformat(timespec="milliseconds").replace("+00:00", "Z")
