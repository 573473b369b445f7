"""/api/v1/projects, and the tasks that they are made of."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Path
from pydantic import Field, JsonValue

from perstack.domain.ids import SessionId
from perstack.domain.project_views import (
    ProjectTaskView,
    ProjectView,
    project_task_view,
    project_view,
)
from perstack.domain.projects import (
    FIRST_PRIORITY,
    LAST_PRIORITY,
    USUAL_PRIORITY,
    Phase,
    ProjectId,
    ProjectStatus,
    ProjectTask,
    ProjectTaskId,
)
from perstack.errors import NotFoundError
from perstack.services.project_tasks import MOST_AGENTS
from perstack.services.projects import DESCRIPTION_LENGTH, NAME_LENGTH, PATH_LENGTH
from perstack.serving.backend import Served
from perstack.serving.rest.context import Services, needs
from perstack.serving.rest.envelope import Envelope, ok
from perstack.serving.rest.parameters import ID_LENGTH, Body, Limit, Offset, Whole
from perstack.serving.rest.shapes import Deleted

router = APIRouter(prefix="/projects", tags=["projects"])
READS = Depends(needs("projects", "read"))
WRITES = Depends(needs("projects", "write"))

ProjectPath = Annotated[ProjectId, Path(alias="id", min_length=1, max_length=ID_LENGTH)]
TaskPath = Annotated[ProjectTaskId, Path(alias="tid", min_length=1, max_length=ID_LENGTH)]
Name = Annotated[str, Field(min_length=1, max_length=NAME_LENGTH, pattern=r"\S")]
Folder = Annotated[str, Field(min_length=1, max_length=PATH_LENGTH, pattern=r"\S")]
Description = Annotated[str | None, Field(max_length=DESCRIPTION_LENGTH)]
Priority = Annotated[Whole, Field(ge=FIRST_PRIORITY, le=LAST_PRIORITY)]
Agents = Annotated[tuple[Name, ...], Field(max_length=MOST_AGENTS)]


class CreateProject(Body):
    """A project that begins."""

    name: Name
    path: Folder
    """Its folder, as somebody wrote it"""
    description: Description = None
    metadata: dict[str, JsonValue] | None = None


class ChangeProject(Body):
    """What changes; what is not there or null stays, `metadata` is replaced as a whole."""

    name: Name | None = None
    path: Folder | None = None
    description: Description = None
    status: ProjectStatus | None = None
    metadata: dict[str, JsonValue] | None = None


class CreateProjectTask(Body):
    """A piece of the project."""

    title: Name
    description: Description = None
    priority: Priority = USUAL_PRIORITY
    """1 comes first"""
    assigned_agents: Agents = ()
    """Types or names of agents"""
    session_id: Annotated[SessionId | None, Field(min_length=1, max_length=ID_LENGTH)] = None


class ChangeProjectTask(Body):
    """What changes; what is not there or null stays."""

    title: Name | None = None
    description: Description = None
    priority: Priority | None = None


class MovePhase(Body):
    """Where it goes."""

    phase: Phase


class AssignAgents(Body):
    """Who works at it, in place of those before."""

    agents: Agents


@router.get("", dependencies=[READS])
async def list_projects(
    services: Services,
    status: ProjectStatus | None = None,
    limit: Limit = 100,
    offset: Offset = 0,
) -> Envelope[tuple[ProjectView, ...]]:
    """List projects, the last changed first."""
    projects = services.coordination.projects
    found = await projects.list(status=status, limit=limit, offset=offset)
    return ok(tuple(project_view(one) for one in found))


@router.post("", dependencies=[WRITES], status_code=201)
async def create_project(services: Services, body: CreateProject) -> Envelope[ProjectView]:
    """Begin a project."""
    made = await services.coordination.projects.create(
        body.name, body.path, description=body.description, metadata=body.metadata
    )
    return ok(project_view(made))


@router.get("/{id}", dependencies=[READS])
async def get_project(services: Services, project_id: ProjectPath) -> Envelope[ProjectView]:
    """Return a project."""
    return ok(project_view(await services.coordination.projects.get(project_id)))


@router.put("/{id}", dependencies=[WRITES])
async def change_project(
    services: Services, project_id: ProjectPath, body: ChangeProject
) -> Envelope[ProjectView]:
    """Change a project."""
    changed = await services.coordination.projects.update(
        project_id,
        name=body.name,
        path=body.path,
        description=body.description,
        status=body.status,
        metadata=body.metadata,
    )
    return ok(project_view(changed))


@router.delete("/{id}", dependencies=[WRITES])
async def delete_project(services: Services, project_id: ProjectPath) -> Envelope[Deleted]:
    """Delete a project with its tasks and specifications; real tasks that were made stay."""
    await services.coordination.projects.delete(project_id)
    return ok(Deleted())


# ------------------------------------------------------------------ its tasks


@router.get("/{id}/tasks", dependencies=[READS])
async def list_project_tasks(
    services: Services,
    project_id: ProjectPath,
    phase: Phase | None = None,
    limit: Limit = 1_000,
    offset: Offset = 0,
) -> Envelope[tuple[ProjectTaskView, ...]]:
    """List a project's tasks: priority 1 first, among equals the last changed first."""
    tasks = services.coordination.project_tasks
    found = await tasks.list(project_id, phase=phase, limit=limit, offset=offset)
    return ok(tuple(project_task_view(one) for one in found))


