"""/api/v1/jobs, with their runs and checkpoints: jobs of this server and of any other process."""

from __future__ import annotations

from typing import Annotated, Final

from fastapi import APIRouter, Depends, Path, Query
from pydantic import Field, JsonValue

from perstack.config.limits import MAX_STEPS, QUERY_LENGTH
from perstack.domain.base import Model
from perstack.domain.ids import AgentId, CheckpointId, ExpertKey, JobId, RunId, check_path_id
from perstack.domain.job_lines import CheckpointLine, JobLine, RunEvents, RunLine, run_line
from perstack.domain.job_views import JobReport, JobStanding
from perstack.errors import ConflictError
from perstack.ports.history import JobLook
from perstack.services.job_checkpoints import show_checkpoint
from perstack.services.job_pages import page_of_checkpoints, page_of_events, page_of_jobs
from perstack.services.job_reports import report_job
from perstack.serving.backend import Served
from perstack.serving.jobs import continuation
from perstack.serving.rest.context import Jobs, Principal, Services, needs
from perstack.serving.rest.envelope import Envelope, Page, ok, page
from perstack.serving.rest.parameters import FURTHEST, Body, Limit, Offset, Whole

router = APIRouter(prefix="/jobs", tags=["jobs"])
_may_write = needs("jobs", "write")
READS = Depends(needs("jobs", "read"))
WRITES = Depends(_may_write)
_ID_LENGTH: Final = 128
_EVENTS: Final = 500
_HINTS: Final[dict[JobStanding, str]] = {
    "running": "GET it again, or follow /events",
    "waiting": "a person decides: PUT /api/v1/consensus/{id}/approve or reject, or the cockpit",
    "paused": "a person resumes it: POST /api/v1/agents/{id}/resume",
    "asks": "POST continue with an answer",
    "stopped": "POST continue goes on from its last checkpoint",
    "lost": "no process drives it any more; POST continue goes on from its last checkpoint",
    "completed": "POST continue with a text goes on with the conversation",
    "failed": "POST continue tries again from its last checkpoint",
    "limit": "POST continue with a larger maxSteps goes on, unless a budget is used up",
}

Writer = Annotated[Principal, WRITES]
JobPath = Annotated[JobId, Path(alias="id", min_length=1, max_length=_ID_LENGTH)]
RunPath = Annotated[RunId, Path(alias="runId", min_length=1, max_length=_ID_LENGTH)]
CheckpointPath = Annotated[
    CheckpointId, Path(alias="checkpointId", min_length=1, max_length=_ID_LENGTH)
]
Text = Annotated[str, Field(min_length=1, max_length=QUERY_LENGTH)]
Steps = Annotated[Whole | None, Field(ge=MAX_STEPS[0], le=MAX_STEPS[1])]


class StartJob(Body):
    """Whom to ask what."""

    expert: Annotated[ExpertKey, Field(min_length=1, max_length=600)]
    """Key of the Expert: one of the project, built in, or of the registry"""
    query: Text
    """What to do"""
    max_steps: Steps = None
    """How many steps the job may take; the project's limit unless given"""


class ContinueJob(Body):
    """What to go on with. Without text and answer a job that was stopped just goes on."""

    text: Text | None = None
    """What the user says next"""
    answer: Text | None = None
    """The answer to the question that waits, instead of a text"""
    from_checkpoint: Annotated[CheckpointId | None, Field(min_length=1, max_length=_ID_LENGTH)] = (
        None
    )
    """Go on from this checkpoint of the job instead of from its end"""
    max_steps: Steps = None
    """How many steps the job may have taken in all; as before unless given"""


class JobBegun(Model):
    """That a job is at work in the server. `warnings` are of its Experts of a registry."""

    job_id: JobId
    warnings: tuple[str, ...] = ()


class JobStopping(Model):
    """That a job stops at its next checkpoint. `ordered`: another process was told to."""

    job_id: JobId
    stopping: bool = True
    ordered: bool


@router.get("", dependencies=[READS])
async def list_jobs(
    services: Services, state: JobStanding | None = None, limit: Limit = 50, offset: Offset = 0
) -> Page[JobLine]:
    """List the jobs of the workspace, last driven first."""
    states = frozenset[str]() if state is None else frozenset((state,))
    found, total = await page_of_jobs(
        services.runtime.history, limit=limit, offset=offset, states=states
    )
    return page(tuple(found), limit=limit, offset=offset, total=total)


