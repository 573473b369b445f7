"""Review loops and workflow runs to test with."""

from __future__ import annotations

from perstack.domain.ids import AgentId, ExpertKey
from perstack.domain.reviews import LoopId, Review, ReviewIssue, ReviewLoop, Verdict
from perstack.domain.workflows import WorkflowConfig, WorkflowRun, WorkflowRunId
from tests.fakes.consensus import NOW_MS


def make_loop(
    name: str = "loop1", *, reviews: tuple[Review, ...] = (), max_iterations: int = 3
) -> ReviewLoop:
    return ReviewLoop(
        id=LoopId(name),
        coder=ExpertKey("coder"),
        adversarial=ExpertKey("adversarial"),
        coder_id=AgentId("a1"),
        adversarial_id=AgentId("a2"),
        status="pending",
        max_iterations=max_iterations,
        code_input="add two numbers",
        reviews=reviews,
        started_at=NOW_MS,
    )


def make_review(verdict: Verdict, *, issues: int = 0, iteration: int = 1) -> Review:
    return Review(
        review_id=f"r{iteration}",
        iteration=iteration,
        verdict=verdict,
        issues=tuple(
            ReviewIssue(id=f"i{number}", severity="HIGH", title=f"issue {number}")
            for number in range(issues)
        ),
        summary="looked",
        timestamp=NOW_MS,
        structured=True,
    )


def make_workflow_run(name: str = "w1") -> WorkflowRun:
    config = WorkflowConfig(id="doc-sync", name="Doc sync", phases=("inventory", "analysis"))
    return WorkflowRun(id=WorkflowRunId(name), config=config, started_at=NOW_MS)