@router.post("/{id}/tasks", dependencies=[WRITES], status_code=201)
async def create_project_task(
    services: Services, project_id: ProjectPath, body: CreateProjectTask
) -> Envelope[ProjectTaskView]:
    """Add a task in the phase draft."""
    made = await services.coordination.project_tasks.create(
        project_id,
        body.title,
        description=body.description,
        priority=body.priority,
        assigned_agents=body.assigned_agents,
        session_id=body.session_id,
    )
    return ok(project_task_view(made))


@router.get("/{id}/tasks/{tid}", dependencies=[READS])
async def get_project_task(
    services: Services, project_id: ProjectPath, task_id: TaskPath
) -> Envelope[ProjectTaskView]:
    """Return a project's task."""
    return ok(project_task_view(await _of_project(services, project_id, task_id)))


@router.put("/{id}/tasks/{tid}", dependencies=[WRITES])
async def change_project_task(
    services: Services, project_id: ProjectPath, task_id: TaskPath, body: ChangeProjectTask
) -> Envelope[ProjectTaskView]:
    """Change a project's task."""
    await _of_project(services, project_id, task_id)
    changed = await services.coordination.project_tasks.update(
        task_id, title=body.title, description=body.description, priority=body.priority
    )
    return ok(project_task_view(changed))


@router.delete("/{id}/tasks/{tid}", dependencies=[WRITES])
async def delete_project_task(
    services: Services, project_id: ProjectPath, task_id: TaskPath
) -> Envelope[Deleted]:
    """Delete a project's task with its specifications."""
    await _of_project(services, project_id, task_id)
    await services.coordination.project_tasks.delete(task_id)
    return ok(Deleted())


@router.put("/{id}/tasks/{tid}/phase", dependencies=[WRITES])
async def move_project_task(
    services: Services, project_id: ProjectPath, task_id: TaskPath, body: MovePhase
) -> Envelope[ProjectTaskView]:
    """Bring a task into another phase; 400 lists where its phase leads."""
    await _of_project(services, project_id, task_id)
    moved = await services.coordination.project_tasks.move(task_id, body.phase)
    return ok(project_task_view(moved))


@router.put("/{id}/tasks/{tid}/assign", dependencies=[WRITES])
async def assign_project_task(
    services: Services, project_id: ProjectPath, task_id: TaskPath, body: AssignAgents
) -> Envelope[ProjectTaskView]:
    """Say who works at a task."""
    await _of_project(services, project_id, task_id)
    assigned = await services.coordination.project_tasks.assign(task_id, body.agents)
    return ok(project_task_view(assigned))


async def _of_project(
    services: Served, project_id: ProjectId, task_id: ProjectTaskId
) -> ProjectTask:
    found = await services.coordination.project_tasks.get(task_id)
    if found.project_id != project_id:
        raise NotFoundError(f"Project task not found: {task_id[:40]}")
    return found
