"""The verbs of tasks: the seed's eight."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from perstack.domain.drift import DriftCheck, DriftReport
from perstack.domain.ids import AgentId, SessionId, TaskId
from perstack.domain.settings import RiskLevel
from perstack.domain.task_results import (
    Assignment,
    Completion,
    RelationshipList,
    TaskCreation,
    TaskList,
    assignment_of,
    completion_of,
    list_of,
    relationships_of,
)
from perstack.domain.task_views import TaskReport
from perstack.domain.tasks import (
    HIGHEST_PRIORITY,
    LOWEST_PRIORITY,
    MAX_INPUT_CHARS,
    MAX_OUTPUT_CHARS,
    MAX_TYPE_CHARS,
    MOST_LISTED,
    Direction,
    TaskEnding,
    TaskStatus,
)
from perstack.serving.verbs.verb import Asked, Call, Verb

TypeName = Annotated[str, Field(min_length=1, max_length=MAX_TYPE_CHARS)]
TaskInput = Annotated[str, Field(max_length=MAX_INPUT_CHARS)]


class CreateTask(Asked):
    """What is to be done, and by whom."""

    agent_type: TypeName | None = None
    """Target agent type; left out, it is chosen by what the input says"""
    input: TaskInput | None = None
    """Task input/description"""
    session_id: SessionId | None = None
    """Session to associate with"""
    parent_task_id: TaskId | None = None
    """Parent task ID for drift detection and consensus"""
    risk_level: RiskLevel | None = None
    """How risky it is; it can raise what the type and the words give, never lower it"""
    priority: Annotated[int | None, Field(ge=LOWEST_PRIORITY, le=HIGHEST_PRIORITY)] = None
    """Place in the queue, 10 first; left out, the task is not queued"""


class AssignTask(Asked):
    """Which task, and whose it is now."""

    task_id: TaskId
    """Task ID"""
    agent_id: AgentId
    """Agent ID"""


class CompleteTask(Asked):
    """Which task, and what came of it."""

    task_id: TaskId
    """Task ID"""
    output: Annotated[str | None, Field(max_length=MAX_OUTPUT_CHARS)] = None
    """What came of it; left out, what is there stays"""
    status: TaskEnding = "completed"
    """How it ended"""


class ListTasks(Asked):
    """Which tasks."""

    session_id: SessionId | None = None
    """Filter by session ID"""
    status: TaskStatus | None = None
    """Filter by status"""
    limit: Annotated[int, Field(ge=1, le=MOST_LISTED)] = 1_000
    """Max tasks to return, newest first"""
    offset: Annotated[int, Field(ge=0, le=1_000_000_000)] = 0
    """Offset for pagination"""


class WhichTask(Asked):
    """A task."""

    task_id: TaskId
    """Task ID"""


class CheckDrift(Asked):
    """A task that is not made yet."""

    task_input: Annotated[str, Field(min_length=1, max_length=MAX_INPUT_CHARS)]
    """Task input/description to check"""
    task_type: TypeName
    """Agent type for this task"""
    parent_task_id: TaskId | None = None
    """Parent task ID to check against"""


class WhichRelationships(Asked):
    """A task's relationships, seen from it."""

    task_id: TaskId
    """Task ID"""
    direction: Direction = "both"
    """Those that lead from it, to it, or both"""


class DriftSince(Asked):
    """From when on."""

    since: Annotated[str | None, Field(max_length=64)] = None
    """ISO date string to filter metrics since"""


async def create(call: Call, asked: CreateTask) -> TaskCreation:
    """Make a task, or the checkpoint that it waits at; the client cannot decide that one."""
    from perstack.services.task_creation import NewTask

    made = await call.coordination.tasks.create(
        NewTask(
            agent_type=asked.agent_type,
            input=asked.input,
            session_id=asked.session_id,
            parent_task_id=asked.parent_task_id,
            risk_level=asked.risk_level,
            priority=asked.priority,
        )
    )
    if made.checkpoint_id is not None:
        call.client.proposed.add(made.checkpoint_id)
    return made


async def assign(call: Call, asked: AssignTask) -> Assignment:
    """Give it to an agent."""
    return assignment_of(await call.coordination.tasks.assign(asked.task_id, asked.agent_id))


async def complete(call: Call, asked: CompleteTask) -> Completion:
    """End it."""
    tasks = call.coordination.tasks
    return completion_of(await tasks.complete(asked.task_id, asked.output, status=asked.status))


async def list_(call: Call, asked: ListTasks) -> TaskList:
    """Return some, newest first."""
    return list_of(
        await call.coordination.tasks.list(
            asked.session_id, asked.status, limit=asked.limit, offset=asked.offset
        )
    )


async def get(call: Call, asked: WhichTask) -> TaskReport:
    """Return one."""
    return TaskReport(task=await call.coordination.tasks.get(asked.task_id))


async def check_drift(call: Call, asked: CheckDrift) -> DriftCheck:
    """Compare a task that is not made yet with those it would descend from."""
    return await call.coordination.drift.preview(
        asked.task_input, asked.task_type, asked.parent_task_id
    )


async def relationships(call: Call, asked: WhichRelationships) -> RelationshipList:
    """Return what a task is to others."""
    found = await call.coordination.tasks.relationships(asked.task_id, asked.direction)
    return relationships_of(found)


async def drift_metrics(call: Call, asked: DriftSince) -> DriftReport:
    """Return figures."""
    from perstack.services.bounds import moment_of

    since = 0 if asked.since is None else moment_of(asked.since, "since")
    return await call.coordination.drift.report(since_ms=since)


TASK_VERBS = (
    Verb(
        "task_create",
        "Create a task for an agent type with optional drift detection. A risky task below "
        "another waits for a person: the answer has consensusRequired and the checkpoint then, "
        "and the task exists once that was approved.",
        CreateTask,
        TaskCreation,
        create,
        effect="writes",
        fails_as="success",
    ),
    Verb(
        "task_assign",
        "Assign a pending task to a specific agent. It runs then.",
        AssignTask,
        Assignment,
        assign,
        effect="writes",
        fails_as="success",
    ),
    Verb(
        "task_complete",
        "Mark a task as complete, or as failed.",
        CompleteTask,
        Completion,
        complete,
        effect="writes",
        fails_as="success",
    ),
    Verb("task_list", "List tasks with filters.", ListTasks, TaskList, list_),
    Verb("task_get", "Get task details.", WhichTask, TaskReport, get, fails_as="found"),
    Verb(
        "task_check_drift",
        "Check if a task description would trigger drift detection against ancestors. "
        "The check is written down; no task is made.",
        CheckDrift,
        DriftCheck,
        check_drift,
        effect="writes",
        fails_as="success",
    ),
    Verb(
        "task_get_relationships",
        "Get relationships for a task (parent/child, dependencies).",
        WhichRelationships,
        RelationshipList,
        relationships,
        fails_as="success",
    ),
    Verb(
        "task_drift_metrics",
        "Get drift detection metrics and statistics.",
        DriftSince,
        DriftReport,
        drift_metrics,
        fails_as="success",
    ),
)
