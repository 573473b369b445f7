"""Projects, their tasks and specifications in the database."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final, Generic, TypeVar

import sqlalchemy as sa

from perstack.domain.base import Model
from perstack.domain.projects import (
    Phase,
    Project,
    ProjectId,
    ProjectStatus,
    ProjectTask,
    ProjectTaskId,
)
from perstack.domain.specifications import Specification, SpecificationId, SpecificationStatus
from perstack.errors import NotFoundError
from perstack.storage.database.engine import Database
from perstack.storage.database.project_rows import (
    PROJECTS,
    SPECIFICATIONS,
    TASKS,
    from_row,
    to_row,
)
from perstack.storage.database.text import safe_text

M = TypeVar("M", bound=Model)


@dataclass(frozen=True, slots=True)
class _Shelf(Generic[M]):
    """A table, what its rows are, and what a person calls one of them."""

    table: sa.Table
    kind: type[M]
    called: str

    def get(self, connection: sa.Connection, wanted: str, *, locked: bool = False) -> M:
        query = sa.select(self.table).where(self.table.c.id == safe_text(wanted))
        if locked:
            # SQLite's writers have the whole database; PostgreSQL's need the row.
            query = query.with_for_update()
        row = connection.execute(query).mappings().one_or_none()
        if row is None:
            raise NotFoundError(f"{self.called} not found: {wanted[:40]}")
        return from_row(self.kind, row)

    def add(self, connection: sa.Connection, value: M) -> None:
        connection.execute(self.table.insert().values(to_row(value)))

    def change(self, connection: sa.Connection, wanted: str, change: Callable[[M], M]) -> M:
        changed = change(self.get(connection, wanted, locked=True))
        update = self.table.update().where(self.table.c.id == safe_text(wanted))
        connection.execute(update.values(to_row(changed)))
        return changed

    def delete(self, connection: sa.Connection, wanted: str) -> bool:
        delete = self.table.delete().where(self.table.c.id == safe_text(wanted))
        return connection.execute(delete).rowcount == 1

    def all(self, connection: sa.Connection, query: sa.Select[tuple[object, ...]]) -> Sequence[M]:
        return [from_row(self.kind, row) for row in connection.execute(query).mappings()]


_PROJECTS: Final = _Shelf(PROJECTS, Project, "Project")
_TASKS: Final = _Shelf(TASKS, ProjectTask, "Project task")
_SPECIFICATIONS: Final = _Shelf(SPECIFICATIONS, Specification, "Specification")


class SqlProjectStore:
    """Implements `ports.projects.ProjectStore`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def add_project(self, project: Project) -> None:
        """Write a new project."""
        await self._database.write(partial(_PROJECTS.add, value=project))

    async def get_project(self, project_id: ProjectId) -> Project:
        """Return a project."""
        return await self._database.read(partial(_PROJECTS.get, wanted=project_id))

    async def list_projects(
        self, *, status: ProjectStatus | None = None, limit: int = 100, offset: int = 0
    ) -> Sequence[Project]:
        """Return projects, the last changed first."""
        query = sa.select(PROJECTS).order_by(PROJECTS.c.updated_at.desc(), PROJECTS.c.id)
        if status is not None:
            query = query.where(PROJECTS.c.status == status)
        query = query.limit(limit).offset(offset)
        return await self._database.read(partial(_PROJECTS.all, query=query))

    async def change_project(
        self, project_id: ProjectId, change: Callable[[Project], Project]
    ) -> Project:
        """Replace a project."""
        work = partial(_PROJECTS.change, wanted=project_id, change=change)
        return await self._database.write(work)

    async def delete_project(self, project_id: ProjectId) -> bool:
        """Delete a project and all that belongs to it."""
        return await self._database.write(partial(_PROJECTS.delete, wanted=project_id))

    async def add_task(self, task: ProjectTask) -> None:
        """Write a new task of a project."""

        def work(connection: sa.Connection) -> None:
            _PROJECTS.get(connection, task.project_id, locked=True)
            _TASKS.add(connection, task)

        await self._database.write(work)

    async def get_task(self, task_id: ProjectTaskId) -> ProjectTask:
        """Return a project's task."""
        return await self._database.read(partial(_TASKS.get, wanted=task_id))

    async def list_tasks(
        self,
        project_id: ProjectId,
        *,
        phase: Phase | None = None,
        limit: int = 1_000,
        offset: int = 0,
    ) -> Sequence[ProjectTask]:
        """Return a project's tasks, by priority."""
        order = (TASKS.c.priority, TASKS.c.updated_at.desc(), TASKS.c.id)
        query = sa.select(TASKS).where(TASKS.c.project_id == safe_text(project_id))
        if phase is not None:
            query = query.where(TASKS.c.phase == phase)
        query = query.order_by(*order).limit(limit).offset(offset)
        return await self._database.read(partial(_TASKS.all, query=query))

    async def change_task(
        self, task_id: ProjectTaskId, change: Callable[[ProjectTask], ProjectTask]
    ) -> ProjectTask:
        """Replace a project's task."""
        return await self._database.write(partial(_TASKS.change, wanted=task_id, change=change))

    async def delete_task(self, task_id: ProjectTaskId) -> bool:
        """Delete a project's task and its specifications."""
        return await self._database.write(partial(_TASKS.delete, wanted=task_id))

    async def add_specification(self, specification: Specification) -> None:
        """Write a new specification of a project's task."""

        def work(connection: sa.Connection) -> None:
            _TASKS.get(connection, specification.project_task_id, locked=True)
            _SPECIFICATIONS.add(connection, specification)

        await self._database.write(work)

    async def get_specification(self, specification_id: SpecificationId) -> Specification:
        """Return a specification."""
        return await self._database.read(partial(_SPECIFICATIONS.get, wanted=specification_id))

    async def list_specifications(
        self,
        task_id: ProjectTaskId | None,
        *,
        status: SpecificationStatus | None = None,
        limit: int = 10_000,
    ) -> Sequence[Specification]:
        """Return a task's specifications, or all, the newest first."""
        columns = SPECIFICATIONS.c
        query = sa.select(SPECIFICATIONS).limit(limit)
        if task_id is not None:
            query = query.where(columns.project_task_id == safe_text(task_id))
        if status is not None:
            query = query.where(columns.status == status)
        query = query.order_by(columns.created_at.desc(), columns.id)
        return await self._database.read(partial(_SPECIFICATIONS.all, query=query))

    async def change_specification(
        self, specification_id: SpecificationId, change: Callable[[Specification], Specification]
    ) -> Specification:
        """Replace a specification."""
        work = partial(_SPECIFICATIONS.change, wanted=specification_id, change=change)
        return await self._database.write(work)

    async def delete_specification(self, specification_id: SpecificationId) -> bool:
        """Delete a specification."""
        return await self._database.write(partial(_SPECIFICATIONS.delete, wanted=specification_id))
