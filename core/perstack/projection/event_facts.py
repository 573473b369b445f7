"""What one event tells by itself: the checkpoint that it made, what it stands for in money."""

from __future__ import annotations

from typing import Final

from perstack.domain.events import (
    Body,
    CallTools,
    CompleteRun,
    ContinueToNextStep,
    Event,
    Retry,
    StopRunByDelegate,
    StopRunByError,
    StopRunByExceededBudget,
    StopRunByExceededMaxSteps,
    StopRunByInteractiveTool,
    SuspendRun,
    ToolResult,
)
from perstack.domain.expert import BASE_SKILL
from perstack.domain.ids import CheckpointId
from perstack.domain.messages import ToolCallPart
from perstack.domain.server_events import SampleModel
from perstack.domain.usage import NO_USAGE, Usage
from perstack.projection.program_tools import paths_of, writes_files

_WRITERS: Final = frozenset(
    {
        "writeTextFile",
        "appendTextFile",
        "editTextFile",
        "deleteFile",
        "deleteDirectory",
        "createDirectory",
        "moveFile",
    }
)


def made_checkpoint(event: Event) -> CheckpointId | None:
    """Return the checkpoint that `event` made, None when it made none."""
    match event.body:
        case (
            ContinueToNextStep(checkpoint_id=made)
            | SuspendRun(checkpoint_id=made)
            | StopRunByDelegate(checkpoint_id=made)
            | StopRunByInteractiveTool(checkpoint_id=made)
            | StopRunByExceededMaxSteps(checkpoint_id=made)
            | StopRunByExceededBudget(checkpoint_id=made)
            | StopRunByError(checkpoint_id=made)
            | CompleteRun(checkpoint_id=made)
        ):
            return made
        case _:
            return None


def spent_by(body: Body) -> tuple[Usage, float | None]:
    """Return the tokens that an event stands for and their cost in USD, None when unknown."""
    match body:
        case CallTools() | Retry() | CompleteRun() | SampleModel() | StopRunByError():
            return body.usage, 0.0 if body.usage == NO_USAGE else body.cost_usd
        case _:
            return NO_USAGE, 0.0


def changed_files(result: ToolResult) -> bool:
    """Tell whether it is that of a tool which wrote, moved or removed files.

    That is one of the base tools, or one of a program's own that is known to.
    """
    skill, tool = result.skill_name, result.tool_name
    own = skill == BASE_SKILL and tool in _WRITERS
    return (own or writes_files(skill, tool)) and not result.is_error


def written_paths(call: ToolCallPart) -> list[str]:
    """Return the paths that such a call names."""
    moved = [call.args.get(key) for key in ("source", "destination")]
    return [*paths_of(call.args), *(name for name in moved if isinstance(name, str))]
