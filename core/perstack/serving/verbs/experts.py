"""The verbs of Experts and their jobs."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Final

from pydantic import Field

from perstack.config.limits import MAX_STEPS, QUERY_LENGTH
from perstack.domain.ids import CheckpointId, ExpertKey, JobId
from perstack.domain.job_views import ExpertList, JobReport, JobStanding
from perstack.serving.jobs import continuation
from perstack.serving.verbs.verb import Asked, Call, Nothing, Verb

if TYPE_CHECKING:
    from perstack.serving.jobs import ServedJob
    from perstack.serving.verbs.following import Following

_ID_LENGTH: Final = 128
Id = Annotated[str, Field(min_length=1, max_length=_ID_LENGTH)]
Text = Annotated[str, Field(min_length=1, max_length=QUERY_LENGTH)]
Steps = Annotated[int | None, Field(ge=MAX_STEPS[0], le=MAX_STEPS[1])]

_HINTS: Final[dict[JobStanding, str]] = {
    "running": "it is at work: job_get says how it stands",
    "waiting": "a person decides in the cockpit (perstack); then the job goes on by itself",
    "paused": "a person resumes it: perstack agent resume",
    "asks": "ask the user, then call job_continue with the answer",
    "stopped": "job_continue goes on from its last checkpoint",
    "lost": "no process drives it any more; job_continue goes on from its last checkpoint",
    "completed": "job_continue with a text goes on with the conversation",
    "failed": "job_continue tries again from its last checkpoint",
    "limit": "job_continue with a larger maxSteps goes on, unless a budget is used up",
}


class RunExpert(Asked):
    """Whom to ask what."""

    expert: Annotated[str, Field(min_length=1, max_length=600)]
    """Key of the Expert: one that expert_list names, or one of the registry"""
    query: Text
    """What to do"""
    max_steps: Steps = None
    """How many steps the job may take; the project's limit unless given"""
    background: bool = False
    """Return at once with the jobId; job_get says how it stands"""


class WhichJob(Asked):
    """A job."""

    job_id: Id
    """Job ID, or at least its first 4 characters"""


class ContinueJob(Asked):
    """What to go on with."""

    job_id: Id
    """Job ID, or at least its first 4 characters"""
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
    background: bool = False
    """Return at once; job_get says how it stands"""


async def list_(call: Call, _: Nothing) -> ExpertList:
    """Return the project's Experts, then the built-in ones that it has none of the same key for."""
    return call.served.experts.listed()


async def run(call: Call, asked: RunExpert) -> JobReport:
    """Start a job, and follow it to its end."""
    from perstack.serving.verbs.following import followed

    limit = call.served.runtime.project.config.settings.max_steps
    async with followed(call, asked.max_steps or limit) as following:
        job = await call.jobs.start(
            ExpertKey(asked.expert),
            asked.query,
            max_steps=asked.max_steps,
            on_event=following.hear,
        )
        return await _ended(call, following, job, leave=asked.background)


async def get(call: Call, asked: WhichJob) -> JobReport:
    """Return how a job stands, whichever process drives it."""
    from perstack.services.looking import find_job

    history = call.served.runtime.history
    return await _report(call, await find_job(history, asked.job_id))


async def go_on(call: Call, asked: ContinueJob) -> JobReport:
    """Go on with a job, and follow it to its end."""
    from perstack.services.looking import find_job
    from perstack.serving.verbs.following import followed

    history = call.served.runtime.history
    wanted = continuation(
        JobId(asked.job_id),
        text=asked.text,
        answer=asked.answer,
        from_checkpoint=asked.from_checkpoint,
        max_steps=asked.max_steps,
    )
    job_id = await find_job(history, asked.job_id)
    limit = asked.max_steps or (await history.get_job(job_id)).max_steps
    async with followed(call, limit) as following:
        whole = replace(wanted, job_id=job_id)
        job = await call.jobs.go_on(whole, on_event=following.hear)
        return await _ended(call, following, job, leave=asked.background)


async def _ended(call: Call, following: Following, job: ServedJob, *, leave: bool) -> JobReport:
    report = await _report(call, await following.end(job, leave=leave))
    hint = report.hint if following.hint is None else f"{following.hint}; {report.hint}"
    return report.model_copy(update={"hint": hint, "warnings": job.warnings})


async def _report(call: Call, job_id: JobId) -> JobReport:
    from perstack.services.job_reports import report_job

    runtime = call.served.runtime
    report = await report_job(runtime.history, runtime.consensus, job_id)
    return report.model_copy(update={"hint": _HINTS[report.state]})


EXPERT_VERBS: Final = (
    Verb(
        "expert_list",
        "List the Experts that work can be handed to: the project's and the built-in ones.",
        Nothing,
        ExpertList,
        list_,
    ),
    Verb(
        "expert_run",
        "Hand work to an Expert. It works in the project's folder with its own tools, may delegate,"
        " and may wait for a person's decision; progress says what it does. Returns how it ended,"
        " and a jobId to go on with.",
        RunExpert,
        JobReport,
        run,
        effect="destroys",
        outside=True,
    ),
    Verb(
        "job_get",
        "Get how a job stands: its result, the question it asks, the decision it waits for.",
        WhichJob,
        JobReport,
        get,
    ),
    Verb(
        "job_continue",
        "Go on with a job: answer its question, say what next, or resume it from a checkpoint.",
        ContinueJob,
        JobReport,
        go_on,
        effect="destroys",
        outside=True,
    ),
)
