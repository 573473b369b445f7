"""What services ask of the tables of tasks, of the queue and of drift; and of consensus."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from pydantic import JsonValue

from perstack.domain.base import Model
from perstack.domain.consensus import ConsensusCheck, ConsensusCheckpoint
from perstack.domain.drift import DriftEvent, DriftMetrics
from perstack.domain.ids import AgentId, JobId, SessionId, TaskId
from perstack.domain.settings import RiskLevel
from perstack.domain.tasks import (
    Direction,
    QueuedTask,
    QueueState,
    QueueStatus,
    RelationshipType,
    Task,
    TaskCounts,
    TaskEnding,
    TaskRelationship,
    TaskStatus,
)


@dataclass(frozen=True, slots=True)
class TaskFilter:
    """Which tasks; None and empty mean any."""

    session_id: SessionId | None = None
    statuses: Sequence[TaskStatus] = ()
    agent_type: str | None = None
    agent_id: AgentId | None = None
    job_id: JobId | None = None
    parent_task_id: TaskId | None = None


@dataclass(frozen=True, slots=True)
class Mark:
    """The vector of a new task: of which embedder, and the vector, None while it is on its way."""

    model: str
    vector: bytes | None = None


@dataclass(frozen=True, slots=True)
class Recorded:
    """The task of a run; `new`: it was not there before."""

    task: Task
    new: bool


@dataclass(frozen=True, slots=True)
class Finished:
    """A task that ended. `emptied`: it was the last one of the queue, waiting or taken."""

    task: Task
    emptied: bool


class TaskStore(Protocol):
    """Tasks and how they relate, shared by all processes."""

    async def add(
        self, task: Task, *, mark: Mark | None = None, event: DriftEvent | None = None
    ) -> Task:
        """Write a new task, and that its parent is its parent; return it with its depth.

        With a priority it is queued; `event` is the check that was made of it.

        Raises:
            NotFoundError: no such parent.
            ConflictError: a task with that id exists.
        """
        ...

    async def record(self, task: Task, *, mark: Mark | None = None) -> Recorded:
        """As `add`, for the task of a run, whose depth is given.

        There already, it is returned as it stands; one that failed is running again. A parent that
        is not known is left out.
        """
        ...

    async def get(self, task_id: TaskId) -> Task:
        """Return it.

        Raises:
            NotFoundError: no such task.
        """
        ...

    async def find(self, task_id: TaskId) -> Task | None:
        """Return it, None when there is no such task."""
        ...

    async def list(
        self, wanted: TaskFilter, *, limit: int = 1_000, offset: int = 0
    ) -> Sequence[Task]:
        """Return tasks, newest first."""
        ...

    async def count(self, wanted: TaskFilter) -> TaskCounts:
        """Return how many of those there are."""
        ...

    async def start(self, task_id: TaskId, agent_id: AgentId, *, now_ms: int) -> Task:
        """Give a pending task to an agent; it is running then.

        Raises:
            NotFoundError: no such task.
            ConflictError: it is not pending.
        """
        ...

    async def finish(
        self, task_id: TaskId, ending: TaskEnding, output: str | None, *, now_ms: int
    ) -> Finished:
        """End a pending or running task; `output` None keeps what there is.

        Raises:
            NotFoundError: no such task.
            ConflictError: it ended before.
        """
        ...

    async def release(self, task_id: TaskId) -> bool:
        """Let a running task wait again that is not in the queue; say whether it was one."""
        ...

    async def take_up(self, task_id: TaskId) -> bool:
        """Have a pending or failed task run that is not in the queue; say whether it was one."""
        ...

    async def delete(self, task_id: TaskId) -> bool:
        """Remove a task with its vector and its relationships; say whether there was one.

        Raises:
            ConflictError: there are tasks below it.
        """
        ...

    async def depth_below(self, parent_task_id: TaskId | None) -> int:
        """Return the depth of a task under that parent: 0 without one, or when it is unknown."""
        ...

    async def relate(
        self,
        from_task_id: TaskId,
        to_task_id: TaskId,
        kind: RelationshipType,
        *,
        metadata: dict[str, JsonValue] | None = None,
        now_ms: int,
    ) -> TaskRelationship:
        """Relate two tasks; related like this already, that relationship is returned.

        Raises:
            NotFoundError: one of them does not exist.
        """
        ...

    async def relationships(
        self, task_id: TaskId, direction: Direction = "both"
    ) -> Sequence[TaskRelationship]:
        """Return a task's relationships, newest first; none when there is no such task."""
        ...


