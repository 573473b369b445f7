"""/api/v1/consensus: what waits for a decision, and deciding it."""

from __future__ import annotations

from typing import Annotated, Final, Literal

from fastapi import APIRouter, Depends, Path, Query
from pydantic import Field, JsonValue

from perstack.domain.base import Model
from perstack.domain.consensus_views import (
    CheckpointDetail,
    CheckpointSummary,
    CheckReport,
    check_report,
    checkpoint_detail,
    checkpoint_summary,
)
from perstack.domain.ids import ConsensusId, SubtaskId, TaskId
from perstack.domain.moments import Moment
from perstack.domain.settings import ConsensusSettings, RiskLevel
from perstack.domain.tasks import MAX_INPUT_CHARS, MAX_TYPE_CHARS
from perstack.errors import UsageError
from perstack.ports.consensus import AuditEntry, AuditEvent
from perstack.services.reviewing import Reviewer, ReviewStart
from perstack.serving.rest.context import Principal, Services, needs
from perstack.serving.rest.envelope import Envelope, Page, ok, page
from perstack.serving.rest.parameters import ID_LENGTH, MOST_LISTED, Body, Limit, Offset

router = APIRouter(prefix="/consensus", tags=["consensus"])
_may_decide = needs("consensus", "write")
READS = Depends(needs("consensus", "read"))
WRITES = Depends(_may_decide)

Decider = Annotated[Principal, WRITES]
CheckpointPath = Annotated[ConsensusId, Path(alias="id", min_length=1, max_length=ID_LENGTH)]
Named = Annotated[str | None, Field(min_length=1, max_length=200, pattern=r"\S")]
_FEEDBACK_CHARS: Final = 20_000


def _enabled(services: Services) -> Reviewer:
    """Give the reviewer, which is there with `[consensus] enabled`.

    Raises:
        UsageError: it is not.
    """
    reviewer = services.coordination.reviewer
    if reviewer is None:
        raise UsageError(
            "Consensus service not available", hint="set enabled = true in [consensus]"
        )
    return reviewer


Enabled = Annotated[Reviewer, Depends(_enabled)]
ENABLED = Depends(_enabled)


class CheckTask(Body):
    """A task that is not made yet."""

    agent_type: Annotated[str, Field(min_length=1, max_length=MAX_TYPE_CHARS)]
    """Who would do it"""
    input: Annotated[str | None, Field(max_length=MAX_INPUT_CHARS)] = None
    """What to do"""
    parent_task_id: Annotated[TaskId | None, Field(min_length=1, max_length=ID_LENGTH)] = None
    """The task that it would be part of"""
    risk_level: RiskLevel | None = None
    """Raises the estimated risk; never lowers it"""


class Decide(Body):
    """Who decides, and what they say."""

    reviewed_by: Named = None
    """Counts where nobody is signed in; else who is signed in decides"""
    feedback: Annotated[str | None, Field(max_length=_FEEDBACK_CHARS)] = None
    """What the requester is told; where a tool server asks something, the answer"""


class Reject(Decide):
    """Who rejects, why, and how much of it."""

    rejected_subtask_ids: Annotated[
        tuple[Annotated[SubtaskId, Field(min_length=1, max_length=ID_LENGTH)], ...],
        Field(max_length=MOST_LISTED),
    ] = ()
    """Only these are rejected, the others approved; without any, all of it"""


class CheckpointEvent(Model):
    """What happened to a checkpoint, and by whom."""

    checkpoint_id: ConsensusId
    event_type: AuditEvent
    actor_id: str
    actor_type: Literal["agent", "human", "system"]
    details: dict[str, JsonValue]
    created_at: Moment


class Expired(Model):
    """What was overdue."""

    expired: int
    checkpoints: tuple[CheckpointSummary, ...]


@router.get("/config", dependencies=[READS])
async def show_config(services: Services) -> Envelope[ConsensusSettings]:
    """Show the rules, also where they are not enabled."""
    return ok(services.coordination.checkpoints.config())


