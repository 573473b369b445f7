"""Projects, the tasks they are made of, and the phases that such a task goes through."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Literal, NewType

from pydantic import Field, JsonValue

from perstack.domain.base import Model
from perstack.domain.ids import ConsensusId, SessionId, TaskId
from perstack.errors import ConflictError, WrongStateError

ProjectId = NewType("ProjectId", str)
ProjectTaskId = NewType("ProjectTaskId", str)

ProjectStatus = Literal["active", "archived"]
Phase = Literal["draft", "specification", "review", "development", "completed", "cancelled"]

PROJECT_STATUSES: Final[tuple[ProjectStatus, ...]] = ("active", "archived")
TRANSITIONS: Final[Mapping[Phase, tuple[Phase, ...]]] = {
    "draft": ("specification", "cancelled"),
    "specification": ("review", "cancelled"),
    "review": ("specification", "development", "cancelled"),
    "development": ("completed", "cancelled"),
    "completed": (),
    "cancelled": (),
}
PHASES: Final[tuple[Phase, ...]] = tuple(TRANSITIONS)
FIRST_PRIORITY: Final = 1
LAST_PRIORITY: Final = 10
USUAL_PRIORITY: Final = 5


class Project(Model):
    """A folder of work. Times in Unix milliseconds. `path` is what somebody wrote, unchecked."""

    id: ProjectId
    name: str
    path: str
    description: str | None = None
    status: ProjectStatus = "active"
    created_at: int
    updated_at: int
    metadata: dict[str, JsonValue] = Field(default_factory=dict)


class ProjectTask(Model):
    """A piece of a project. Priority 1 comes first.

    `task_ids` are the tasks that Experts work at for it, `consensus_ids` the checkpoints at which
    tasks for it wait to be made. `completed_at` is when it was completed or cancelled.
    """

    id: ProjectTaskId
    project_id: ProjectId
    session_id: SessionId | None = None
    title: str
    description: str | None = None
    phase: Phase = "draft"
    priority: int = USUAL_PRIORITY
    assigned_agents: tuple[str, ...] = ()
    task_ids: tuple[TaskId, ...] = ()
    consensus_ids: tuple[ConsensusId, ...] = ()
    created_at: int
    updated_at: int
    completed_at: int | None = None


def moved(task: ProjectTask, phase: Phase, *, now_ms: int) -> ProjectTask:
    """Return the task in another phase.

    Raises:
        WrongStateError: its phase does not lead there.
    """
    allowed = TRANSITIONS[task.phase]
    if phase not in allowed:
        raise WrongStateError(
            f"Cannot transition from {task.phase} to {phase}."
            f" Allowed: {', '.join(allowed) or 'none'}"
        )
    ended = not TRANSITIONS[phase]
    return task.model_copy(
        update={
            "phase": phase,
            "updated_at": now_ms,
            "completed_at": now_ms if ended else None,
        }
    )


def check_open(task: ProjectTask) -> None:
    """Raise if nothing is to be done for the task any more.

    Raises:
        ConflictError: it was completed or cancelled.
    """
    if not TRANSITIONS[task.phase]:
        raise ConflictError(f"Project task is already {task.phase}")
