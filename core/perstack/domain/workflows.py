"""Workflows: phases in order, a phase that judges, and what it finds repaired and judged again."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Final, Literal, NewType

from pydantic import Field, JsonValue

from perstack.domain.base import Model
from perstack.domain.ids import SessionId

WorkflowRunId = NewType("WorkflowRunId", str)

FindingSeverity = Literal["low", "medium", "high"]
WorkflowStatus = Literal["running", "completed", "failed", "aborted"]
WorkflowVerdict = Literal["PASS", "FAIL"]
Confidence = Literal["HIGH", "MEDIUM", "LOW"]

DEFAULT_ITERATIONS: Final = 3
MAX_ITERATIONS: Final = 10
_COUNTED: Final = ("documentsUpdated", "sectionsRemoved", "sectionsAdded", "diagramsUpdated")


class Finding(Model):
    """What is claimed somewhere, and what says otherwise."""

    claim: str
    contradiction: str
    severity: FindingSeverity
    evidence: tuple[str, ...] = ()
    file: str | None = None
    line: int | None = None


class PhaseResult(Model):
    """What one phase did. `duration` in ms; `iteration` 0 is the first time, repairs count on.

    `skipped`: nobody knows how to do that phase, which counts as a success.
    """

    phase: str
    success: bool
    findings: tuple[Finding, ...] = ()
    artifacts: dict[str, JsonValue] = Field(default_factory=dict)
    duration: int = 0
    iteration: int = 0
    skipped: bool = False


class WorkflowConfig(Model):
    """What to do. When the phase `judge` fails, `repair` and it are done again.

    At most `max_iterations` times. With `halt_on_failure` another phase that fails ends the
    workflow. `options` are the phases' own.
    """

    id: str
    name: str
    phases: tuple[str, ...]
    max_iterations: int = DEFAULT_ITERATIONS
    judge: str = "adversarial"
    repair: tuple[str, ...] = ("sync",)
    halt_on_failure: bool = False
    options: dict[str, JsonValue] = Field(default_factory=dict)


class WorkflowSummary(Model):
    """The figures of a report."""

    documents_scanned: int = 0
    documents_updated: int = 0
    sections_removed: int = 0
    sections_added: int = 0
    diagrams_updated: int = 0
    findings_total: int = 0
    findings_by_severity: dict[FindingSeverity, int] = Field(
        default_factory=dict[FindingSeverity, int]
    )


class WorkflowReport(Model):
    """How a workflow ended. Times in Unix ms, `duration` in ms.

    `verdict_by` says whose verdict it is: the judging phase's, or for want of one that of all
    phases together. `findings_total` counts those that are left: the latest of each phase.
    """

    id: str
    run_id: WorkflowRunId
    workflow: str
    started_at: int
    completed_at: int
    duration: int
    verdict: WorkflowVerdict
    verdict_by: Literal["judge", "phases"]
    phases: tuple[PhaseResult, ...]
    summary: WorkflowSummary
    confidence: Confidence


class WorkflowRun(Model):
    """One run of a workflow, as it is stored. Times in Unix ms."""

    id: WorkflowRunId
    config: WorkflowConfig
    session_id: SessionId | None = None
    status: WorkflowStatus = "running"
    results: tuple[PhaseResult, ...] = ()
    report: WorkflowReport | None = None
    error: str | None = None
    started_at: int
    completed_at: int | None = None


class Step(Model):
    """The phase that is next."""

    phase: str
    iteration: int


def next_step(config: WorkflowConfig, results: Sequence[PhaseResult]) -> Step | None:
    """Return what comes after `results`, None when that was all.

    A pure function of what was recorded, so that any process can go on where another ended.
    """
    done = 0
    for place, phase in enumerate(config.phases):
        if done == len(results):
            return Step(phase=phase, iteration=0)
        last = results[done]
        done += 1
        if phase == config.judge:
            open_step, done, last = _repairs(config, results, done, last)
            if open_step is not None:
                return open_step
        is_last = place == len(config.phases) - 1
        if config.halt_on_failure and not last.success and not is_last:
            return None
    return None


def _repairs(
    config: WorkflowConfig, results: Sequence[PhaseResult], done: int, judged: PhaseResult
) -> tuple[Step | None, int, PhaseResult]:
    """Return the step of a repair that is next, how many results are used up, the last verdict."""
    cycle = (*(phase for phase in config.repair if phase in config.phases), config.judge)
    for iteration in range(1, config.max_iterations + 1):
        if judged.success:
            break
        for phase in cycle:
            if done == len(results):
                return Step(phase=phase, iteration=iteration), done, judged
            judged = results[done]
            done += 1
    return None, done, judged


def latest(results: Sequence[PhaseResult]) -> dict[str, PhaseResult]:
    """Return each phase's latest result, by phase."""
    return {result.phase: result for result in results}


def make_report(run: WorkflowRun, *, now_ms: int) -> WorkflowReport:
    """Return the report of a run whose phases are all done."""
    last = latest(run.results)
    judged = last.get(run.config.judge)
    if judged is None or judged.skipped:
        by, passed = "phases", all(result.success for result in last.values())
    else:
        by, passed = "judge", judged.success
    halted = any(phase not in last for phase in run.config.phases)
    passed = passed and not halted
    return WorkflowReport(
        id=f"report-{now_ms}",
        run_id=run.id,
        workflow=run.config.id,
        started_at=run.started_at,
        completed_at=now_ms,
        duration=max(0, now_ms - run.started_at),
        verdict="PASS" if passed else "FAIL",
        verdict_by=by,
        phases=run.results,
        summary=_summary(run.results, last),
        confidence=_confidence(passed, by == "judge", last),
    )


def _confidence(passed: bool, judged: bool, last: dict[str, PhaseResult]) -> Confidence:
    """Say how much a verdict is worth: little when it was reached without looking."""
    if any(result.artifacts.get("withoutModel") is True for result in last.values()):
        return "LOW"
    if not judged or any(result.skipped for result in last.values()):
        return "MEDIUM" if passed else "LOW"
    return "HIGH"


def _summary(results: Sequence[PhaseResult], last: dict[str, PhaseResult]) -> WorkflowSummary:
    left = Counter(finding.severity for result in last.values() for finding in result.findings)
    scanned = max((_number(result, "documentsScanned") for result in results), default=0)
    updated, removed, added, diagrams = (
        sum(_number(result, name) for result in results) for name in _COUNTED
    )
    return WorkflowSummary(
        documents_scanned=scanned,
        documents_updated=updated,
        sections_removed=removed,
        sections_added=added,
        diagrams_updated=diagrams,
        findings_total=left.total(),
        findings_by_severity={"low": left["low"], "medium": left["medium"], "high": left["high"]},
    )


def _number(result: PhaseResult, name: str) -> int:
    value = result.artifacts.get(name)
    return value if isinstance(value, int) and not isinstance(value, bool) else 0
