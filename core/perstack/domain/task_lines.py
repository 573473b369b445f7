"""Tasks as the REST door tells of them: short in lists, and what came of creating one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Literal

from perstack.domain.base import Model
from perstack.domain.ids import AgentId, ConsensusId, JobId, SessionId, TaskId
from perstack.domain.moments import Moment
from perstack.domain.settings import RiskLevel
from perstack.domain.task_results import (
    CheckpointNote,
    CreatedTask,
    DispatchNote,
    DriftNote,
    TaskCreation,
)
from perstack.domain.tasks import QueuedTask, QueueState, QueueStatus, Task, TaskStatus

SHOWN_CHARS: Final = 500


class TaskLine(Model):
    """A task as lists show it: of its texts the first 500 characters."""

    id: TaskId
    agent_type: str
    status: TaskStatus
    input: str | None
    output: str | None
    has_input: bool
    has_output: bool
    session_id: SessionId | None
    parent_task_id: TaskId | None
    agent_id: AgentId | None
    job_id: JobId | None
    risk_level: RiskLevel | None
    depth: int
    priority: int | None
    attempts: int
    created_at: Moment
    started_at: Moment | None
    completed_at: Moment | None


class QueueLine(Model):
    """A task's place in the queue; `claimed_by` is who took it."""

    task: TaskLine
    priority: int
    state: QueueState
    enqueued_at: Moment
    claimed_at: Moment | None
    claimed_by: str | None


class QueueReport(Model):
    """The queue: its figures, what comes next, and what was taken from it and is not done."""

    status: QueueStatus
    pending: tuple[QueueLine, ...]
    processing: tuple[QueueLine, ...]


class TaskMade(CreatedTask):
    """A task that was just made, and what was found of it meanwhile."""

    dispatch: DispatchNote | None = None
    drift: DriftNote | None = None


class TaskAwaited(Model):
    """That a task waits for consensus: it is made once somebody approves the checkpoint."""

    consensus_required: Literal[True] = True
    checkpoint_id: ConsensusId
    status: str
    reason: str | None
    checkpoint: CheckpointNote
    dispatch: DispatchNote | None = None
    drift: DriftNote | None = None


def task_line(task: Task) -> TaskLine:
    """Return a task as lists show it."""
    alike = TaskLine.model_fields.keys() - {"input", "output", "has_input", "has_output"}
    return TaskLine(
        **{name: getattr(task, name) for name in alike},
        input=_first(task.input),
        output=_first(task.output),
        has_input=bool(task.input),
        has_output=bool(task.output),
    )


def queue_report(
    status: QueueStatus, pending: Sequence[QueuedTask], processing: Sequence[QueuedTask]
) -> QueueReport:
    """Return the queue as it is shown."""
    return QueueReport(
        status=status,
        pending=tuple(_queued(one) for one in pending),
        processing=tuple(_queued(one) for one in processing),
    )


def made_of(created: TaskCreation) -> TaskMade | None:
    """Return the task that came of it, None when none did."""
    task = created.task
    if task is None:
        return None
    same = {name: getattr(task, name) for name in CreatedTask.model_fields}
    return TaskMade(**same, dispatch=created.dispatch, drift=created.drift)


def awaited_of(created: TaskCreation) -> TaskAwaited | None:
    """Return that it waits for consensus, None when it does not."""
    checkpoint = created.checkpoint
    if checkpoint is None:
        return None
    return TaskAwaited(
        checkpoint_id=checkpoint.id,
        status=checkpoint.status,
        reason=created.reason,
        checkpoint=checkpoint,
        dispatch=created.dispatch,
        drift=created.drift,
    )


def _queued(one: QueuedTask) -> QueueLine:
    return QueueLine(
        task=task_line(one.task),
        priority=one.priority,
        state=one.state,
        enqueued_at=one.enqueued_at,
        claimed_at=one.claimed_at,
        claimed_by=one.claimed_by,
    )


def _first(text: str | None) -> str | None:
    return text if text is None or len(text) <= SHOWN_CHARS else f"{text[:SHOWN_CHARS]}…"
