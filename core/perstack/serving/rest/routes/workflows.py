"""/api/v1/workflows: what can be started, and what was, in the server's background."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Path, Query
from pydantic import Field, JsonValue

from perstack.domain.ids import SessionId
from perstack.domain.workflow_views import (
    WorkflowDetail,
    WorkflowKind,
    WorkflowStarted,
    WorkflowSummary,
    workflow_detail,
    workflow_started,
    workflow_summary,
)
from perstack.domain.workflows import WorkflowRunId
from perstack.serving.backend import Served
from perstack.serving.jobs import ServedJobs
from perstack.serving.rest.context import Jobs, Services, needs
from perstack.serving.rest.envelope import Envelope, ok
from perstack.serving.rest.parameters import ID_LENGTH, Body, Limit

router = APIRouter(prefix="/workflows", tags=["workflows"])
READS = Depends(needs("workflows", "read"))
WRITES = Depends(needs("workflows", "write"))

RunPath = Annotated[WorkflowRunId, Path(alias="id", min_length=1, max_length=ID_LENGTH)]


class StartWorkflow(Body):
    """Which workflow, and what it is told."""

    workflow: Annotated[str, Field(min_length=1, max_length=100)]
    """Its id, as the list has it"""
    config: dict[str, JsonValue] | None = None
    """Its options, such as docs and src of doc-sync"""
    session_id: Annotated[SessionId | None, Field(min_length=1, max_length=ID_LENGTH)] = None
    """The session that it belongs to"""


@router.get("", dependencies=[READS])
async def list_workflows(services: Services) -> Envelope[tuple[WorkflowKind, ...]]:
    """List the workflows that can be started."""
    return ok(
        tuple(
            WorkflowKind(id=one.id, name=one.name, needs_model=one.needs_model)
            for one in services.coordination.workflows.available()
        )
    )


@router.post("", dependencies=[WRITES], status_code=202)
async def start_workflow(
    services: Services, jobs: Jobs, body: StartWorkflow
) -> Envelope[WorkflowStarted]:
    """Start a workflow; it goes on in the server, whoever listens."""
    jobs.check_room()
    workflows = services.coordination.workflows
    run = await workflows.create(body.workflow, body.config or {}, session_id=body.session_id)
    _drive(jobs, run.id)
    return ok(workflow_started(run))


@router.get("/running", dependencies=[READS])
async def list_runs(
    services: Services,
    limit: Limit = 100,
    every: Annotated[
        bool, Query(alias="all", description="Also those that have ended, of the newest.")
    ] = False,
) -> Envelope[tuple[WorkflowSummary, ...]]:
    """List the runs that are at work, newest first."""
    found = await services.coordination.workflows.list(limit=limit)
    return ok(tuple(workflow_summary(one) for one in found if every or one.status == "running"))


@router.get("/{id}", dependencies=[READS])
async def get_run(services: Services, run_id: RunPath) -> Envelope[WorkflowDetail]:
    """Return a run, with its phases' results and its report."""
    return ok(workflow_detail(await services.coordination.workflows.get(run_id)))


@router.post("/{id}/resume", dependencies=[WRITES], status_code=202)
async def resume_run(services: Services, jobs: Jobs, run_id: RunPath) -> Envelope[WorkflowStarted]:
    """Go on with a run that failed, or whose process died; nothing that was done is repeated."""
    run = await services.coordination.workflows.get(run_id)
    _drive(jobs, run_id)
    return ok(workflow_started(run))


@router.post("/{id}/abort", dependencies=[WRITES])
async def abort_run(services: Services, run_id: RunPath) -> Envelope[WorkflowSummary]:
    """End a run, whoever drives it."""
    return ok(workflow_summary(await services.coordination.workflows.abort(run_id)))


def _drive(jobs: ServedJobs, run_id: WorkflowRunId) -> None:
    async def work(served: Served) -> object:
        return await served.coordination.workflows.resume(run_id)

    jobs.spawn(f"workflow {run_id}", work)
