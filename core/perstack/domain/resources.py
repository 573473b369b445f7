"""What an agent uses, counted from the events of its runs, and how near its limits that is."""

from __future__ import annotations

from typing import Final, Literal

from pydantic import Field, JsonValue

from perstack.domain.base import Model
from perstack.domain.coordination import ResourceSettings, ResourceThresholds
from perstack.domain.ids import AgentId, RunId
from perstack.domain.moments import Moment

Phase = Literal["normal", "warning", "intervention", "termination"]
ThresholdKey = Literal[
    "maxFilesAccessed",
    "maxApiCalls",
    "maxSubtasksSpawned",
    "maxTokensConsumed",
    "maxTimeWithoutDeliverableMs",
]
Trigger = ThresholdKey | Literal["manual"]
ActionTaken = Literal["allowed", "warned", "paused", "terminated"]
FileOperation = Literal["read", "write", "modify"]
DeliverableType = Literal[
    "task_completed",
    "code_committed",
    "tests_passed",
    "user_checkpoint",
    "artifact_produced",
]
Counter = Literal[
    "files_read",
    "files_written",
    "files_modified",
    "api_calls_count",
    "subtasks_spawned",
    "tokens_consumed",
]

PHASES: Final[tuple[Phase, ...]] = ("normal", "warning", "intervention", "termination")
THRESHOLD_KEYS: Final[tuple[ThresholdKey, ...]] = (
    "maxFilesAccessed",
    "maxApiCalls",
    "maxSubtasksSpawned",
    "maxTokensConsumed",
    "maxTimeWithoutDeliverableMs",
)
DELIVERABLE_TYPES: Final[tuple[DeliverableType, ...]] = (
    "task_completed",
    "code_committed",
    "tests_passed",
    "user_checkpoint",
    "artifact_produced",
)
FILE_COUNTERS: Final[dict[FileOperation, Counter]] = {
    "read": "files_read",
    "write": "files_written",
    "modify": "files_modified",
}
COUNTERS: Final[tuple[Counter, ...]] = (
    "files_read",
    "files_written",
    "files_modified",
    "api_calls_count",
    "subtasks_spawned",
    "tokens_consumed",
)


class Counters(Model):
    """How much was used of what is counted; never less than before."""

    files_read: int = 0
    files_written: int = 0
    files_modified: int = 0
    api_calls_count: int = 0
    subtasks_spawned: int = 0
    tokens_consumed: int = 0

    @property
    def files_accessed(self) -> int:
        """Files read, written and modified; a file counts each time."""
        return self.files_read + self.files_written + self.files_modified


NO_COUNTERS: Final = Counters()


class ResourceMetrics(Counters):
    """What one agent used since it began. Times in Unix milliseconds.

    Limits count from `counted_from`, what had been used when a person last let the agent go on (or
    the one free `raised` was taken), and from `clock_from` or the last deliverable, whichever is
    later. While an agent waits for somebody, or nobody drives it, its clock stands at `idle_since`.
    `triggered_by` is what led to the phase, None in the phase "normal". `last_seq` is the number of
    the last event of the run `run_id` that was counted.
    """

    agent_id: AgentId
    agent_type: str = "unknown"
    started_at: Moment
    last_deliverable_at: Moment | None = None
    last_activity_at: Moment
    phase: Phase = "normal"
    paused_at: Moment | None = None
    pause_reason: str | None = None
    triggered_by: Trigger | None = None
    counted_from: Counters = NO_COUNTERS
    clock_from: Moment
    idle_since: Moment | None = None
    raised: bool = False
    run_id: RunId | None = None
    last_seq: int = -1

    @property
    def counters(self) -> Counters:
        """The counters alone."""
        return Counters.model_construct(**{name: getattr(self, name) for name in COUNTERS})

    @property
    def clock_started_at(self) -> int:
        """When the time without a deliverable began."""
        return max(self.clock_from, self.last_deliverable_at or 0)

    def without_deliverable_ms(self, now_ms: int) -> int:
        """How long the agent worked without a deliverable; waits and pauses are left out."""
        stops = [at for at in (self.idle_since, self.paused_at) if at is not None]
        return max(0, min([now_ms, *stops]) - self.clock_started_at)


class Deliverable(Model):
    """A result that restarts an agent's clock."""

    id: str
    agent_id: AgentId
    type: DeliverableType
    description: str | None = None
    artifacts: tuple[str, ...] = ()
    created_at: Moment


class ExhaustionEvent(Model):
    """An agent came into another phase. `triggered_by` is never empty, for "normal" either."""

    id: str
    agent_id: AgentId
    agent_type: str
    phase: Phase
    action_taken: ActionTaken
    metrics: dict[str, JsonValue]
    thresholds: ResourceThresholds
    triggered_by: Trigger
    created_at: Moment


