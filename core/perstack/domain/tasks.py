"""Tasks: what an agent is asked to do, how it may go on, and how tasks relate to each other."""

from __future__ import annotations

from typing import Final, Literal

from pydantic import JsonValue

from perstack.domain.base import Model
from perstack.domain.ids import AgentId, ConsensusId, JobId, RunId, SessionId, TaskId
from perstack.domain.moments import Moment
from perstack.domain.settings import RiskLevel

TaskStatus = Literal["pending", "running", "completed", "failed"]
TaskEnding = Literal["completed", "failed"]
RelationshipType = Literal["parent_of", "derived_from", "depends_on", "supersedes"]
Direction = Literal["outgoing", "incoming", "both"]
QueueState = Literal["queued", "processing"]

LOWEST_PRIORITY: Final = 1
HIGHEST_PRIORITY: Final = 10
DEFAULT_PRIORITY: Final = 5
MAX_ATTEMPTS: Final = 3
MAX_INPUT_CHARS: Final = 1_000_000
MAX_TYPE_CHARS: Final = 200
MAX_OUTPUT_CHARS: Final = 10_000_000
MOST_LISTED: Final = 10_000
GAVE_UP: Final = f"Gave up after {MAX_ATTEMPTS} attempts."

# Nothing leads out of "completed". What leads back to "pending" is requeueing alone.
_MOVES: Final[dict[TaskStatus, frozenset[TaskStatus]]] = {
    "pending": frozenset({"running", "completed", "failed"}),
    "running": frozenset({"pending", "completed", "failed"}),
    "failed": frozenset({"pending"}),
    "completed": frozenset(),
}


class Task(Model):
    """One piece of work. A task made by a delegation has the id of the run that does it.

    `agent_type` is the key of an Expert. `depth` is how many tasks it descends from. `agent_id` is
    who works at it, `attempts` how often somebody took it up, `feedback` what was said of it when
    it was given back. `priority` is that of its place in the queue, None if it never was there.
    """

    id: TaskId
    agent_type: str
    status: TaskStatus = "pending"
    input: str | None = None
    output: str | None = None
    session_id: SessionId | None = None
    parent_task_id: TaskId | None = None
    risk_level: RiskLevel | None = None
    depth: int = 0
    consensus_checkpoint_id: ConsensusId | None = None
    job_id: JobId | None = None
    run_id: RunId | None = None
    agent_id: AgentId | None = None
    priority: int | None = None
    attempts: int = 0
    feedback: str | None = None
    created_at: Moment
    started_at: Moment | None = None
    completed_at: Moment | None = None


class TaskRelationship(Model):
    """That one task is the parent of another, say: `from_task_id` is the earlier one.

    For `parent_of` and `derived_from` that is the ancestor.
    """

    id: str
    from_task_id: TaskId
    to_task_id: TaskId
    relationship_type: RelationshipType
    metadata: dict[str, JsonValue] | None = None
    created_at: Moment


class QueuedTask(Model):
    """A task's place in the queue. `number` counts enqueueings; `claimed_by` is who dequeued it."""

    number: int
    task: Task
    priority: int
    state: QueueState
    enqueued_at: Moment
    claimed_at: Moment | None = None
    claimed_by: str | None = None


class QueueStatus(Model):
    """How many tasks wait in the queue, and how many were taken from it and are not done."""

    queued: int
    processing: int
    total: int


class TaskCounts(Model):
    """How many tasks there are, in all and by status."""

    total: int = 0
    pending: int = 0
    running: int = 0
    completed: int = 0
    failed: int = 0


def sources(wanted: TaskStatus) -> tuple[TaskStatus, ...]:
    """Return the statuses from which a task may become `wanted`."""
    return tuple(current for current in _MOVES if wanted in _MOVES[current])


def lowered(priority: int) -> int:
    """Return the priority of a task that is given back to the queue."""
    return max(priority - 1, LOWEST_PRIORITY)