@router.post("", dependencies=[WRITES], status_code=202)
async def start_job(jobs: Jobs, body: StartJob) -> Envelope[JobBegun]:
    """Start a job; it goes on in the server, whoever listens."""
    job = await jobs.start(body.expert, body.query, max_steps=body.max_steps)
    return ok(JobBegun(job_id=await job.begin(), warnings=job.warnings))


@router.get("/{id}", dependencies=[READS])
async def get_job(services: Services, job_id: JobPath) -> Envelope[JobReport]:
    """Return how a job stands: its result, the question it asks, the decision it waits for."""
    look, runtime = await _look(services, job_id), services.runtime
    report = await report_job(runtime.history, runtime.consensus, look.job.id)
    return ok(report.model_copy(update={"hint": _HINTS[report.state]}))


@router.get("/{id}/runs", dependencies=[READS])
async def list_runs(services: Services, job_id: JobPath) -> Envelope[tuple[RunLine, ...]]:
    """List a job's runs in order of start."""
    await _look(services, job_id)
    settings = await services.runtime.history.list_runs(job_id)
    return ok(tuple(run_line(one) for one in settings))


@router.get("/{id}/runs/{runId}/events", dependencies=[READS])
async def list_events(
    services: Services,
    job_id: JobPath,
    run_id: RunPath,
    after: Annotated[int, Query(ge=-1, le=FURTHEST, description="Only later `seq`s.")] = -1,
    limit: Annotated[int, Query(ge=1, le=_EVENTS)] = 100,
) -> Envelope[RunEvents]:
    """List a run's events in order, as `perstack log --json` prints them."""
    await _look(services, job_id)
    history = services.runtime.history
    return ok(await page_of_events(history, job_id, run_id, after=after, limit=limit))


@router.get("/{id}/checkpoints", dependencies=[READS])
async def list_checkpoints(
    services: Services, job_id: JobPath, limit: Limit = 100, offset: Offset = 0
) -> Page[CheckpointLine]:
    """List the points that a job can go on from, in the order in which they were made."""
    await _look(services, job_id)
    found, total = await page_of_checkpoints(
        services.runtime.history, job_id, limit=limit, offset=offset
    )
    return page(tuple(found), limit=limit, offset=offset, total=total)


@router.get("/{id}/checkpoints/{checkpointId}", dependencies=[READS])
async def get_checkpoint(
    services: Services, job_id: JobPath, checkpoint_id: CheckpointPath
) -> Envelope[dict[str, JsonValue]]:
    """Return a checkpoint with all messages up to it, as Perstack has it."""
    await _look(services, job_id)
    check_path_id("checkpoint id", checkpoint_id)
    return ok(await show_checkpoint(services.runtime.history, job_id, checkpoint_id))


@router.post("/{id}/continue", dependencies=[WRITES], status_code=202)
async def continue_job(
    services: Services, jobs: Jobs, job_id: JobPath, body: ContinueJob | None = None
) -> Envelope[JobBegun]:
    """Go on with a job: answer its question, say what next, or resume it; in the server."""
    said = body or ContinueJob()
    await _look(services, job_id)
    job = await jobs.go_on(
        continuation(
            job_id,
            text=said.text,
            answer=said.answer,
            from_checkpoint=said.from_checkpoint,
            max_steps=said.max_steps,
        )
    )
    return ok(JobBegun(job_id=await job.begin(), warnings=job.warnings))


@router.post("/{id}/stop", dependencies=[WRITES], status_code=202)
async def stop_job(
    services: Services, jobs: Jobs, principal: Writer, job_id: JobPath
) -> Envelope[JobStopping]:
    """Stop a job at a checkpoint, whichever process drives it."""
    look = await _look(services, job_id)
    served = jobs.get(job_id)
    if served is not None:
        served.control.stop("user", by=principal.name)
        return ok(JobStopping(job_id=job_id, ordered=False))
    if not look.alive:
        raise ConflictError("the job is not at work", hint="continue goes on with it")
    await services.coordination.agents.stop(
        AgentId(look.job.coordinator_run_id), by=principal.name, allow_self=True
    )
    return ok(JobStopping(job_id=job_id, ordered=True))


async def _look(services: Served, job_id: JobId) -> JobLook:
    """Return the job with exactly that id."""
    check_path_id("job id", job_id)
    return await services.runtime.history.look_at_job(job_id)
