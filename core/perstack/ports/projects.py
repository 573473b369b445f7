"""What services ask of the tables of projects, their tasks and specifications."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from perstack.domain.projects import (
    Phase,
    Project,
    ProjectId,
    ProjectStatus,
    ProjectTask,
    ProjectTaskId,
)
from perstack.domain.specifications import Specification, SpecificationId, SpecificationStatus


class ProjectStore(Protocol):
    """Projects and what belongs to them, shared by all processes.

    A `change` is a pure function that gets what is stored and returns what is to be stored; it
    runs inside the transaction, so that nobody writes in between, and may raise to change nothing.
    `get_…`, `change_…` and the adding of a part raise `NotFoundError` for what is not there.
    """

    async def add_project(self, project: Project) -> None:
        """Write a new project."""
        ...

    async def get_project(self, project_id: ProjectId) -> Project:
        """Return it."""
        ...

    async def list_projects(
        self, *, status: ProjectStatus | None = None, limit: int = 100, offset: int = 0
    ) -> Sequence[Project]:
        """Return projects, the last changed first."""
        ...

    async def change_project(
        self, project_id: ProjectId, change: Callable[[Project], Project]
    ) -> Project:
        """Replace it by what `change` makes of it; return that."""
        ...

    async def delete_project(self, project_id: ProjectId) -> bool:
        """Delete it with its tasks and their specifications; say whether it was there."""
        ...

    async def add_task(self, task: ProjectTask) -> None:
        """Write a new task of a project that is there."""
        ...

    async def get_task(self, task_id: ProjectTaskId) -> ProjectTask:
        """Return it."""
        ...

    async def list_tasks(
        self,
        project_id: ProjectId,
        *,
        phase: Phase | None = None,
        limit: int = 1_000,
        offset: int = 0,
    ) -> Sequence[ProjectTask]:
        """Return a project's tasks: priority 1 first, among equals the last changed first."""
        ...

    async def change_task(
        self, task_id: ProjectTaskId, change: Callable[[ProjectTask], ProjectTask]
    ) -> ProjectTask:
        """Replace it by what `change` makes of it; return that."""
        ...

    async def delete_task(self, task_id: ProjectTaskId) -> bool:
        """Delete it with its specifications; say whether it was there."""
        ...

    async def add_specification(self, specification: Specification) -> None:
        """Write a new specification of a project's task that is there."""
        ...

    async def get_specification(self, specification_id: SpecificationId) -> Specification:
        """Return it."""
        ...

    async def list_specifications(
        self,
        task_id: ProjectTaskId | None,
        *,
        status: SpecificationStatus | None = None,
        limit: int = 10_000,
    ) -> Sequence[Specification]:
        """Return a task's specifications, of all tasks where none is named, the newest first."""
        ...

    async def change_specification(
        self, specification_id: SpecificationId, change: Callable[[Specification], Specification]
    ) -> Specification:
        """Replace it by what `change` makes of it; return that."""
        ...

    async def delete_specification(self, specification_id: SpecificationId) -> bool:
        """Delete it; say whether it was there."""
        ...
