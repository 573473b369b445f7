"""One run as the screen shows it, folded along without keeping its messages."""

from __future__ import annotations

from typing import Final, Literal

from perstack.domain.events import (
    Body,
    CallTools,
    CompleteRun,
    Delta,
    Event,
    InitializeRuntime,
    Retry,
    StartGeneration,
    StartRun,
    StopRunByDelegate,
    StopRunByError,
    StopRunByExceededBudget,
    StopRunByExceededMaxSteps,
    StopRunByInteractiveTool,
    SuspendRun,
    ToolReturned,
)
from perstack.domain.ids import CheckpointId, ConsensusId, ExpertKey, JobId, RunId
from perstack.domain.messages import UserMessage, text_of
from perstack.domain.program_events import StartProgram
from perstack.domain.server_events import SampleModel, SkillStarting
from perstack.domain.steering_events import PauseRun, RaiseBudget, RetryDelegate, Steered
from perstack.domain.usage import NO_COST, NO_USAGE
from perstack.projection.cutting import cut, one_line
from perstack.projection.doing import PHRASE, doing_phrase, question_text
from perstack.projection.event_facts import made_checkpoint, spent_by
from perstack.projection.folding import files_of, state_met
from perstack.projection.live_text import Speech
from perstack.projection.phrases import COMPLETION_TOOL, calls_phrase, limit_phrase
from perstack.projection.points import Points
from perstack.projection.program_phrases import model_of, vendor_of
from perstack.projection.run_questions import pause_view, question_view
from perstack.projection.run_state import RunState, initial, without_messages
from perstack.projection.state_fold import fold
from perstack.projection.transcript import ENTRY_CHARACTERS, WHY_SUSPENDED, Transcript
from perstack.projection.views import PointView, RunView, ScreenState

_STOPS: Final = 32
_PointKind = Literal["step", "delegate", "ask", "gate", "done", "fail", "limit", "stop"]
_ENDED: Final = frozenset({"completed", "stoppedByError", "stoppedByExceededMaxSteps"})


