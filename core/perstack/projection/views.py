"""What a screen shows, as plain values. `perstack.projection.workspace` makes them from events."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from perstack.domain.ids import CheckpointId, ConsensusId, ExpertKey, JobId, RunId, ToolCallId

if TYPE_CHECKING:
    from perstack.domain.consensus import ConsensusCheckpoint
    from perstack.domain.events import RunError
    from perstack.domain.jobs import RunStatus
    from perstack.domain.usage import Cost, Usage

ScreenState = Literal[
    "idle", "run", "waits", "gate", "asks", "stall", "lost", "fail", "stop", "limit", "done"
]


@dataclass(frozen=True, slots=True)
class PointView:
    """One checkpoint on the timeline.

    `usage` and `cost` are those of its step; `files` were written in it.
    """

    checkpoint_id: CheckpointId
    step_number: int
    timestamp: int
    kind: Literal["step", "delegate", "ask", "gate", "done", "fail", "limit", "stop"]
    usage: Usage
    cost: Cost
    files: tuple[str, ...] = ()
    label: str = ""


@dataclass(frozen=True, slots=True)
class EntryView:
    """One transcript entry. `text` is raw: whoever paints it makes it inert."""

    kind: Literal[
        "query",
        "reasoning",
        "text",
        "tool",
        "delegate",
        "question",
        "gate",
        "retry",
        "result",
        "error",
        "note",
    ]
    title: str
    text: str = ""
    tool_call_id: ToolCallId | None = None
    status: Literal["running", "ok", "error", "waiting"] | None = None
    timestamp: int = 0
    duration_ms: int | None = None


@dataclass(frozen=True, slots=True)
class QuestionView:
    """An interactive tool call that waits for the user. `args` is the tool's input as JSON."""

    job_id: JobId
    run_id: RunId
    expert_key: ExpertKey
    tool_call_id: ToolCallId
    tool_name: str
    text: str
    choices: tuple[str, ...]
    args: str
    asked_at: int
    position: int = 1
    of: int = 1


@dataclass(frozen=True, slots=True)
class RunView:
    """One run, as tree, timeline, watch table and stream show it. Times in Unix ms."""

    run_id: RunId
    job_id: JobId
    expert_key: ExpertKey
    expert_version: str
    parent_run_id: RunId | None
    forked_from: RunId | None
    status: RunStatus
    state: ScreenState
    doing: str
    step_number: int
    steps: int
    usage: Usage
    cost: Cost
    context_window_usage: float | None
    started_at: int
    finished_at: int | None
    last_event_at: int
    model: str
    provider_name: str
    query: str
    error: RunError | None = None
    points: tuple[PointView, ...] = ()
    entries: tuple[EntryView, ...] = ()
    consensus_id: ConsensusId | None = None
    question: QuestionView | None = None
    children: tuple[RunId, ...] = ()


@dataclass(frozen=True, slots=True)
class JobView:
    """One job. `runs` in order of start; `pid` and `host` of the process that drives it."""

    job_id: JobId
    expert_key: ExpertKey
    coordinator_run_id: RunId
    state: ScreenState
    alive: bool
    pid: int | None
    host: str | None
    started_at: int
    finished_at: int | None
    total_steps: int
    max_steps: int
    usage: Usage
    cost: Cost
    runs: tuple[RunView, ...] = ()
    damage: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class InboxView:
    """What waits for a person, most urgent first, and what was decided, newest first."""

    pending: tuple[ConsensusCheckpoint, ...] = ()
    questions: tuple[QuestionView, ...] = ()
    decided: tuple[ConsensusCheckpoint, ...] = ()


@dataclass(frozen=True, slots=True)
class WorkspaceView:
    """Everything the cockpit shows of a workspace. `jobs` newest first."""

    jobs: tuple[JobView, ...] = ()
    inbox: InboxView = field(default_factory=InboxView)
    caught_up: bool = False