class ResourceSummary(Model):
    """All agents that are tracked. The totals and at most ten events are those since a time."""

    total_agents_tracked: int
    agents_by_phase: dict[Phase, int]
    paused_agents: int
    total_warnings: int
    total_interventions: int
    total_terminations: int
    recent_events: tuple[ExhaustionEvent, ...]


class ResourceReport(Model):
    """What the limits are, and how much of them is used."""

    enabled: bool
    config: ResourceSettings
    metrics: ResourceSummary


class Evaluation(Model):
    """How near its limits an agent is: a share of each, 1 and more when it is used up.

    `triggered_by` is the first key that led to the phase, None in the phase "normal".
    """

    phase: Phase
    triggered_by: ThresholdKey | None
    ratios: dict[ThresholdKey, float] = Field(default_factory=dict[ThresholdKey, float])


class Verdict(Evaluation):
    """What becomes of a run at a step's boundary: it goes on, waits for a person, or ends."""

    action: Literal["go", "pause", "stop"] = "go"
    reason: str | None = None


def begin(agent_id: AgentId, agent_type: str = "unknown", *, at: int) -> ResourceMetrics:
    """Return the metrics of an agent that begins at `at` (Unix ms)."""
    return ResourceMetrics(
        agent_id=agent_id,
        agent_type=agent_type,
        started_at=at,
        last_activity_at=at,
        clock_from=at,
    )


def resumed(metrics: ResourceMetrics, at: int) -> ResourceMetrics | None:
    """Return the metrics of an agent that a person lets go on, None when it was not paused.

    After an intervention its limits count from here and its clock begins anew: otherwise it would
    be paused again at once. After any other pause they go on from where they were.
    """
    if metrics.paused_at is None:
        return None
    update: dict[str, object] = {"paused_at": None, "pause_reason": None}
    if metrics.phase == "intervention":
        return allowed_again(metrics, at).model_copy(update={**update, "phase": "warning"})
    update["clock_from"] = _moved_clock(metrics, at)
    update["idle_since"] = None if metrics.idle_since is None else at
    return metrics.model_copy(update=update)


def allowed_again(metrics: ResourceMetrics, at: int) -> ResourceMetrics:
    """Return the metrics with limits that count from here and a clock that begins at `at`."""
    idle = None if metrics.idle_since is None else at
    update = {"counted_from": metrics.counters, "clock_from": at, "idle_since": idle}
    return metrics.model_copy(update=update)


def evaluate(metrics: ResourceMetrics, settings: ResourceSettings, now_ms: int) -> Evaluation:
    """Return how near its limits an agent is, at `now_ms` (Unix ms)."""
    ratios = _ratios(metrics, settings.thresholds, now_ms)
    if (over := _first(ratios, 1.0)) is not None:
        return Evaluation(phase="intervention", triggered_by=over, ratios=ratios)
    near = _first(ratios, settings.warning_threshold_percent)
    phase: Phase = "normal" if near is None else "warning"
    return Evaluation(phase=phase, triggered_by=near, ratios=ratios)


def _first(ratios: dict[ThresholdKey, float], least: float) -> ThresholdKey | None:
    for key in THRESHOLD_KEYS:
        if ratios[key] >= least:
            return key
    return None


def _ratios(
    metrics: ResourceMetrics, thresholds: ResourceThresholds, now_ms: int
) -> dict[ThresholdKey, float]:
    base = metrics.counted_from
    used = (
        (metrics.files_accessed - base.files_accessed, thresholds.max_files_accessed),
        (metrics.api_calls_count - base.api_calls_count, thresholds.max_api_calls),
        (metrics.subtasks_spawned - base.subtasks_spawned, thresholds.max_subtasks_spawned),
        (metrics.tokens_consumed - base.tokens_consumed, thresholds.max_tokens_consumed),
        (metrics.without_deliverable_ms(now_ms), thresholds.max_time_without_deliverable_ms),
    )
    return dict(zip(THRESHOLD_KEYS, (_share(one, limit) for one, limit in used), strict=True))


def _share(used: int, limit: int) -> float:
    # A limit below 1 is none that perstack.toml can hold; whoever sets one allows nothing.
    return max(0, used) / limit if limit > 0 else float("inf")


def awake(metrics: ResourceMetrics, at: int) -> ResourceMetrics:
    """Return the metrics with the clock moved on by the time that the agent did not work.

    What a paused agent still does until its next boundary does not set its clock going.
    """
    if metrics.idle_since is None or metrics.paused_at is not None:
        return metrics
    return metrics.model_copy(update={"idle_since": None, "clock_from": _moved_clock(metrics, at)})


def _moved_clock(metrics: ResourceMetrics, at: int) -> int:
    """Return where the clock is to begin for the agent to have worked as long as it has, `at`."""
    return max(metrics.clock_from, at - metrics.without_deliverable_ms(at))