class TaskQueueStore(Protocol):
    """The queue: tasks by priority, the highest first, equal ones in the order they came."""

    async def enqueue(self, task_id: TaskId, priority: int, *, now_ms: int) -> QueuedTask:
        """Put a pending task at the end of its priority.

        Raises:
            NotFoundError: no such task.
            ConflictError: it is queued already, or not pending.
        """
        ...

    async def claim(
        self, agent_type: str | None, *, claimed_by: str | None, now_ms: int
    ) -> QueuedTask | None:
        """Take the first task (of that type); no two callers ever get the same one."""
        ...

    async def assign(self, task_id: TaskId, agent_id: AgentId, *, now_ms: int) -> Task | None:
        """Give a claimed task to an agent; None when it is not claimed, or given away already."""
        ...

    async def requeue(
        self,
        task_id: TaskId,
        feedback: str | None,
        *,
        attempt: int | None = None,
        claimed_before: int | None = None,
        now_ms: int,
    ) -> Task:
        """Put a claimed, running or failed task back, a priority lower; too often: it fails.

        With `attempt`, only while it has been taken up that many times; with `claimed_before` (Unix
        ms), only while it is `stale`.

        Raises:
            NotFoundError: no such task.
            ConflictError: it is completed, was never taken up, or was again since that attempt, or
                is not stale.
        """
        ...

    async def stale(self, *, claimed_before: int) -> Sequence[TaskId]:
        """Return tasks that were claimed before that time (Unix ms) and given to no agent since."""
        ...

    async def status(self) -> QueueStatus:
        """Return how many wait and are being processed."""
        ...

    async def entries(self, state: QueueState, *, limit: int) -> Sequence[QueuedTask]:
        """Return places of the queue in its order."""
        ...

    async def clear(self) -> int:
        """Empty the queue, claimed places included; the tasks stay. Return how many there were."""
        ...


@dataclass(frozen=True, slots=True)
class Ancestor:
    """A task above another, `depth` levels up; the parent is 1.

    `state` is that of its vector for the embedder that was asked about: None when nobody promised
    one. `vector` holds little-endian float32 numbers, None unless it is ready.
    """

    task_id: TaskId
    depth: int
    input: str | None
    state: Literal["pending", "ready", "failed"] | None
    marked_at: int | None
    vector: bytes | None


class DriftStore(Protocol):
    """Vectors of tasks, and the log of checks."""

    async def ancestors(
        self, parent_task_id: TaskId, *, levels: int, model: str, limit: int
    ) -> Sequence[Ancestor]:
        """Return the parent and what is above it, nearest first, each once, at most `limit`.

        Raises:
            NotFoundError: no such parent.
        """
        ...

    async def save(
        self, vectors: Sequence[tuple[TaskId, bytes]], *, model: str, now_ms: int
    ) -> None:
        """Keep vectors; those of tasks that are gone are dropped."""
        ...

    async def give_up(self, task_ids: Sequence[TaskId], *, model: str) -> None:
        """Say that no vector is on its way any more."""
        ...

    async def log(self, event: DriftEvent) -> None:
        """Write down a check."""
        ...

    async def metrics(self, *, since_ms: int = 0) -> DriftMetrics:
        """Return figures over the checks since then; zeros when there are none."""
        ...

    async def events(self, *, limit: int = 50) -> Sequence[DriftEvent]:
        """Return the latest checks, newest first."""
        ...


class TaskProposal(Model):
    """A task that is to be created once people agree. The checkpoint keeps all of it."""

    agent_type: str
    input: str | None = None
    session_id: SessionId | None = None
    parent_task_id: TaskId | None = None
    risk_level: RiskLevel
    depth: int
    reason: str


class TaskConsensus(Protocol):
    """What the creation of a task asks of the consensus service."""

    async def check(
        self,
        agent_type: str,
        task_input: str | None,
        parent_task_id: TaskId | None,
        risk_level: RiskLevel | None,
        /,
    ) -> ConsensusCheck:
        """Judge a task before it is created; changes nothing. `risk_level` can only raise it."""
        ...

    async def propose_task(self, proposal: TaskProposal, /) -> ConsensusCheckpoint:
        """Write a checkpoint; when it is approved, the task is created in the same transaction."""
        ...