@router.get("/pending", dependencies=[READS, ENABLED])
async def list_pending(
    services: Services, limit: Limit = 50, offset: Offset = 0
) -> Page[CheckpointSummary]:
    """List what waits, oldest first."""
    found = await services.coordination.checkpoints.list_pending(limit=limit, offset=offset)
    shown = tuple(checkpoint_summary(one) for one in found.checkpoints)
    return page(shown, limit=limit, offset=offset, total=found.total)


@router.post("/check", dependencies=[READS, ENABLED])
async def check_task(services: Services, body: CheckTask) -> Envelope[CheckReport]:
    """Say whether a task would have to wait. Changes nothing."""
    checkpoints = services.coordination.checkpoints
    found = await checkpoints.check(
        body.agent_type, body.input, body.parent_task_id, body.risk_level
    )
    return ok(check_report(found, checkpoints.config()))


@router.post("/expire", dependencies=[WRITES, ENABLED])
async def expire(services: Services) -> Envelope[Expired]:
    """Expire what is pending and overdue; with `autoReject` it is rejected."""
    settled = await services.coordination.checkpoints.expire()
    shown = tuple(checkpoint_summary(one) for one in settled)
    return ok(Expired(expired=len(shown), checkpoints=shown))


@router.get("/{id}", dependencies=[READS, ENABLED])
async def get_checkpoint(
    services: Services, checkpoint_id: CheckpointPath
) -> Envelope[CheckpointDetail]:
    """Return a checkpoint, whole."""
    return ok(checkpoint_detail(await services.coordination.checkpoints.get(checkpoint_id)))


@router.get("/{id}/events", dependencies=[READS, ENABLED])
async def list_events(
    services: Services,
    checkpoint_id: CheckpointPath,
    limit: Annotated[int, Query(ge=1, le=MOST_LISTED)] = 100,
) -> Envelope[tuple[CheckpointEvent, ...]]:
    """List what happened to a checkpoint, in order: the first `limit` entries."""
    entries = await services.coordination.checkpoints.events(checkpoint_id)
    return ok(tuple(_event(checkpoint_id, one) for one in entries[:limit]))


@router.put("/{id}/approve", dependencies=[WRITES, ENABLED])
async def approve(
    services: Services,
    principal: Decider,
    checkpoint_id: CheckpointPath,
    body: Decide | None = None,
) -> Envelope[CheckpointDetail]:
    """Approve all of it: the run that waits goes on, or the tasks are made."""
    said = body or Decide()
    decided = await services.coordination.checkpoints.approve(
        checkpoint_id,
        reviewed_by=principal.known_as(said.reviewed_by),
        feedback=said.feedback,
        # The server drives jobs itself; a person asked it to.
        allow_self=True,
    )
    return ok(checkpoint_detail(decided))


@router.put("/{id}/reject", dependencies=[WRITES, ENABLED])
async def reject(
    services: Services,
    principal: Decider,
    checkpoint_id: CheckpointPath,
    body: Reject | None = None,
) -> Envelope[CheckpointDetail]:
    """Reject all of it, or the named subtasks."""
    said = body or Reject()
    decided = await services.coordination.checkpoints.reject(
        checkpoint_id,
        reviewed_by=principal.known_as(said.reviewed_by),
        feedback=said.feedback,
        rejected_subtask_ids=said.rejected_subtask_ids,
        allow_self=True,
    )
    return ok(checkpoint_detail(decided))


@router.post("/{id}/start-review", dependencies=[WRITES], status_code=202)
async def start_review(
    services: Services, reviewer: Enabled, checkpoint_id: CheckpointPath
) -> Envelope[ReviewStart]:
    """Have a pending checkpoint reviewed by an Expert; with the strategy human people decide."""
    return ok(await reviewer.start_review(checkpoint_id, allow_self=True))


def _event(checkpoint_id: ConsensusId, entry: AuditEntry) -> CheckpointEvent:
    return CheckpointEvent(
        checkpoint_id=checkpoint_id,
        event_type=entry.event,
        actor_id=entry.actor,
        actor_type=entry.actor_type,
        details=dict(entry.details),
        created_at=entry.at,
    )
