"""What the events of a run say of the files, calls, tokens and subtasks that it used."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from perstack.domain.events import (
    Body,
    CallTools,
    CompleteRun,
    Event,
    RequestApproval,
    RequestInput,
    Retry,
    SampleModel,
    SkillDisconnected,
    SkillLog,
    SkillProgress,
    SkillStderr,
    StartGeneration,
    StopRunByDelegate,
    StopRunByError,
    StopRunByExceededBudget,
    StopRunByExceededMaxSteps,
    StopRunByInteractiveTool,
    SuspendRun,
    ToolReturned,
)
from perstack.domain.expert import BASE_SKILL
from perstack.domain.ids import RunId
from perstack.domain.resources import Counter, ResourceMetrics, awake, resumed
from perstack.domain.steering_events import PauseRun, ResumeRun

DELEGATE_SKILL: Final = "delegate/"

# What the base tools do to files. What `exec` and other servers' tools do to them is not known.
_FILE_TOOLS: Final[dict[str, Counter]] = {
    "readTextFile": "files_read",
    "readImageFile": "files_read",
    "readPdfFile": "files_read",
    "writeTextFile": "files_written",
    "appendTextFile": "files_modified",
    "editTextFile": "files_modified",
    "moveFile": "files_modified",
    "deleteFile": "files_modified",
    "deleteDirectory": "files_modified",
}
_WAITS: Final = (
    CompleteRun,
    PauseRun,
    RequestApproval,
    RequestInput,
    StopRunByError,
    StopRunByExceededBudget,
    StopRunByExceededMaxSteps,
    StopRunByInteractiveTool,
    SuspendRun,
)
# What servers say by themselves: no work of the agent's.
_NOISE: Final = (SkillDisconnected, SkillLog, SkillProgress, SkillStderr)


@dataclass(frozen=True, slots=True)
class Activity:
    """What one event adds. `waits`: the agent works no more until its next one.

    `resumed`: a person let it go on.
    """

    run_id: RunId
    seq: int
    at: int
    counter: Counter | None = None
    amount: int = 0
    tokens: int = 0
    delivered: bool = False
    waits: bool = False
    resumed: bool = False


def apply(metrics: ResourceMetrics, event: Event) -> ResourceMetrics:
    """Return the metrics after an event of the agent's run; an event counts once."""
    activity = activity_of(event)
    return metrics if activity is None else applied(metrics, activity)


def activity_of(event: Event) -> Activity | None:
    """Return what an event adds, None when it says nothing of the agent's work."""
    body = event.body
    if isinstance(body, _NOISE):
        return None
    counter, amount = _counted(body)
    return Activity(
        event.run_id,
        event.seq,
        event.timestamp,
        counter,
        amount,
        _tokens(body),
        _delivers(body),
        isinstance(body, _WAITS),
        isinstance(body, ResumeRun),
    )


def applied(metrics: ResourceMetrics, activity: Activity) -> ResourceMetrics:
    """Return the metrics after an activity; one that was counted already adds nothing."""
    if activity.run_id == metrics.run_id and activity.seq <= metrics.last_seq:
        return metrics
    let_go = resumed(metrics, activity.at) if activity.resumed else None
    moved = awake(let_go or metrics, activity.at)
    update: dict[str, object] = {
        "run_id": activity.run_id,
        "last_seq": activity.seq,
        "tokens_consumed": moved.tokens_consumed + activity.tokens,
        "last_activity_at": max(moved.last_activity_at, activity.at),
        "idle_since": moved.idle_since or (activity.at if activity.waits else None),
    }
    if activity.counter is not None:
        update[activity.counter] = getattr(moved, activity.counter) + activity.amount
    if activity.delivered:
        update["last_deliverable_at"] = max(moved.last_deliverable_at or 0, activity.at)
    return moved.model_copy(update=update)


def counted(
    metrics: ResourceMetrics, counter: Counter, *, tokens: int = 0, at: int
) -> ResourceMetrics:
    """Return the metrics with one more of a counter, and `tokens` more, at `at` (Unix ms)."""
    moved = awake(metrics, at)
    return moved.model_copy(
        update={
            "tokens_consumed": moved.tokens_consumed + tokens,
            counter: getattr(moved, counter) + 1,
            "last_activity_at": max(moved.last_activity_at, at),
        }
    )


def _counted(body: Body) -> tuple[Counter | None, int]:
    match body:
        case StartGeneration() | SampleModel():
            return "api_calls_count", 1
        case StopRunByDelegate():
            return "subtasks_spawned", len(body.delegate_to)
        case ToolReturned(result=result) if result.skill_name == BASE_SKILL and not result.is_error:
            return _FILE_TOOLS.get(result.tool_name), 1
        case _:
            return None, 0


def _tokens(body: Body) -> int:
    match body:
        case CallTools() | Retry() | CompleteRun() | SampleModel() | StopRunByError():
            return body.usage.total_tokens
        case _:
            return 0


def _delivers(body: Body) -> bool:
    """Tell whether a run was completed: the agent's own, or one that it delegated."""
    if isinstance(body, ToolReturned):
        return body.result.skill_name.startswith(DELEGATE_SKILL) and not body.result.is_error
    return isinstance(body, CompleteRun)
