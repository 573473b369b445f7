"""What is next in a workflow, and what its report says."""

from __future__ import annotations

from collections.abc import Callable

from hypothesis import given
from hypothesis import strategies as st

from perstack.domain.workflows import (
    Finding,
    PhaseResult,
    WorkflowConfig,
    WorkflowRun,
    WorkflowRunId,
    make_report,
    next_step,
)
from tests.fakes.consensus import NOW_MS

NAMES = ("inventory", "sync", "adversarial", "reconciliation")


def play(
    config: WorkflowConfig, succeeds: Callable[[str, int], bool], *, most: int = 500
) -> list[PhaseResult]:
    """Do a workflow whose phases succeed as told; the number counts all steps."""
    results: list[PhaseResult] = []
    while (step := next_step(config, results)) is not None:
        assert len(results) < most, "a workflow without end"
        success = succeeds(step.phase, len(results))
        results.append(PhaseResult(phase=step.phase, success=success, iteration=step.iteration))
    return results


def make_config(*phases: str, **values: object) -> WorkflowConfig:
    return WorkflowConfig.model_validate({"id": "w", "name": "w", "phases": phases, **values})


def report_of(config: WorkflowConfig, results: list[PhaseResult]) -> tuple[str, str, str]:
    run = WorkflowRun(
        id=WorkflowRunId("w1"), config=config, results=tuple(results), started_at=NOW_MS
    )
    report = make_report(run, now_ms=NOW_MS + 7)
    assert report.duration == 7
    return report.verdict, report.verdict_by, report.confidence


def test_agentstack_row_133_judged_again_until_it_passes() -> None:
    config = make_config(*NAMES, max_iterations=3)
    judged = iter([False, False, True])
    results = play(config, lambda phase, _: next(judged) if phase == "adversarial" else True)
    assert [(one.phase, one.iteration) for one in results] == [
        ("inventory", 0),
        ("sync", 0),
        ("adversarial", 0),
        ("sync", 1),
        ("adversarial", 1),
        ("sync", 2),
        ("adversarial", 2),
        ("reconciliation", 0),
    ]
    assert report_of(config, results) == ("PASS", "judge", "HIGH")


def test_a_judge_that_never_passes_is_asked_once_and_once_for_each_repair() -> None:
    config = make_config(*NAMES, max_iterations=2)
    results = play(config, lambda phase, _: phase != "adversarial")
    assert [one.phase for one in results].count("adversarial") == 3
    assert report_of(config, results)[0] == "FAIL"


def test_without_a_judge_the_phases_decide_and_the_report_says_so() -> None:
    config = make_config("inventory", "sync")
    assert report_of(config, play(config, lambda _phase, _number: True)) == (
        "PASS",
        "phases",
        "MEDIUM",
    )
    failed = play(config, lambda phase, _: phase == "sync")
    assert report_of(config, failed) == ("FAIL", "phases", "LOW")


def test_a_judge_that_nobody_can_do_decides_nothing() -> None:
    config = make_config("inventory", "adversarial")
    results = [
        PhaseResult(phase="inventory", success=True),
        PhaseResult(phase="adversarial", success=True, skipped=True),
    ]
    assert report_of(config, results) == ("PASS", "phases", "MEDIUM")


def test_a_workflow_that_halts_does_nothing_after_a_failure() -> None:
    config = make_config(*NAMES, halt_on_failure=True)
    results = play(config, lambda phase, _: phase != "inventory")
    assert [one.phase for one in results] == ["inventory"]
    assert report_of(config, results)[0] == "FAIL"


def test_what_was_done_without_a_model_is_of_low_confidence() -> None:
    config = make_config("adversarial")
    results = [PhaseResult(phase="adversarial", success=True, artifacts={"withoutModel": True})]
    assert report_of(config, results) == ("PASS", "judge", "LOW")


def test_a_report_adds_up() -> None:
    config = make_config("inventory", "sync", "adversarial")
    high = Finding(claim="a", contradiction="b", severity="high")
    results = (
        PhaseResult(phase="inventory", success=True, artifacts={"documentsScanned": 4}),
        PhaseResult(phase="sync", success=True, artifacts={"documentsUpdated": 2}),
        PhaseResult(phase="adversarial", success=False, findings=(high, high)),
        PhaseResult(phase="sync", success=True, iteration=1, artifacts={"documentsUpdated": 1}),
        PhaseResult(phase="adversarial", success=False, iteration=1, findings=(high,)),
    )
    run = WorkflowRun(id=WorkflowRunId("w1"), config=config, results=results, started_at=NOW_MS)
    summary = make_report(run, now_ms=NOW_MS).summary
    assert (summary.documents_scanned, summary.documents_updated) == (4, 3)
    assert (summary.findings_total, summary.findings_by_severity["high"]) == (1, 1)


@given(
    phases=st.lists(st.sampled_from(NAMES), unique=True, min_size=1),
    verdicts=st.lists(st.booleans(), min_size=1, max_size=20),
    iterations=st.integers(0, 10),
    halts=st.booleans(),
    cut=st.integers(0, 30),
)
def test_every_workflow_ends_and_goes_on_the_same_from_any_point(
    phases: list[str], verdicts: list[bool], iterations: int, halts: bool, cut: int
) -> None:
    config = make_config(*phases, max_iterations=iterations, halt_on_failure=halts)
    results = play(config, lambda _, number: verdicts[number % len(verdicts)])
    judged = [one for one in results if one.phase == "adversarial"]
    assert len(judged) <= 1 + iterations
    assert [one.phase for one in results if one.iteration == 0] == phases[
        : len([one for one in results if one.iteration == 0])
    ]
    if cut < len(results):
        step = next_step(config, results[:cut])
        assert step is not None
        assert (step.phase, step.iteration) == (results[cut].phase, results[cut].iteration)
    assert report_of(config, results)[0] in ("PASS", "FAIL")
