"""Projects with their tasks, and the specifications that are written for those."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final

from perstack.domain.projects import TRANSITIONS, Project, ProjectId, ProjectTask, ProjectTaskId
from perstack.domain.specifications import Comment, Specification, SpecificationId
from perstack.errors import UsageError
from perstack.services.project_tasks import ProjectTaskService
from perstack.services.projects import ProjectService
from perstack.services.specifications import SpecificationService
from perstack.services.whoami import whoami
from perstack_tui.local.records.rows import (
    MOST,
    age,
    clock,
    many,
    moment,
    said,
    selected,
    state,
    stated,
    structure,
    unknown,
    word,
)
from perstack_tui.local.records.services import Services
from perstack_tui.ports.records import Column, Field, Row, Verb

_TASK: Final = "task "
_PROJECT: Final = "project "
_ADD: Final = Verb("add", "t", "add a task", asks="what is to be done")
_ARCHIVE: Final = Verb("archive", "z", "archive")
_REVIVE: Final = Verb("revive", "z", "take out of the archive")
_DELETE: Final = Verb(
    "delete", "D", "delete", warns="Its tasks and specifications go with it; real tasks stay."
)
_ASSIGN: Final = Verb("assign", "A", "assign", asks="types or names of agents, with commas")
_CANCEL: Final = Verb("cancelled", "x", "cancel", warns="It is cancelled for good.")
_NEW: Final = Verb("new", "n", "new", asks="a name; behind a colon its folder, else this one")
_MOVES: Final = {
    "specification": ("S", "to specification"),
    "review": ("v", "to review"),
    "development": ("d", "to development"),
    "completed": ("c", "complete"),
}


@dataclass(frozen=True, slots=True)
class _Entry:
    """A project, or a task of it."""

    project: Project
    task: ProjectTask | None = None


class Projects:
    """Projects, the last changed first, each with its tasks below it."""

    empty = (
        "No projects yet.\n"
        "n makes one: a folder of work with tasks in phases, from draft to completed."
    )
    columns = (
        Column("phase", 15),
        Column("project or task", 0),
        Column("prio", 4, right=True),
        Column("assigned", 18),
        Column("changed", 7, right=True),
    )
    verbs = (_NEW,)

    def __init__(self, services: Services) -> None:
        self._own = services
        parts = (services.stores,)
        self._projects = ProjectService(*parts, clock=services.clock, ids=services.ids)
        self._tasks = ProjectTaskService(*parts, clock=services.clock, ids=services.ids)

    async def page(self, needle: str, limit: int, offset: int) -> tuple[Sequence[Row], int]:
        """Return rows, and how many match in all."""
        entries: list[_Entry] = []
        for project in await self._projects.list(limit=MOST):
            entries.append(_Entry(project))
            if len(entries) < 10 * MOST:
                entries += [_Entry(project, task) for task in await self._tasks.list(project.id)]
        row = partial(_row, now_ms=self._own.clock.now_ms())
        return await selected(entries, row, needle, limit, offset)

    async def details(self, record_id: str) -> Sequence[Field]:
        """Return all of a record."""
        if not record_id.startswith(_TASK):
            return _project_fields(await self._projects.get(_project_id(record_id)))
        task = await self._tasks.get(_task_id(record_id))
        project = await self._projects.get(task.project_id)
        found = await self._own.stores.ask(lambda s: s.projects.list_specifications(task.id))
        return _task_fields(task, project, found)

    async def act(self, record_id: str | None, verb_id: str, text: str | None) -> str:
        """Do a verb; return what to tell."""
        if record_id is None:
            return await self._create(verb_id, text)
        if record_id.startswith(_TASK):
            return await self._act_on_task(_task_id(record_id), verb_id, text)
        at = _project_id(record_id)
        match verb_id:
            case "add":
                made = await self._tasks.create(at, text or "")
                return f"{made.title} is a draft"
            case "archive" | "revive":
                status = "archived" if verb_id == "archive" else "active"
                changed = await self._projects.update(at, status=status)
                return f"{changed.name} is {changed.status}"
            case "delete":
                await self._projects.delete(at)
                return "the project is deleted"
            case _:
                raise unknown(verb_id)

    async def _create(self, verb_id: str, text: str | None) -> str:
        if verb_id != "new":
            raise unknown(verb_id)
        name, _, folder = (text or "").partition(":")
        path = folder.strip() or str(self._own.workspace)
        made = await self._projects.create(name.strip(), path)
        return f"{made.name} is there; t adds a task"

    async def _act_on_task(self, at: ProjectTaskId, verb_id: str, text: str | None) -> str:
        match verb_id:
            case "assign":
                names = [name.strip() for name in (text or "").split(",") if name.strip()]
                task = await self._tasks.assign(at, names)
                return f"{task.title} is {', '.join(task.assigned_agents) or 'nobody'}'s"
            case "delete":
                await self._tasks.delete(at)
                return "the project's task is deleted"
            case "specification" | "review" | "development" | "completed" | "cancelled":
                task = await self._tasks.move(at, verb_id)
                return f"{task.title}: {task.phase}"
            case _:
                raise unknown(verb_id)


def _project_id(record_id: str) -> ProjectId:
    return ProjectId(record_id.removeprefix(_PROJECT))


def _task_id(record_id: str) -> ProjectTaskId:
    return ProjectTaskId(record_id.removeprefix(_TASK))


def _row(entry: _Entry, *, now_ms: int) -> Row:
    project, task = entry.project, entry.task
    if task is None:
        active = project.status == "active"
        return Row(
            f"{_PROJECT}{project.id}",
            (
                state(project.status),
                word(project.name, "strong"),
                word(""),
                word(project.path, "muted"),
                age(project.updated_at, now_ms),
            ),
            (_ADD, _ARCHIVE if active else _REVIVE, _DELETE),
        )
    return Row(
        f"{_TASK}{task.id}",
        (
            state(task.phase),
            word(f"  {task.title}"),
            word(str(task.priority)),
            word(", ".join(task.assigned_agents)),
            age(task.updated_at, now_ms),
        ),
        _task_verbs(task),
    )


def _task_verbs(task: ProjectTask) -> tuple[Verb, ...]:
    next_ones = TRANSITIONS[task.phase]
    moves = [Verb(name, *_MOVES[name]) for name in next_ones if name in _MOVES]
    ends = (_ASSIGN, _CANCEL) if next_ones else ()
    return (*moves, *ends, _DELETE)


def _project_fields(project: Project) -> list[Field]:
    return [
        Field("name", project.name, "strong"),
        stated(project.status),
        Field("folder", project.path),
        *said("about", project.description),
        *moment("made", project.created_at),
        *moment("changed", project.updated_at),
        *structure("metadata", project.metadata),
        *said("id", project.id),
    ]


def _task_fields(
    task: ProjectTask, project: Project, specifications: Sequence[Specification]
) -> list[Field]:
    written = [f"{one.title} ({one.type}, {one.status}, v{one.version})" for one in specifications]
    return [
        Field("title", task.title, "strong"),
        stated(task.phase),
        Field("project", project.name),
        *said("about", task.description),
        *said("priority", f"{task.priority} (1 comes first)"),
        *said("assigned to", task.assigned_agents),
        *many("specified by", written),
        *many("real tasks", task.task_ids),
        *many("waits at", task.consensus_ids),
        *moment("made", task.created_at),
        *moment("changed", task.updated_at),
        *moment("ended", task.completed_at),
        *said("id", task.id),
    ]


# --- specifications -------------------------------------------------------------------------

_COMMENT: Final = Verb("comment", "C", "comment", asks="what you say of it")
_DROP: Final = Verb("delete", "D", "delete", warns="The specification and its comments are gone.")
_SUBMIT: Final = Verb("submit", "s", "hand in")


class Specifications:
    """Specifications of all projects' tasks, those that wait for a review first."""

    empty = (
        "No specifications yet.\n"
        "A program writes them for a project's task: team.specifications.create(…), see"
        " docs/projects.md."
    )
    columns = (
        Column("state", 16),
        Column("title", 0),
        Column("type", 12),
        Column("v", 3, right=True),
        Column("by", 12),
        Column("changed", 7, right=True),
    )
    verbs: tuple[Verb, ...] = ()

    def __init__(self, services: Services) -> None:
        self._own = services
        self._service = SpecificationService(
            services.stores, clock=services.clock, ids=services.ids
        )

    async def page(self, needle: str, limit: int, offset: int) -> tuple[Sequence[Row], int]:
        """Return rows, and how many match in all."""
        found = await self._own.stores.ask(
            lambda stores: stores.projects.list_specifications(None, limit=10 * MOST)
        )
        found = sorted(found, key=lambda one: one.status != "pending_review")
        row = partial(_specification_row, now_ms=self._own.clock.now_ms())
        return await selected(found, row, needle, limit, offset)

    async def details(self, record_id: str) -> Sequence[Field]:
        """Return all of a record."""
        found = await self._service.get(SpecificationId(record_id))
        task_id = found.project_task_id
        task = await self._own.stores.ask(lambda s: s.projects.get_task(task_id))
        return [
            Field("title", found.title, "strong"),
            stated(found.status),
            Field("type", f"{found.type}, version {found.version}"),
            *said("for", task.title),
            Field("content", found.content),
            *many("comments", [_comment(one) for one in found.comments]),
            *said("written by", found.created_by),
            *said("reviewed by", found.reviewed_by),
            *moment("made", found.created_at),
            *moment("changed", found.updated_at),
            *moment("approved", found.approved_at),
            *said("id", found.id),
        ]

    async def act(self, record_id: str | None, verb_id: str, text: str | None) -> str:
        """Do a verb; return what to tell."""
        service, at, me = self._service, SpecificationId(record_id or ""), whoami()
        name, _, read = verb_id.partition(" ")
        # What was listed is what is decided: an edit since makes it another version.
        version = int(read) if read.isdigit() else None
        match name:
            case "submit":
                return _told(await service.submit(at))
            case "approve":
                return _told(await service.approve(at, reviewed_by=me, version=version))
            case "reject":
                if text is None:
                    raise UsageError("a rejection says why")
                done = await service.reject(at, reviewed_by=me, comments=[text], version=version)
                return _told(done)
            case "comment":
                await service.comment(at, author=me, content=text or "")
                return "the comment is there"
            case "delete":
                await service.delete(at)
                return "the specification is deleted"
            case _:
                raise unknown(verb_id)


def _told(found: Specification) -> str:
    return f"{found.title}: {found.status.replace('_', ' ')}"


def _specification_row(found: Specification, *, now_ms: int) -> Row:
    verbs: tuple[Verb, ...] = ()
    if found.status == "pending_review":
        version = found.version
        verbs = (
            Verb(f"approve {version}", "a", "approve", warns=f"Version {version} is fixed then."),
            Verb(f"reject {version}", "r", "reject", asks="why"),
        )
    elif found.status in ("draft", "rejected"):
        verbs = (_SUBMIT,)
    return Row(
        found.id,
        (
            state(found.status),
            word(found.title, "strong"),
            word(found.type),
            word(str(found.version)),
            word(found.created_by, "muted"),
            age(found.updated_at, now_ms),
        ),
        (*verbs, _COMMENT, _DROP),
    )


def _comment(one: Comment) -> str:
    done = " (dealt with)" if one.resolved else ""
    return f"{clock(one.created_at)}  {one.author}{done}: {one.content}"
