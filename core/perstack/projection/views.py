"""What a screen shows, as plain values. `perstack.projection.workspace` makes them from events."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
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
class CallView:
    """A call as the model made it. Raw, and each text cut where it is long.

    `args` is its input as JSON, without what `before` and `after` hold: the text that an edit
    replaces, None for what is written or appended (`appends`), and what it puts there. `child` is
    the run that a delegation began, `path` the file that the call names.
    """

    tool_name: str
    skill_name: str = ""
    args: str = ""
    before: str | None = None
    after: str | None = None
    appends: bool = False
    child: RunId | None = None
    path: str = ""


@dataclass(frozen=True, slots=True)
class EntryView:
    """One transcript entry. `text` is raw: whoever paints it makes it inert.

    `size` is the length of the whole text in characters, which `text` may be a part of.
    """

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
    size: int = 0
    call: CallView | None = None


@dataclass(frozen=True, slots=True)
class QuestionView:
    """An interactive tool call that waits for the user. `args` is the tool's input as JSON.

    `several`: more than one of `choices` may be taken. `later` are the run's questions behind it.
    """

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
    several: bool = False
    later: tuple[QuestionView, ...] = ()

    def with_later(self, later: tuple[QuestionView, ...]) -> QuestionView:
        """Return it with the questions that stand behind it."""
        return replace(self, later=later)


@dataclass(frozen=True, slots=True)
class PauseView:
    """Why a run stands still: who paused it and when (Unix ms). `by_limits`: no person did."""

    by: str
    reason: str | None
    at: int
    by_limits: bool = False


@dataclass(frozen=True, slots=True)
class RunView:
    """One run, as tree, timeline, watch table and stream show it. Times in Unix ms.

    `model` is the one that it generates with now; `paused` is why a run at work stands still.

    `entries` are the last ones of its transcript; `earlier` more came before them and are read back
    when somebody wants to see them.
    """

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
    earlier: int = 0
    consensus_id: ConsensusId | None = None
    question: QuestionView | None = None
    children: tuple[RunId, ...] = ()
    paused: PauseView | None = None


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
