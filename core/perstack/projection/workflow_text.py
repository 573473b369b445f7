"""Workflows and their reports as lines for a reader, in which nothing acts on a terminal."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from pydantic import JsonValue

from perstack.domain.hooks import WorkflowTrigger
from perstack.domain.workflows import (
    Finding,
    PhaseResult,
    WorkflowReport,
    WorkflowRun,
    latest,
)
from perstack.projection.inert import inert
from perstack.projection.log_header import moment
from perstack.projection.table_text import block, field, in_columns

NO_RUNS: Final = "No workflow was run yet."
NO_TRIGGERS: Final = "No triggers."
_RUN_HEAD: Final = ("ID", "WORKFLOW", "STATUS", "PHASES", "VERDICT", "STARTED")
_PHASE_HEAD: Final = ("PHASE", "TIME", "RESULT", "FINDINGS", "SECONDS")
_TRIGGER_HEAD: Final = ("ID", "NAME", "WORKFLOW")


def run_rows(runs: Sequence[WorkflowRun]) -> Iterator[str]:
    """Yield a heading and a line a run; a sentence where there are none."""
    if not runs:
        yield NO_RUNS
        return
    yield from in_columns([_RUN_HEAD, *map(_run_row, runs)])


def run_lines(run: WorkflowRun) -> Iterator[str]:
    """Yield how a run stands: its report, or the phases that were done."""
    if run.report is not None:
        yield from report_lines(run.report)
        return
    yield field("Run", run.id)
    yield field("Workflow", run.config.id)
    yield field("Status", run.status)
    yield field("Started", moment(run.started_at))
    if run.error is not None:
        yield field("Error", run.error)
    if run.results:
        yield from in_columns([_PHASE_HEAD, *map(_phase_row, run.results)])


def report_lines(report: WorkflowReport) -> Iterator[str]:
    """Yield the verdict, each phase, and what was found and is left."""
    by = "the judging phase" if report.verdict_by == "judge" else "all phases together"
    yield field("Verdict", f"{report.verdict} by {by}, confidence {report.confidence}")
    yield field("Workflow", report.workflow)
    yield field("Run", report.run_id)
    yield field("Duration", f"{report.duration / 1_000:.2f}s")
    summary = report.summary
    yield field(
        "Documents",
        f"{summary.documents_scanned} scanned, {summary.documents_updated} updated",
    )
    yield from in_columns([_PHASE_HEAD, *map(_phase_row, report.phases)])
    left = [one for result in latest(report.phases).values() for one in result.findings]
    if left:
        yield f"{len(left)} finding{'' if len(left) == 1 else 's'} left"
    for finding in left:
        yield from _finding_lines(finding)


def trigger_rows(triggers: Sequence[WorkflowTrigger]) -> Iterator[str]:
    """Yield a heading and a line a trigger; a sentence where there are none."""
    if not triggers:
        yield NO_TRIGGERS
        return
    rows = [(one.id, one.name, one.workflow_id) for one in triggers]
    yield from in_columns([_TRIGGER_HEAD, *rows])


def progress_line(event: str, payload: Mapping[str, JsonValue]) -> str | None:
    """Return what is said of something that happened to a run, None for what says nothing new."""
    match event:
        case "phase:start":
            again = f", repair {payload.get('iteration')}" if payload.get("iteration") else ""
            return f"Phase {payload.get('phase')}{again}."
        case "finding":
            finding = Finding.model_validate(payload.get("finding"))
            return f"Found [{finding.severity}] {finding.claim}: {finding.contradiction}"
        case _:
            return None


def _run_row(run: WorkflowRun) -> tuple[str, ...]:
    verdict = "-" if run.report is None else run.report.verdict
    done = str(len(run.results))
    return run.id, run.config.id, run.status, done, verdict, moment(run.started_at)


def _phase_row(result: PhaseResult) -> tuple[str, ...]:
    state = "skipped" if result.skipped else "done" if result.success else "failed"
    time = "first" if result.iteration == 0 else f"repair {result.iteration}"
    seconds = f"{result.duration / 1_000:.2f}"
    return result.phase, time, state, str(len(result.findings)), seconds


def _finding_lines(finding: Finding) -> Iterator[str]:
    place = "" if finding.file is None else f" ({finding.file}"
    if place:
        place += ")" if finding.line is None else f":{finding.line})"
    yield inert(f"  [{finding.severity}] {finding.claim}{place}", newlines=False)
    yield from block(finding.contradiction)
