"""What people and limits do to a run while it works, and what was found of its delegations."""

from __future__ import annotations

from typing import Literal

from perstack.domain.base import Model
from perstack.domain.ids import TaskId, ToolCallId
from perstack.domain.messages import UserMessage


class PauseRun(Model):
    """The run, and all that it delegates, waits at a step's boundary until somebody resumes it.

    `by` is a person, or the resource limits; the checkpoint is that of the step before.
    """

    type: Literal["pauseRun"] = "pauseRun"
    by: str
    reason: str | None = None


class ResumeRun(Model):
    """A paused run goes on."""

    type: Literal["resumeRun"] = "resumeRun"
    by: str


class SteerRun(Model):
    """Somebody said something to the run; its model reads it with the next generation."""

    type: Literal["steerRun"] = "steerRun"
    message: UserMessage
    by: str


class JudgeDrift(Model):
    """A delegation was compared with the tasks it descends from.

    `similarity` is the highest cosine, `task_id` whose it was; `action` "prevented" means that the
    call was refused. `reason` says why nothing, or not everything, was compared.
    """

    type: Literal["judgeDrift"] = "judgeDrift"
    tool_call_id: ToolCallId
    action: Literal["allowed", "warned", "prevented", "pending"]
    similarity: float
    task_id: TaskId | None = None
    checked_ancestors: int = 0
    reason: str | None = None
