"""The verbs of consensus: the seed's five.

Who proposed something cannot decide it. A client is known by its connection alone, so what it
caused is kept there (`Client.proposed`, `Client.started`), and a process that belongs to a run is
refused by the service, whatever it calls itself. What escapes both, such as a second connection,
is named in docs/consensus.md.
"""

from __future__ import annotations

from typing import Annotated, Final

from pydantic import Field

from perstack.domain.consensus import LONGEST_PAGE
from perstack.domain.consensus_views import (
    CheckpointList,
    CheckpointReport,
    CheckReport,
    DecisionReport,
    check_report,
    checkpoint_detail,
    checkpoint_list,
    decision_report,
)
from perstack.domain.ids import ConsensusId, SubtaskId, TaskId
from perstack.domain.settings import RiskLevel
from perstack.domain.tasks import MAX_INPUT_CHARS, MAX_TYPE_CHARS
from perstack.errors import DeniedError
from perstack.serving.verbs.verb import Asked, Call, Verb

_NAMED: Final = 100
_SAID_BY: Final = 90


class CheckTask(Asked):
    """A task that is not made yet."""

    agent_type: Annotated[str, Field(min_length=1, max_length=MAX_TYPE_CHARS)]
    """Agent type for this task"""
    input: Annotated[str | None, Field(max_length=MAX_INPUT_CHARS)] = None
    """Task input/description"""
    parent_task_id: TaskId | None = None
    """Parent task ID"""
    risk_level: RiskLevel | None = None
    """Risk level; it can raise what the type and the words give, never lower it"""


class ListPending(Asked):
    """Which part of the list."""

    limit: Annotated[int, Field(ge=1, le=LONGEST_PAGE)] = 50
    """Max checkpoints to return"""
    offset: Annotated[int, Field(ge=0, le=1_000_000_000)] = 0
    """Offset for pagination"""


class WhichCheckpoint(Asked):
    """A checkpoint."""

    checkpoint_id: ConsensusId
    """Checkpoint ID"""


class Approve(Asked):
    """Which checkpoint is approved, and by whom."""

    checkpoint_id: ConsensusId
    """Checkpoint ID"""
    reviewed_by: Annotated[str, Field(min_length=1, max_length=_NAMED, pattern=r"\S")]
    """Reviewer ID; it is written down with the name of the client that says so"""
    feedback: Annotated[str | None, Field(max_length=20_000)] = None
    """Optional feedback; where a tool server asks something, the answer"""


class Reject(Approve):
    """Which checkpoint is rejected, how much of it, and by whom."""

    feedback: Annotated[str | None, Field(max_length=20_000)] = None
    """Rejection reason"""
    rejected_subtask_ids: Annotated[tuple[SubtaskId, ...], Field(max_length=1_000)] = ()
    """Specific subtask IDs to reject (partial rejection); the others are approved"""


async def check(call: Call, asked: CheckTask) -> CheckReport:
    """Say whether it would wait. Changes nothing."""
    checkpoints = call.coordination.checkpoints
    found = await checkpoints.check(
        asked.agent_type, asked.input, asked.parent_task_id, asked.risk_level
    )
    return check_report(found, checkpoints.config())


async def list_pending(call: Call, asked: ListPending) -> CheckpointList:
    """Return what waits, oldest first."""
    page = await call.coordination.checkpoints.list_pending(limit=asked.limit, offset=asked.offset)
    return checkpoint_list(page.checkpoints, page.total)


async def get(call: Call, asked: WhichCheckpoint) -> CheckpointReport:
    """Return one."""
    found = await call.coordination.checkpoints.get(asked.checkpoint_id)
    return CheckpointReport(checkpoint=checkpoint_detail(found))


async def approve(call: Call, asked: Approve) -> DecisionReport:
    """Approve all of it."""
    await _refuse_own(call, asked.checkpoint_id)
    decided = await call.coordination.checkpoints.approve(
        asked.checkpoint_id, reviewed_by=_reviewer(call, asked), feedback=asked.feedback
    )
    return decision_report(decided)


async def reject(call: Call, asked: Reject) -> DecisionReport:
    """Reject all of it, or the named parts."""
    await _refuse_own(call, asked.checkpoint_id)
    decided = await call.coordination.checkpoints.reject(
        asked.checkpoint_id,
        reviewed_by=_reviewer(call, asked),
        feedback=asked.feedback,
        rejected_subtask_ids=asked.rejected_subtask_ids,
    )
    return decision_report(decided)


async def _refuse_own(call: Call, checkpoint_id: ConsensusId) -> None:
    """Refuse a client what it caused: a task that it asked for, a job that it started.

    Raises:
        DeniedError: it did.
        NotFoundError: there is no such checkpoint.
    """
    client = call.client
    found = await call.coordination.checkpoints.get(checkpoint_id)
    if checkpoint_id in client.proposed or found.job_id in client.started:
        raise DeniedError(
            "whoever proposed this cannot decide it",
            hint=f"a person decides: perstack consensus approve {checkpoint_id}, or the cockpit",
        )


def _reviewer(call: Call, asked: Approve) -> str:
    """Return who is written down: the claimed name, and which client claims it.

    A name that a request claims proves nothing, and everything that shows a decision (the audit
    log, the cockpit, `too late` errors) shows this one text: so the claim stands in it as the seed
    has it, and so does what is known, behind it.
    """
    return f"{asked.reviewed_by.strip()} (said {call.client.name[:_SAID_BY]})"


CONSENSUS_VERBS = (
    Verb(
        "consensus_check",
        "Check if a task would require consensus before creation.",
        CheckTask,
        CheckReport,
        check,
        fails_as="success",
    ),
    Verb(
        "consensus_list_pending",
        "List pending consensus checkpoints, oldest first.",
        ListPending,
        CheckpointList,
        list_pending,
        fails_as="success",
    ),
    Verb(
        "consensus_get",
        "Get a consensus checkpoint by ID.",
        WhichCheckpoint,
        CheckpointReport,
        get,
        fails_as="success",
    ),
    Verb(
        "consensus_approve",
        "Approve a consensus checkpoint: what waits at it is done then. Who proposed it cannot.",
        Approve,
        DecisionReport,
        approve,
        effect="destroys",
        fails_as="success",
    ),
    Verb(
        "consensus_reject",
        "Reject a consensus checkpoint, or parts of it. Who proposed it cannot.",
        Reject,
        DecisionReport,
        reject,
        effect="destroys",
        fails_as="success",
    ),
)
