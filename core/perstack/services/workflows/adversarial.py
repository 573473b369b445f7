"""`adversarial-review`: a review loop as a workflow."""

from __future__ import annotations

from typing import Final

import anyio
from pydantic import Field, JsonValue

from perstack.domain.base import Model
from perstack.domain.ids import ExpertKey
from perstack.domain.reviews import LoopId, ReviewIssue, ReviewLoop, Severity
from perstack.domain.workflows import Finding, FindingSeverity, PhaseResult, WorkflowConfig
from perstack.errors import ConflictError, NotFoundError
from perstack.services.reviews.service import ReviewLoops
from perstack.services.workflows.options import read_options
from perstack.services.workflows.runner import PhaseContext, PhaseExecutor

WORKFLOW: Final = "adversarial-review"
PHASE: Final = "adversarial"
_CLAIM_S: Final = 15.0
_AGAIN_S: Final = 0.5
_SEVERITIES: Final[dict[Severity, FindingSeverity]] = {
    "CRITICAL": "high",
    "HIGH": "high",
    "MEDIUM": "medium",
    "LOW": "low",
}


class AdversarialOptions(Model):
    """What `adversarial-review` is told: code, or what code is to be written."""

    task: str = Field(min_length=1, max_length=500_000)
    max_iterations: int = Field(default=3, ge=1, le=10)
    coder: str = "coder"
    adversarial: str = "adversarial"
    model: str | None = None


def make_config(options: AdversarialOptions) -> WorkflowConfig:
    """Return the workflow: the loop itself has what it finds repaired."""
    return WorkflowConfig(
        id=WORKFLOW,
        name="Adversarial review",
        phases=(PHASE,),
        max_iterations=0,
        judge=PHASE,
        repair=(),
        options=options.model_dump(mode="json"),
    )


class Adversarial:
    """Does the one phase."""

    def __init__(self, loops: ReviewLoops) -> None:
        self._loops = loops

    @property
    def executors(self) -> dict[str, PhaseExecutor]:
        """How the phase is done."""
        return {PHASE: self.review}

    async def review(self, context: PhaseContext) -> PhaseResult:
        """Drive the loop that has the run's id, so that a resumed run goes on with it.

        One that failed is over: then there is another, and its id says which.
        """
        loop_id, number = LoopId(context.run_id), 1
        while not await self._is_there(loop_id, context):
            number += 1
            loop_id = LoopId(f"{context.run_id}-{number}")
        loop = await self._drive(loop_id)
        if loop.status in ("failed", "aborted"):
            raise ConflictError(f"the review loop is {loop.status}: {loop.error or 'by a person'}")
        return _result(loop)

    async def _is_there(self, loop_id: LoopId, context: PhaseContext) -> bool:
        """Make the loop unless it is there; say whether it has not failed before."""
        try:
            return (await self._loops.get(loop_id)).status != "failed"
        except NotFoundError:
            options = read_options(AdversarialOptions, WORKFLOW, context.config.options)
        await self._loops.create(
            options.task,
            max_iterations=options.max_iterations,
            session_id=context.session_id,
            coder=ExpertKey(options.coder),
            adversarial=ExpertKey(options.adversarial),
            model=options.model,
            loop_id=loop_id,
        )
        return True

    async def _drive(self, loop_id: LoopId) -> ReviewLoop:
        """Drive the loop; when a process that died drove it, its claim may still have to run out.

        Raises:
            ConflictError: a living process drives it.
        """
        deadline = anyio.current_time() + _CLAIM_S
        while True:
            try:
                return await self._loops.resume(loop_id)
            except ConflictError:
                if anyio.current_time() > deadline:
                    raise
            await anyio.sleep(_AGAIN_S)


def _result(loop: ReviewLoop) -> PhaseResult:
    last = loop.reviews[-1].issues if loop.reviews else ()
    artifacts: dict[str, JsonValue] = {
        "loopId": loop.id,
        "status": loop.status,
        "iterations": loop.iteration,
        "finalCode": loop.current_code,
    }
    return PhaseResult(
        phase=PHASE,
        success=loop.status == "approved",
        findings=tuple(_finding(issue) for issue in last),
        artifacts=artifacts,
    )


def _finding(issue: ReviewIssue) -> Finding:
    evidence = (issue.attack_vector, issue.impact)
    return Finding(
        claim="The code is right",
        contradiction=f"{issue.title}. {issue.required_fix}",
        severity=_SEVERITIES[issue.severity],
        evidence=tuple(one for one in evidence if one),
        file=issue.location,
    )
