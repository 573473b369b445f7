"""Tasks of projects: their phases, who is assigned, and the real tasks that are made for them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final

from perstack.domain.ids import ConsensusId, SessionId, TaskId
from perstack.domain.projects import (
    FIRST_PRIORITY,
    LAST_PRIORITY,
    PHASES,
    USUAL_PRIORITY,
    ProjectId,
    ProjectTask,
    ProjectTaskId,
    check_open,
    moved,
)
from perstack.errors import NotFoundError, UsageError
from perstack.ports.stores import Stores
from perstack.ports.system import Clock, Ids
from perstack.services.bounds import check_number, check_text, check_word
from perstack.services.handle import Handle
from perstack.services.projects import (
    MOST_LISTED,
    NAME_LENGTH,
    Announce,
    check_description,
    unheard,
)

MOST_AGENTS: Final = 100


@dataclass(frozen=True, slots=True)
class WorkRequest:
    """The task that is to be made for a project's task. `agent_type` None: it is chosen.

    With a `priority` (10 comes first) it is queued.
    """

    agent_type: str | None
    input: str
    session_id: SessionId | None
    project_task_id: ProjectTaskId
    priority: int | None = None
    parent_task_id: TaskId | None = None


@dataclass(frozen=True, slots=True)
class WorkCreated:
    """What became of it: a task, a checkpoint it waits at, or a reason why there is none."""

    task_id: TaskId | None = None
    consensus_id: ConsensusId | None = None
    refused: str | None = None


CreateWork = Callable[[WorkRequest], Awaitable[WorkCreated]]


class ProjectTaskService:
    """What any front end may do with the tasks of projects.

    `create_work` makes a real task (see `TaskService`); `announce` is told `project:task:created`
    and `project:task:phase`.
    """

    def __init__(
        self,
        stores: Handle[Stores],
        *,
        clock: Clock,
        ids: Ids,
        create_work: CreateWork | None = None,
        announce: Announce = unheard,
    ) -> None:
        self._stores = stores
        self._clock = clock
        self._ids = ids
        self._create_work = create_work
        self._announce = announce

    async def create(
        self,
        project_id: ProjectId,
        title: str,
        *,
        description: str | None = None,
        priority: int = USUAL_PRIORITY,
        assigned_agents: Sequence[str] = (),
        session_id: SessionId | None = None,
    ) -> ProjectTask:
        """Add a task in the phase draft. Priority 1 comes first, 10 last.

        Raises:
            NotFoundError: there is no such project.
            UsageError: a text or number is out of its bounds.
        """
        now = self._clock.now_ms()
        task = ProjectTask(
            id=ProjectTaskId(self._ids.new()),
            project_id=project_id,
            session_id=session_id,
            title=check_text(title, "title", shortest=1, longest=NAME_LENGTH),
            description=check_description(description),
            priority=_priority(priority),
            assigned_agents=_agents(assigned_agents),
            created_at=now,
            updated_at=now,
        )
        await self._stores.ask(lambda stores: stores.projects.add_task(task))
        await self._announce(
            "project:task:created",
            {"projectId": project_id, "taskId": task.id, "title": task.title},
        )
        return task

    async def get(self, task_id: ProjectTaskId) -> ProjectTask:
        """Return it.

        Raises:
            NotFoundError: there is none.
        """
        return await self._stores.ask(lambda stores: stores.projects.get_task(task_id))

    async def list(
        self,
        project_id: ProjectId,
        *,
        phase: str | None = None,
        limit: int = MOST_LISTED,
        offset: int = 0,
    ) -> Sequence[ProjectTask]:
        """Return a project's tasks: priority 1 first, among equals the last changed first.

        Raises:
            NotFoundError: there is no such project.
            UsageError: no such phase, or a number is out of its bounds.
        """
        wanted = None if phase is None else check_word(phase, "phase", PHASES)
        check_number(limit, "limit", least=1, most=MOST_LISTED)
        check_number(offset, "offset", least=0, most=2**31)
        await self._stores.ask(lambda stores: stores.projects.get_project(project_id))
        return await self._stores.ask(
            lambda stores: stores.projects.list_tasks(
                project_id, phase=wanted, limit=limit, offset=offset
            )
        )

    async def update(
        self,
        task_id: ProjectTaskId,
        *,
        title: str | None = None,
        description: str | None = None,
        priority: int | None = None,
    ) -> ProjectTask:
        """Change what is given; None leaves a field as it is.

        Raises:
            NotFoundError: there is none.
            UsageError: a text or number is out of its bounds.
        """
        changes: dict[str, object] = {}
        if title is not None:
            changes["title"] = check_text(title, "title", shortest=1, longest=NAME_LENGTH)
        if description is not None:
            changes["description"] = check_description(description)
        if priority is not None:
            changes["priority"] = _priority(priority)
        return await self._set(task_id, changes)

    async def assign(self, task_id: ProjectTaskId, agents: Sequence[str]) -> ProjectTask:
        """Say who works at it: types or names of agents, in place of those before.

        Raises:
            NotFoundError: there is none.
            UsageError: an agent's name is empty or too long.
        """
        return await self._set(task_id, {"assigned_agents": _agents(agents)})

    async def move(self, task_id: ProjectTaskId, phase: str) -> ProjectTask:
        """Bring it into another phase.

        Raises:
            NotFoundError: there is none.
            UsageError: no such phase.
            ConflictError: its phase does not lead there; the message lists where it does.
        """
        wanted = check_word(phase, "phase", PHASES)
        change = partial(moved, phase=wanted, now_ms=self._clock.now_ms())
        task = await self._stores.ask(lambda stores: stores.projects.change_task(task_id, change))
        await self._announce("project:task:phase", {"taskId": task.id, "phase": task.phase})
        return task

    async def delete(self, task_id: ProjectTaskId) -> None:
        """Delete it with its specifications; the real tasks that were made for it stay.

        Raises:
            NotFoundError: there is none.
        """
        if not await self._stores.ask(lambda stores: stores.projects.delete_task(task_id)):
            raise NotFoundError(f"Project task not found: {task_id[:40]}")

    async def create_work(
        self,
        task_id: ProjectTaskId,
        *,
        text: str | None = None,
        agent_type: str | None = None,
        queued: bool = False,
        parent_task_id: TaskId | None = None,
    ) -> tuple[ProjectTask, WorkCreated]:
        """Make a real task for it, by default of its title and description, and link the two.

        The first assigned agent's type is taken where `agent_type` is not given; without either,
        the dispatcher chooses. A task that must wait for a decision is linked by its checkpoint.
        A `queued` one waits for whoever takes tasks from the queue, by the priority of this one.
        With a `parent_task_id` it is part of another real task.

        Raises:
            NotFoundError: there is none.
            ConflictError: it was completed or cancelled.
            UsageError: this program makes no tasks.
        """
        if self._create_work is None:
            raise UsageError("no tasks can be made here")
        found = await self.get(task_id)
        check_open(found)
        words = text or "\n\n".join(part for part in (found.title, found.description) if part)
        chosen = agent_type or next(iter(found.assigned_agents), None)
        priority = FIRST_PRIORITY + LAST_PRIORITY - found.priority if queued else None
        wanted = WorkRequest(chosen, words, found.session_id, found.id, priority, parent_task_id)
        created = await self._create_work(wanted)
        if created.task_id is None and created.consensus_id is None:
            return found, created
        now = self._clock.now_ms()

        def link(task: ProjectTask) -> ProjectTask:
            return _linked(task, created, now_ms=now)

        linked = await self._stores.ask(lambda stores: stores.projects.change_task(task_id, link))
        return linked, created

    async def _set(self, task_id: ProjectTaskId, changes: Mapping[str, object]) -> ProjectTask:
        update = {**changes, "updated_at": self._clock.now_ms()}

        def change(found: ProjectTask) -> ProjectTask:
            return found.model_copy(update=update)

        return await self._stores.ask(lambda stores: stores.projects.change_task(task_id, change))


def _linked(task: ProjectTask, created: WorkCreated, *, now_ms: int) -> ProjectTask:
    update: dict[str, object] = {"updated_at": now_ms}
    if created.task_id is not None:
        update["task_ids"] = tuple(dict.fromkeys((*task.task_ids, created.task_id)))
    if created.consensus_id is not None:
        update["consensus_ids"] = tuple(dict.fromkeys((*task.consensus_ids, created.consensus_id)))
    return task.model_copy(update=update)


def _priority(value: int) -> int:
    return check_number(value, "priority", least=FIRST_PRIORITY, most=LAST_PRIORITY)


def _agents(names: Sequence[str]) -> tuple[str, ...]:
    if len(names) > MOST_AGENTS:
        raise UsageError(f"at most {MOST_AGENTS} agents can be assigned")
    checked = (check_text(name, "agent", shortest=1, longest=NAME_LENGTH) for name in names)
    return tuple(dict.fromkeys(checked))
