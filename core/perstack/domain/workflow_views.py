"""What is told of workflows and their runs: the same, with times that say so."""

from __future__ import annotations

from pydantic import JsonValue

from perstack.domain.base import Model
from perstack.domain.ids import SessionId
from perstack.domain.moments import Moment
from perstack.domain.workflows import (
    PhaseResult,
    WorkflowReport,
    WorkflowRun,
    WorkflowRunId,
    WorkflowStatus,
    WorkflowVerdict,
)


class WorkflowKind(Model):
    """A workflow that can be started."""

    id: str
    name: str
    needs_model: bool


class WorkflowStarted(Model):
    """That a workflow is at work in the server."""

    workflow_id: WorkflowRunId
    workflow: str
    status: WorkflowStatus


class WorkflowSummary(Model):
    """A run of a workflow as lists show it. `verdict` is None until there is a report."""

    id: WorkflowRunId
    workflow: str
    status: WorkflowStatus
    session_id: SessionId | None
    phases_done: int
    verdict: WorkflowVerdict | None
    error: str | None
    started_at: Moment
    completed_at: Moment | None


class WorkflowReportView(WorkflowReport):
    """How a workflow ended."""

    started_at: Moment
    completed_at: Moment


class WorkflowDetail(WorkflowSummary):
    """A run of a workflow, with the results of its phases so far and its report."""

    config: dict[str, JsonValue]
    phases: tuple[str, ...]
    results: tuple[PhaseResult, ...]
    report: WorkflowReportView | None


def workflow_started(run: WorkflowRun) -> WorkflowStarted:
    """Return that a run has begun."""
    return WorkflowStarted(workflow_id=run.id, workflow=run.config.id, status=run.status)


def workflow_summary(run: WorkflowRun) -> WorkflowSummary:
    """Return a run as lists show it."""
    return WorkflowSummary(
        id=run.id,
        workflow=run.config.id,
        status=run.status,
        session_id=run.session_id,
        phases_done=len(run.results),
        verdict=None if run.report is None else run.report.verdict,
        error=run.error,
        started_at=run.started_at,
        completed_at=run.completed_at,
    )


def workflow_detail(run: WorkflowRun) -> WorkflowDetail:
    """Return a run, whole."""
    brief = workflow_summary(run)
    report = None
    if run.report is not None:
        told = {name: getattr(run.report, name) for name in WorkflowReport.model_fields}
        report = WorkflowReportView(**told)
    return WorkflowDetail(
        **{name: getattr(brief, name) for name in WorkflowSummary.model_fields},
        config=run.config.options,
        phases=run.config.phases,
        results=run.results,
        report=report,
    )
