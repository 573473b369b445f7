"""What front doors give back of tasks, in the seed's shapes: dump them without None values."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from perstack.domain.base import Model
from perstack.domain.dispatch import DispatchDecision
from perstack.domain.drift import DriftAction, DriftResult, DriftVerdict
from perstack.domain.ids import AgentId, ConsensusId, SessionId, TaskId
from perstack.domain.moments import Moment
from perstack.domain.settings import RiskLevel
from perstack.domain.tasks import Task, TaskRelationship, TaskStatus


class TaskSummary(Model):
    """A task as lists show it."""

    id: TaskId
    agent_type: str
    status: TaskStatus
    has_input: bool
    has_output: bool
    created_at: Moment
    completed_at: Moment | None = None
    session_id: SessionId | None = None
    agent_id: AgentId | None = None
    parent_task_id: TaskId | None = None


class CreatedTask(Model):
    """A task that was just made."""

    id: TaskId
    agent_type: str
    status: TaskStatus
    input: str | None = None
    created_at: Moment
    session_id: SessionId | None = None
    parent_task_id: TaskId | None = None
    risk_level: RiskLevel | None = None
    depth: int = 0
    priority: int | None = None


class DriftNote(Model):
    """What the drift check of a new task found; `verdict` and `reason` unless it was judged."""

    is_drift: bool
    highest_similarity: float
    most_similar_task_id: TaskId | None = None
    most_similar_task_input: str | None = None
    action: DriftAction
    verdict: DriftVerdict | None = None
    reason: str | None = None


class DispatchNote(Model):
    """How the type of a new task was chosen."""

    agent_type: str
    confidence: float
    reasoning: str
    cached: bool


class CheckpointNote(Model):
    """The consensus checkpoint that a new task waits at. `task_id` is the id it will have."""

    id: ConsensusId
    task_id: str
    risk_level: RiskLevel
    status: str
    expires_at: Moment | None = None


class TaskCreation(Model):
    """What came of creating a task: the task, or `error`, or the checkpoint it waits at.

    `code` is that of the error that other doors answer with, as of every error.
    """

    success: bool
    task: CreatedTask | None = None
    dispatch: DispatchNote | None = None
    drift: DriftNote | None = None
    error: str | None = None
    code: str | None = None
    consensus_required: bool | None = None
    checkpoint_id: ConsensusId | None = None
    status: str | None = None
    reason: str | None = None
    checkpoint: CheckpointNote | None = None


class Assignment(Model):
    """A task that was given to an agent."""

    success: bool = True
    message: Literal["Task assigned and running"] = "Task assigned and running"
    task: TaskSummary


class CompletedTask(Model):
    """A task that ended."""

    id: TaskId
    status: TaskStatus
    has_output: bool


class Completion(Model):
    """What came of completing a task."""

    success: bool = True
    task: CompletedTask


class TaskList(Model):
    """Some tasks."""

    count: int
    tasks: tuple[TaskSummary, ...]


class RelationshipList(Model):
    """A task's relationships."""

    success: bool = True
    count: int
    relationships: tuple[TaskRelationship, ...]


def summary_of(task: Task) -> TaskSummary:
    """Return a task as lists show it."""
    return TaskSummary(
        id=task.id,
        agent_type=task.agent_type,
        status=task.status,
        has_input=bool(task.input),
        has_output=bool(task.output),
        created_at=task.created_at,
        completed_at=task.completed_at,
        session_id=task.session_id,
        agent_id=task.agent_id,
        parent_task_id=task.parent_task_id,
    )


def created_of(task: Task) -> CreatedTask:
    """Return a task as its creator sees it."""
    return CreatedTask(**{name: getattr(task, name) for name in CreatedTask.model_fields})


def assignment_of(task: Task) -> Assignment:
    """Return what came of assigning a task."""
    return Assignment(task=summary_of(task))


def list_of(tasks: Sequence[Task]) -> TaskList:
    """Return tasks as lists show them."""
    return TaskList(count=len(tasks), tasks=tuple(summary_of(one) for one in tasks))


def relationships_of(found: Sequence[TaskRelationship]) -> RelationshipList:
    """Return a task's relationships."""
    return RelationshipList(count=len(found), relationships=tuple(found))


def completion_of(task: Task) -> Completion:
    """Return what came of completing a task."""
    return Completion(
        task=CompletedTask(id=task.id, status=task.status, has_output=bool(task.output))
    )


def drift_note(result: DriftResult, *, whole: bool) -> DriftNote:
    """Return what is said of a check; `whole`: with the input that was repeated."""
    judged = result.verdict == "judged"
    return DriftNote(
        is_drift=result.is_drift,
        highest_similarity=result.highest_similarity,
        most_similar_task_id=result.most_similar_task_id,
        most_similar_task_input=result.most_similar_task_input if whole else None,
        action=result.action,
        verdict=None if judged else result.verdict,
        reason=None if judged else result.reason,
    )


def dispatch_note(decision: DispatchDecision) -> DispatchNote:
    """Return what is said of a dispatch."""
    return DispatchNote(
        agent_type=decision.agent_type,
        confidence=decision.confidence,
        reasoning=decision.reasoning,
        cached=decision.cached,
    )
