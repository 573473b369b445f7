"""Real tasks for the tasks of projects."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from perstack.domain.task_results import TaskCreation
from perstack.services.project_tasks import CreateWork, WorkCreated, WorkRequest
from perstack.services.task_creation import NewTask


def work_by(create: Callable[[NewTask], Awaitable[TaskCreation]]) -> CreateWork:
    """Return what makes tasks with `create` (`TaskService.create`), with all its checks."""

    async def create_work(request: WorkRequest) -> WorkCreated:
        made = await create(
            NewTask(
                agent_type=request.agent_type,
                input=request.input,
                session_id=request.session_id,
                priority=request.priority,
                parent_task_id=request.parent_task_id,
            )
        )
        if made.task is not None:
            return WorkCreated(task_id=made.task.id)
        if made.checkpoint_id is not None:
            return WorkCreated(consensus_id=made.checkpoint_id)
        return WorkCreated(refused=made.error or made.reason or "no task was made")

    return create_work
