"""/api/v1/tasks: what agents are asked to do, and the queue in which that waits."""

from __future__ import annotations

from typing import Annotated, Final

from fastapi import APIRouter, Depends, Path, Query
from pydantic import Field
from starlette.responses import Response

from perstack.domain.dispatch import DispatchDecision
from perstack.domain.ids import AgentId, SessionId, TaskId
from perstack.domain.settings import RiskLevel
from perstack.domain.task_lines import (
    QueueReport,
    TaskAwaited,
    TaskLine,
    TaskMade,
    awaited_of,
    made_of,
    queue_report,
    task_line,
)
from perstack.domain.task_results import DriftNote, TaskCreation
from perstack.domain.tasks import (
    HIGHEST_PRIORITY,
    LOWEST_PRIORITY,
    MAX_INPUT_CHARS,
    MAX_OUTPUT_CHARS,
    MAX_TYPE_CHARS,
    Task,
    TaskStatus,
)
from perstack.errors import ConflictError, UsageError
from perstack.ports.tasks import TaskFilter
from perstack.services.task_creation import NewTask
from perstack.services.task_queue import MAX_FEEDBACK_CHARS
from perstack.serving.rest.context import Services, needs
from perstack.serving.rest.envelope import Envelope, Page, Refusal, ok, page
from perstack.serving.rest.parameters import (
    ID_LENGTH,
    Body,
    Limit,
    Offset,
    SessionQuery,
    Whole,
)

router = APIRouter(prefix="/tasks", tags=["tasks"])
READS = Depends(needs("tasks", "read"))
WRITES = Depends(needs("tasks", "write"))
_NEXT: Final = 10

TaskPath = Annotated[TaskId, Path(alias="id", min_length=1, max_length=ID_LENGTH)]


class CreateTask(Body):
    """What is to be done."""

    agent_type: Annotated[str | None, Field(min_length=1, max_length=MAX_TYPE_CHARS)] = None
    """Who does it; without it the dispatcher chooses"""
    input: Annotated[str | None, Field(max_length=MAX_INPUT_CHARS)] = None
    """What to do"""
    session_id: Annotated[SessionId | None, Field(min_length=1, max_length=ID_LENGTH)] = None
    """The session that it belongs to"""
    parent_task_id: Annotated[TaskId | None, Field(min_length=1, max_length=ID_LENGTH)] = None
    """The task that it is part of"""
    risk_level: RiskLevel | None = None
    """Raises the estimated risk; never lowers it"""
    priority: Annotated[Whole | None, Field(ge=LOWEST_PRIORITY, le=HIGHEST_PRIORITY)] = None
    """With it the task is queued; 10 comes first"""


class PreviewDispatch(Body):
    """A text that somebody might be asked to do."""

    input: Annotated[str, Field(min_length=1, max_length=MAX_INPUT_CHARS)]
    """What to do"""


class AssignTask(Body):
    """Who gets it."""

    agent_id: Annotated[AgentId, Field(min_length=1, max_length=ID_LENGTH)]
    """The agent"""


class CompleteTask(Body):
    """How it ended."""

    output: Annotated[str | None, Field(max_length=MAX_OUTPUT_CHARS)] = None
    """What came of it"""


class FailTask(Body):
    """Why it failed."""

    error: Annotated[str | None, Field(max_length=MAX_FEEDBACK_CHARS)] = None
    """What went wrong"""


class DriftRefusal(Refusal):
    """That a task was not made, because it repeats one that it descends from."""

    drift: DriftNote | None


@router.get("", dependencies=[READS])
async def list_tasks(
    services: Services,
    sessionId: SessionQuery = None,  # noqa: N803
    status: TaskStatus | None = None,
    limit: Limit = 50,
    offset: Offset = 0,
) -> Page[TaskLine]:
    """List tasks, newest first."""
    tasks = services.coordination.tasks
    wanted = TaskFilter(session_id=sessionId, statuses=() if status is None else (status,))
    found = await tasks.search(wanted, limit=limit, offset=offset)
    counts = await tasks.count(sessionId)
    total = counts.total if status is None else getattr(counts, status)
    return page(tuple(task_line(one) for one in found), limit=limit, offset=offset, total=total)


