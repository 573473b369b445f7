"""Jobs, runs and checkpoints as lists show them."""

from __future__ import annotations

from pydantic import JsonValue

from perstack.domain.base import Model
from perstack.domain.ids import (
    AgentId,
    CheckpointId,
    ExpertKey,
    IdentityId,
    JobId,
    RunId,
    SessionId,
)
from perstack.domain.job_views import JobStanding
from perstack.domain.jobs import Job, RunSetting
from perstack.domain.moments import Moment


class JobLine(Model):
    """A job. `cost` is in USD and `tokens` counts all; with `partial` it was more.

    `service`: a service asked for it (a review, say), and no user.
    """

    job_id: JobId
    run_id: RunId
    expert: ExpertKey
    state: JobStanding
    steps: int
    max_steps: int
    tokens: int
    cost: float
    partial: bool
    service: bool
    started_at: Moment
    finished_at: Moment | None
    last_activity_at: Moment


class RunLine(Model):
    """A run of a job. `parent_run_id` is the run that it was forked from or delegated by."""

    run_id: RunId
    expert: ExpertKey
    query: str | None
    parent_run_id: RunId | None
    from_checkpoint_id: CheckpointId | None
    delegated: bool
    agent_id: AgentId | None
    session_id: SessionId | None
    identity_id: IdentityId | None
    started_at: Moment


class CheckpointLine(Model):
    """A point that a job can go on from. `made_by` is the type of the event that made it."""

    checkpoint_id: CheckpointId
    run_id: RunId
    expert: ExpertKey
    step_number: int
    made_by: str
    created_at: Moment


class RunEvents(Model):
    """Some of a run's events, in order, as `perstack log --json` prints them.

    `last_seq` is what to ask for events after, None when there were none; `more`: there may be.
    """

    events: tuple[dict[str, JsonValue], ...]
    last_seq: int | None
    more: bool


def job_line(job: Job, state: JobStanding, *, driven_at: int) -> JobLine:
    """Return a job as lists show it; `driven_at` in Unix ms."""
    return JobLine(
        job_id=job.id,
        run_id=job.coordinator_run_id,
        expert=job.coordinator_expert_key,
        state=state,
        steps=job.total_steps,
        max_steps=job.max_steps,
        tokens=job.usage.total_tokens,
        cost=job.cost.usd,
        partial=job.cost.partial or job.usage.partial,
        service=job.service,
        started_at=job.started_at,
        finished_at=job.finished_at,
        last_activity_at=driven_at,
    )


def run_line(setting: RunSetting) -> RunLine:
    """Return a run as lists show it."""
    by, parent = setting.delegated_by, setting.parent
    source = by or parent
    return RunLine(
        run_id=setting.run_id,
        expert=setting.expert_key,
        query=setting.query,
        parent_run_id=None if source is None else source.run_id,
        from_checkpoint_id=None if source is None else source.checkpoint_id,
        delegated=by is not None,
        agent_id=setting.agent_id,
        session_id=setting.session_id,
        identity_id=setting.identity_id,
        started_at=setting.started_at,
    )
