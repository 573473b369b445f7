"""Projects: folders of work, active or archived."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Final

from pydantic import JsonValue

from perstack.domain.projects import (
    PROJECT_STATUSES,
    Project,
    ProjectId,
)
from perstack.errors import NotFoundError
from perstack.ports.stores import Stores
from perstack.ports.system import Clock, Ids
from perstack.services.bounds import check_number, check_text, check_word
from perstack.services.handle import Handle

NAME_LENGTH: Final = 200
PATH_LENGTH: Final = 4_096
DESCRIPTION_LENGTH: Final = 10_000
MOST_LISTED: Final = 1_000

Announce = Callable[[str, Mapping[str, JsonValue]], Awaitable[None]]


async def unheard(event: str, payload: Mapping[str, JsonValue]) -> None:
    """Announce nothing."""


class ProjectService:
    """What any front end may do with projects.

    `announce` is told what happened, under upstream's names: `project:created` and
    `project:updated`.
    """

    def __init__(
        self,
        stores: Handle[Stores],
        *,
        clock: Clock,
        ids: Ids,
        announce: Announce = unheard,
    ) -> None:
        self._stores = stores
        self._clock = clock
        self._ids = ids
        self._announce = announce

    async def create(
        self,
        name: str,
        path: str,
        *,
        description: str | None = None,
        metadata: Mapping[str, JsonValue] | None = None,
    ) -> Project:
        """Begin a project.

        Raises:
            UsageError: a text is too long, or empty where it must not be.
        """
        now = self._clock.now_ms()
        project = Project(
            id=ProjectId(self._ids.new()),
            name=_name(name),
            path=check_text(path, "path", shortest=1, longest=PATH_LENGTH),
            description=check_description(description),
            created_at=now,
            updated_at=now,
            metadata=dict(metadata or {}),
        )
        await self._stores.ask(lambda stores: stores.projects.add_project(project))
        await self._announce("project:created", {"projectId": project.id, "name": project.name})
        return project

    async def get(self, project_id: ProjectId) -> Project:
        """Return it.

        Raises:
            NotFoundError: there is none.
        """
        return await self._stores.ask(lambda stores: stores.projects.get_project(project_id))

    async def list(
        self, *, status: str | None = None, limit: int = 100, offset: int = 0
    ) -> Sequence[Project]:
        """Return projects, the last changed first.

        Raises:
            UsageError: no such status, or a number is out of its bounds.
        """
        wanted = None if status is None else check_word(status, "status", PROJECT_STATUSES)
        check_number(limit, "limit", least=1, most=MOST_LISTED)
        check_number(offset, "offset", least=0, most=2**31)
        return await self._stores.ask(
            lambda stores: stores.projects.list_projects(status=wanted, limit=limit, offset=offset)
        )

    async def update(
        self,
        project_id: ProjectId,
        *,
        name: str | None = None,
        path: str | None = None,
        description: str | None = None,
        status: str | None = None,
        metadata: Mapping[str, JsonValue] | None = None,
    ) -> Project:
        """Change what is given; None leaves a field as it is, `metadata` is replaced as a whole.

        Raises:
            NotFoundError: there is none.
            UsageError: as for `create`, or no such status.
        """
        changes: dict[str, object] = {}
        if name is not None:
            changes["name"] = _name(name)
        if path is not None:
            changes["path"] = check_text(path, "path", shortest=1, longest=PATH_LENGTH)
        if description is not None:
            changes["description"] = check_description(description)
        if status is not None:
            changes["status"] = check_word(status, "status", PROJECT_STATUSES)
        if metadata is not None:
            changes["metadata"] = dict(metadata)
        changes["updated_at"] = self._clock.now_ms()

        def change(found: Project) -> Project:
            return found.model_copy(update=changes)

        project = await self._stores.ask(
            lambda stores: stores.projects.change_project(project_id, change)
        )
        await self._announce("project:updated", {"projectId": project.id, "status": project.status})
        return project

    async def delete(self, project_id: ProjectId) -> None:
        """Delete it with its tasks and specifications; the real tasks that were made stay.

        Raises:
            NotFoundError: there is none.
        """
        if not await self._stores.ask(lambda stores: stores.projects.delete_project(project_id)):
            raise NotFoundError(f"Project not found: {project_id[:40]}")


def _name(value: str) -> str:
    return check_text(value, "name", shortest=1, longest=NAME_LENGTH)


def check_description(value: str | None) -> str | None:
    """Return it if it is not too long.

    Raises:
        UsageError: it is.
    """
    return None if value is None else check_text(value, "description", longest=DESCRIPTION_LENGTH)