@router.post(
    "",
    dependencies=[WRITES],
    status_code=201,
    response_model=Envelope[TaskMade],
    responses={
        202: {"model": Envelope[TaskAwaited], "description": "It waits for consensus"},
        409: {"model": DriftRefusal, "description": "It would repeat what it is part of"},
    },
)
async def create_task(services: Services, body: CreateTask) -> Envelope[TaskMade] | Response:
    """Create a task, unless it drifts or has to wait for consensus."""
    created = await services.coordination.tasks.create(
        NewTask(
            agent_type=body.agent_type,
            input=body.input,
            session_id=body.session_id,
            parent_task_id=body.parent_task_id,
            risk_level=body.risk_level,
            priority=body.priority,
        )
    )
    made, awaited = made_of(created), awaited_of(created)
    if made is not None:
        return ok(made)
    return _prevented(created) if awaited is None else _json(202, ok(awaited))


@router.post("/dispatch", dependencies=[WRITES])
async def preview_dispatch(services: Services, body: PreviewDispatch) -> Envelope[DispatchDecision]:
    """Say who would do it. No task is made."""
    outcome = await services.coordination.tasks.dispatch(body.input)
    if outcome.decision is None:
        raise UsageError(outcome.error or "nothing was decided", hint="see [smartDispatcher]")
    return ok(outcome.decision)


@router.get("/queue", dependencies=[READS])
async def show_queue(services: Services, limit: Limit = 100) -> Envelope[QueueReport]:
    """Show the queue: the next ten tasks, and at most `limit` that were taken and are not done."""
    queue = services.coordination.queue
    return ok(
        queue_report(await queue.status(), await queue.peek(_NEXT), await queue.processing(limit))
    )


@router.get("/{id}", dependencies=[READS])
async def get_task(services: Services, task_id: TaskPath) -> Envelope[Task]:
    """Return a task, whole."""
    return ok(await services.coordination.tasks.get(task_id))


@router.put("/{id}/assign", dependencies=[WRITES])
async def assign_task(services: Services, task_id: TaskPath, body: AssignTask) -> Envelope[Task]:
    """Give a pending task to an agent, whether it waits in the queue or not."""
    return ok(await services.coordination.tasks.assign(task_id, body.agent_id))


@router.put("/{id}/complete", dependencies=[WRITES])
async def complete_task(
    services: Services, task_id: TaskPath, body: CompleteTask | None = None
) -> Envelope[Task]:
    """End a task well."""
    output = None if body is None else body.output
    return ok(await services.coordination.tasks.complete(task_id, output))


@router.put("/{id}/fail", dependencies=[WRITES])
async def fail_task(
    services: Services,
    task_id: TaskPath,
    requeue: Annotated[bool, Query(description="Put it back into the queue.")] = False,
    body: FailTask | None = None,
) -> Envelope[Task]:
    """End a task as failed; or give it back to the queue, one priority lower.

    One that was taken up three times fails for good.
    """
    said, coordination = None if body is None else body.error, services.coordination
    if requeue:
        return ok(await coordination.queue.requeue(task_id, said))
    return ok(await coordination.tasks.complete(task_id, said, status="failed"))


def _prevented(created: TaskCreation) -> Response:
    again = None if created.drift is None else created.drift.most_similar_task_id
    return _json(
        409,
        DriftRefusal(
            error=created.error or "Task creation prevented",
            code=ConflictError.code,
            hint=None if again is None else f"it repeats the task {again}",
            drift=created.drift,
        ),
    )


def _json(status: int, told: Envelope[TaskAwaited] | Refusal) -> Response:
    return Response(
        told.model_dump_json(by_alias=True, ensure_ascii=True),
        status_code=status,
        media_type="application/json",
    )