class RunFold:
    """Takes a run's events and deltas; `build` makes its view, anew only when something changed."""

    def __init__(self, run_id: RunId, job_id: JobId, expert_key: ExpertKey) -> None:
        self.run_id = run_id
        self.job_id = job_id
        self.expert_key = expert_key
        self.state: RunState = initial()
        self.stops: dict[CheckpointId, RunState] = {}
        self.children: list[RunId] = []
        self.started_at = 0
        self.last_event_at = 0
        self.heard_at = 0
        self.max_steps = 0
        self.changed = True
        self.speech = Speech()
        self._next_seq = 0
        self._init: InitializeRuntime | None = None
        self._query = ""
        self._finished_at: int | None = None
        self._asked_at = 0
        self._paused_at = 0
        self._activity = "starting"
        self._limit = "max steps"
        self._steps = 0
        self._last_step = -1
        self._step_usage = NO_USAGE
        self._step_cost = NO_COST
        self._step_files: list[str] = []
        self._step_tools: list[str] = []
        self.points = Points()
        self.transcript = Transcript()
        self._view: RunView | None = None

    # ---------------------------------------------------------------- taking in

    def apply(self, event: Event, parent: RunFold | None) -> None:
        """Take in `event`; one that was seen before changes nothing. `parent` is the forked run."""
        if event.seq < self._next_seq:
            return
        self._next_seq = event.seq + 1
        before = state_met(event, self.state, parent.stops if parent is not None else {})
        after = fold(before, event)
        self.transcript.take(event, before, after)
        self._note(event, before, after)
        # The transcript has what a reader wants; the messages themselves would fill the memory.
        self.state = without_messages(after)
        self._point(event)
        self.changed = True

    def speak(self, delta: Delta) -> None:
        """Take in a piece of streaming text, unless its whole is in the transcript already."""
        activity = self.speech.hear(delta, self.state.results)
        if activity is not None and activity != self._activity:
            self._activity = activity
            self.changed = True

    def _note(self, event: Event, before: RunState, after: RunState) -> None:
        body, at = event.body, event.timestamp
        self.started_at = self.started_at or at
        self.last_event_at = max(self.last_event_at, at)
        self.heard_at = max(self.heard_at, at)
        match body:
            case InitializeRuntime():
                self._init, self._activity = body, "starting"
                self.max_steps = body.max_steps
            case SkillStarting() | StartProgram():
                name = body.skill_name if isinstance(body, SkillStarting) else body.runtime
                self._activity = f"starting {name}"
            case StartRun():
                self._begun(body)
            case StartGeneration():
                self._generating(event)
            case CallTools():
                self.speech.told(event.step_number)
                names = [call.tool_name for call in body.new_message.tool_calls]
                self._step_tools += [name for name in names if name != COMPLETION_TOOL]
                self._spent(body)
                self._working(after)
            case ToolReturned():
                self.speech.printed(body.result.id)
                self._step_files += files_of(body.result, before)
                self._working(after)
            case Retry():
                self._spent(body)
                self._activity = one_line(f"retry {body.attempt}: {body.reason}", PHRASE)
            case SampleModel() | StopRunByError():
                self._count(body)
            case Steered():
                self._steered(body, at)
            case CompleteRun():
                self._spent(body)
                self.speech.told(event.step_number)
            case _:
                pass
        if after.status in _ENDED:
            self._finished_at = at if before.status != after.status else self._finished_at
            self.speech.silence()

    def _steered(self, body: Steered, at: int) -> None:
        match body:
            case PauseRun():
                self._paused_at = at
            case RaiseBudget():
                self.max_steps = body.limits.max_steps
            case RetryDelegate() if body.run_id not in self.children:
                self.children.append(body.run_id)
            case _:
                pass

    def _begun(self, body: StartRun) -> None:
        self._finished_at = None
        self._activity = "thinking"
        self.speech.silence()
        for message in body.input_messages:
            if isinstance(message, UserMessage) and not self._query:
                self._query = cut(text_of(message.contents), ENTRY_CHARACTERS)

    def _generating(self, event: Event) -> None:
        self._activity = "thinking"
        self.speech.begin(event.step_number)
        if event.step_number != self._last_step:
            self._last_step = event.step_number
            self._steps += 1

    def _count(self, body: Body) -> None:
        usage, usd = spent_by(body)
        if usage != NO_USAGE:
            self._step_usage = self._step_usage.plus(usage)
            self._step_cost = self._step_cost.plus(usd)

    def _spent(self, body: Body) -> None:
        self._count(body)
        # What was said is in the transcript now.
        self.speech.settle(self._last_step)

    def _working(self, after: RunState) -> None:
        waiting = set(after.waiting_approval)
        running = [
            call
            for call in after.pending_calls
            if (route := after.routes.get(call.tool_call_id)) is not None
            and route.kind == "mcp"
            and call.tool_call_id not in waiting
        ]
        self._activity = calls_phrase(running, PHRASE) if running else "thinking"

    # ---------------------------------------------------------------- checkpoints

    def _point(self, event: Event) -> None:
        made = made_checkpoint(event)
        if made is None:
            return
        kind, label = self._kind_of_point(event)
        if isinstance(event.body, StopRunByInteractiveTool):
            self._asked_at = event.timestamp
        if isinstance(event.body, StopRunByDelegate):
            known = set(self.children)
            self.children += [
                child.run_id for child in event.body.delegate_to if child.run_id not in known
            ]
        point = PointView(
            checkpoint_id=made,
            step_number=event.step_number,
            timestamp=event.timestamp,
            kind=kind,
            usage=self._step_usage,
            cost=self._step_cost,
            files=tuple(dict.fromkeys(self._step_files)),
            label=label,
        )
        if self.state.calls and self.points.is_new(point):
            self.stops[made] = self.state
            if len(self.stops) > _STOPS:
                del self.stops[next(iter(self.stops))]
        self.points.place(point)
        self._step_usage, self._step_cost = NO_USAGE, NO_COST
        self._step_files, self._step_tools = [], []

    def _kind_of_point(self, event: Event) -> tuple[_PointKind, str]:
        body = event.body
        match body:
            case StopRunByDelegate():
                return "delegate", ", ".join(child.expert.key for child in body.delegate_to)
            case StopRunByInteractiveTool():
                return "ask", question_text(self.state, self.expert_key)
            case SuspendRun():
                kind = "gate" if body.reason == "awaitingApproval" else "stop"
                return kind, WHY_SUSPENDED[body.reason]
            case StopRunByError():
                return "fail", one_line(body.error.message, PHRASE)
            case StopRunByExceededMaxSteps() | StopRunByExceededBudget():
                self._limit = limit_phrase(body)
                return "limit", self._limit
            case CompleteRun():
                return "done", ", ".join(dict.fromkeys(self._step_tools))
            case _:
                return "step", ", ".join(dict.fromkeys(self._step_tools))

    # ---------------------------------------------------------------- showing

    def build(self, state: ScreenState, quiet_ms: int) -> RunView:
        """Return the view; the same object while nothing of it changed."""
        old = self._view
        doing = self._doing(state, quiet_ms)
        if old is not None and not self.changed and (old.state, old.doing) == (state, doing):
            return old
        run, init = self.state, self._init
        self._view = RunView(
            run_id=self.run_id,
            job_id=self.job_id,
            expert_key=self.expert_key,
            expert_version=run.expert.version,
            parent_run_id=run.delegated_by.run_id if run.delegated_by else None,
            forked_from=run.parent.run_id if run.parent else None,
            status=run.status,
            state=state,
            doing=doing,
            step_number=run.step_number,
            steps=self._steps,
            usage=run.usage,
            cost=run.cost,
            context_window_usage=run.context_window_usage,
            started_at=self.started_at,
            finished_at=self._finished_at,
            last_event_at=self.last_event_at,
            model=model_of(run, init.model if init else ""),
            provider_name=vendor_of(init.runtime, init.provider_name) if init else "",
            query=self._query,
            error=run.error,
            points=self.points.shown(),
            entries=self.transcript.entries(),
            earlier=self.transcript.earlier,
            consensus_id=self._consensus_id(),
            question=question_view(self.state, self.expert_key, self._asked_at),
            children=tuple(self.children),
            paused=pause_view(run.paused, self._paused_at),
        )
        self.changed = False
        return self._view

    def _consensus_id(self) -> ConsensusId | None:
        waiting = self.state.waiting_approval
        if waiting:
            return self.state.approvals[waiting[0]].consensus_id
        return next(iter(self.state.inputs), None)

    def _doing(self, state: ScreenState, quiet_ms: int) -> str:
        working = self._activity
        if state == "stall":
            working = f"{working} (no event {quiet_ms // 60_000}m)"
        return doing_phrase(self.state, state, self.expert_key, working=working, limit=self._limit)
