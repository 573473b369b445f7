"""What people and limits do to a run while it works, and what was found of its delegations."""

from __future__ import annotations

from typing import Literal

from perstack.domain.base import Model
from perstack.domain.expert import Expert, ExpertRef
from perstack.domain.ids import ExpertKey, RunId, TaskId, ToolCallId
from perstack.domain.jobs import Limits
from perstack.domain.messages import InstructionMessage, UserMessage


class Steered(Model):
    """The base of what is not of the run's own doing."""


class PauseRun(Steered):
    """The run, and all that it delegates, waits at a step's boundary until somebody resumes it.

    `by` is a person, or the resource limits; the checkpoint is that of the step before.
    """

    type: Literal["pauseRun"] = "pauseRun"
    by: str
    reason: str | None = None


class ResumeRun(Steered):
    """A paused run goes on."""

    type: Literal["resumeRun"] = "resumeRun"
    by: str


class SteerRun(Steered):
    """Somebody said something to the run; its model reads it with the next generation."""

    type: Literal["steerRun"] = "steerRun"
    message: UserMessage
    by: str


class ChangeModel(Steered):
    """The run generates with another model from its next step on.

    `before` is the one it had; `context_window` in tokens, None when unknown.
    """

    type: Literal["changeModel"] = "changeModel"
    by: str
    model: str
    before: str
    context_window: int | None = None


class TakeDefinition(Steered):
    """The run goes on with its Expert as defined now, in place of the one that it had.

    `experts` holds that definition, and those of delegates that the job did not know, without
    secrets; `instruction` stands in place of the message that the conversation began with.
    `changes` says in short phrases what is different.
    """

    type: Literal["takeDefinition"] = "takeDefinition"
    by: str
    expert: ExpertRef
    before: ExpertRef
    experts: dict[ExpertKey, Expert]
    instruction: InstructionMessage
    changes: tuple[str, ...] = ()


class RaiseBudget(Steered):
    """The job may use more: `limits` are what holds for it from here on."""

    type: Literal["raiseBudget"] = "raiseBudget"
    by: str
    limits: Limits


class RetryDelegate(Steered):
    """A delegation that failed is done again, by a run of its own, while others still work."""

    type: Literal["retryDelegate"] = "retryDelegate"
    by: str
    tool_call_id: ToolCallId
    before: RunId
    run_id: RunId


class RefuseOrder(Steered):
    """What somebody wanted of the run cannot be done, and why."""

    type: Literal["refuseOrder"] = "refuseOrder"
    by: str
    order: str
    reason: str


class JudgeDrift(Steered):
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


Steering = (
    PauseRun
    | ResumeRun
    | SteerRun
    | ChangeModel
    | TakeDefinition
    | RaiseBudget
    | RetryDelegate
    | RefuseOrder
    | JudgeDrift
)
