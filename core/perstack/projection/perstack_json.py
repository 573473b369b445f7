"""Perstack's JSON events, made from our slim ones. What `run` and `log --json` print.

Ours carry each piece of content once; Perstack's repeat it (the calling message in `callDelegate`,
a checkpoint and a step in every stop). What is repeated comes from folding each run along.
"""

from __future__ import annotations

from collections.abc import Callable, Set
from dataclasses import dataclass, field, replace
from typing import Final, assert_never

from pydantic import JsonValue

from perstack.domain.events import (
    AttemptCompletion,
    Body,
    CallDelegate,
    CallInteractiveTool,
    CallTools,
    CompleteRun,
    ContinueToNextStep,
    Delta,
    Event,
    FinishAllToolCalls,
    FinishToolCall,
    InitializeRuntime,
    RequestApproval,
    ResolveApproval,
    ResolveToolResults,
    ResumeToolCalls,
    Retry,
    StartGeneration,
    StartRun,
    StopRunByDelegate,
    StopRunByError,
    StopRunByExceededBudget,
    StopRunByExceededMaxSteps,
    StopRunByInteractiveTool,
    SuspendRun,
    ToolResult,
    ToolReturned,
)
from perstack.domain.ids import CheckpointId, RunId, ToolCallId
from perstack.domain.jobs import RunStatus
from perstack.domain.messages import ExpertMessage, Message
from perstack.domain.program_events import BeginSession, StartProgram
from perstack.domain.server_events import (
    RequestInput,
    ResolveInput,
    SampleModel,
    SkillConnected,
    SkillDisconnected,
    SkillLog,
    SkillProgress,
    SkillStarting,
    SkillStderr,
)
from perstack.domain.steering_events import Steered
from perstack.domain.usage import NO_COST, NO_USAGE, Cost, Usage
from perstack.projection.event_facts import made_checkpoint, spent_by
from perstack.projection.folding import state_met
from perstack.projection.messages import Messages, derived_id
from perstack.projection.perstack_batch import answered_json, asked_json, head_json
from perstack.projection.perstack_parts import (
    Json,
    call_json,
    calls_json,
    checkpoint_json,
    cost_json,
    messages_json,
    ordered_results,
    plain,
    result_json,
    results_json,
    to_line,
)
from perstack.projection.run_state import RunState, initial, with_messages
from perstack.projection.state_fold import fold

__all__ = ["PerstackJson", "to_line"]

_STREAM_NAMES: Final = {
    "reasoning": "Reasoning",
    "result": "RunResult",
    "text": "Text",
    "tool": "ToolOutput",
}
_Stop = (
    StopRunByDelegate
    | StopRunByInteractiveTool
    | StopRunByExceededMaxSteps
    | StopRunByExceededBudget
    | StopRunByError
    | CompleteRun
)
_Plain = (
    SkillStarting
    | SkillConnected
    | SkillStderr
    | SkillLog
    | SkillProgress
    | SkillDisconnected
    | RequestApproval
    | ResolveApproval
    | RequestInput
    | ResolveInput
    | SampleModel
    | SuspendRun
    | Steered
    | StartProgram
    | BeginSession
)


@dataclass(slots=True)
class _Step:
    """What the step at hand has gathered. `first_message` is where its new messages begin."""

    started_at: int = 0
    first_message: int = 0
    input_messages: tuple[Message, ...] = ()
    usage: Usage = NO_USAGE
    cost: Cost = NO_COST
    calls: list[JsonValue] = field(default_factory=list[JsonValue])
    results: dict[ToolCallId, ToolResult] = field(default_factory=dict[ToolCallId, ToolResult])

    def spend(self, body: Body) -> None:
        """Add what a generation used."""
        usage, usd = spent_by(body)
        if usage != NO_USAGE:
            self.usage = self.usage.plus(usage)
            self.cost = self.cost.plus(usd)


@dataclass(slots=True)
class _Run:
    state: RunState = field(default_factory=initial)
    step: _Step = field(default_factory=_Step)
    deltas: int = 0
    seen_ms: int = 0
    history: list[JsonValue] = field(default_factory=list[JsonValue])


class PerstackJson:
    """Turns events, in order within each run, into Perstack's JSON.

    With `full`, checkpoints and `startGeneration` hold the whole message history; without it no
    more of that is kept than later events repeat. `now_ms` dates streaming text; without it that
    has the time of the run's last event. `points` are the checkpoints that runs are forked from,
    None when that is not known.
    """

    def __init__(
        self,
        *,
        full: bool,
        now_ms: Callable[[], int] | None = None,
        points: Set[CheckpointId] | None = None,
    ) -> None:
        self._full = full
        self._now_ms = now_ms
        self._forked_from = points
        self._runs: dict[RunId, _Run] = {}
        self._points: dict[CheckpointId, RunState] = {}

    def seed(self, run_id: RunId, state: RunState) -> None:
        """Say how a run stood whose earlier events are not shown, or what a fork begins with."""
        self._runs[run_id] = _Run(state=state, step=_Step(first_message=len(state.messages)))

    def event(self, event: Event) -> Json:
        """Return the event as Perstack writes it; ours as they are."""
        run = self._runs.setdefault(event.run_id, _Run())
        before = self._take(run, event)
        record = head_json(event) | self._extra(run, before, event)
        self._turn_step(run, event)
        return record

    def checkpoint(self, event: Event) -> Json | None:
        """Take in `event`; return the checkpoint that it made, None when it made none."""
        self.skip(event)
        made = made_checkpoint(event)
        if made is None:
            return None
        run = self._runs[event.run_id]
        return self._checkpoint(run, run.state, made, event.step_number, run.state.status)

    def skip(self, event: Event) -> None:
        """Take in an event that is not to be shown, so that later ones come out right."""
        run = self._runs.setdefault(event.run_id, _Run())
        self._take(run, event)
        self._turn_step(run, event)

    def forget(self, run_id: RunId) -> None:
        """Let go of a run that no more will be heard of; runs forked from it are not affected."""
        self._runs.pop(run_id, None)

    def event_line(self, event: Event) -> str:
        """Return the event as one line of JSON, safe to print."""
        return to_line(self.event(event))

    def delta_line(self, delta: Delta) -> str:
        """Return a piece of streaming text as one line of JSON, safe to print."""
        return to_line(self.delta(delta))

    def delta(self, delta: Delta) -> Json:
        """Return a piece of streaming text as Perstack writes it."""
        run = self._runs.setdefault(delta.run_id, _Run())
        run.deltas += 1
        name = _STREAM_NAMES[delta.stream]
        verb = {"start": f"startStreaming{name}", "delta": f"stream{name}"}.get(
            delta.kind, f"completeStreaming{name}"
        )
        record: Json = {
            "type": verb,
            "id": derived_id(delta.run_id, "delta", delta.step_number, run.seen_ms, run.deltas),
            "expertKey": delta.expert_key,
            "timestamp": self._now_ms() if self._now_ms else run.seen_ms,
            "jobId": delta.job_id,
            "runId": delta.run_id,
            "stepNumber": delta.step_number,
        }
        if delta.tool_call_id is not None:
            record["toolCallId"] = delta.tool_call_id
        if delta.kind == "delta":
            record["delta"] = delta.text
        elif delta.kind == "end":
            record["text"] = delta.text
        return record

    def _take(self, run: _Run, event: Event) -> RunState:
        before = state_met(event, run.state, self._points)
        run.state = fold(before, event)
        run.seen_ms = event.timestamp
        self._gather(run, event)
        made = made_checkpoint(event)
        if made is not None and (self._forked_from is None or made in self._forked_from):
            self._points.setdefault(made, run.state)
        return before

    def _gather(self, run: _Run, event: Event) -> None:
        step = run.step
        match event.body:
            case StartRun(input_messages=messages):
                step.started_at = event.timestamp
                step.input_messages = messages
                step.first_message = len(run.state.messages)
            case CallTools() as body:
                step.spend(body)
                step.calls = calls_json(run.state)
            case ToolReturned(result=result):
                step.results[result.id] = result
            case (Retry() | CompleteRun() | SampleModel() | StopRunByError()) as body:
                step.spend(body)
            case _:
                pass

    def _turn_step(self, run: _Run, event: Event) -> None:
        if isinstance(event.body, ContinueToNextStep | _Stop):
            run.step = _Step(started_at=event.timestamp, first_message=len(run.state.messages))
            if not self._full:
                run.state = _with_last_messages(run.state)

    def _extra(self, run: _Run, before: RunState, event: Event) -> Json:
        body = event.body
        if isinstance(body, _Plain):
            return plain(body)
        match body:
            case InitializeRuntime():
                return {key: value for key, value in plain(body).items() if key != "contextWindow"}
            case ToolReturned():
                return {"result": result_json(body.result)}
            case StartRun():
                return self._start_run(run, before, event, body)
            case StartGeneration():
                return {"messages": self._history(run, run.state)} if self._full else {}
            case Retry() | CallTools() | CallDelegate() | CallInteractiveTool():
                return asked_json(run.state, body)
            case (
                AttemptCompletion()
                | ResolveToolResults()
                | FinishToolCall()
                | FinishAllToolCalls()
                | ResumeToolCalls()
            ):
                return answered_json(before, run.state, body)
            case ContinueToNextStep():
                return self._continue(run, event, body)
            case (
                StopRunByDelegate()
                | StopRunByInteractiveTool()
                | StopRunByExceededMaxSteps()
                | StopRunByExceededBudget()
                | StopRunByError()
                | CompleteRun()
            ):
                return self._stop(run, event, body)
            case _:
                assert_never(body)

    def _start_run(self, run: _Run, before: RunState, event: Event, body: StartRun) -> Json:
        fresh = len(run.state.messages) == len(body.input_messages)
        shown = replace(run.state, messages=Messages() if fresh else before.messages)
        return {
            "initialCheckpoint": self._checkpoint(
                run, shown, body.checkpoint_id, event.step_number, body.status
            ),
            "inputMessages": messages_json(body.input_messages),
        }

    def _continue(self, run: _Run, event: Event, body: ContinueToNextStep) -> Json:
        state = run.state
        now, then = event.step_number, body.next_step_number
        return {
            "checkpoint": self._checkpoint(run, state, body.checkpoint_id, now, "proceeding"),
            "step": _step_json(run, event),
            "nextCheckpoint": self._checkpoint(
                run, state, body.next_checkpoint_id, then, "proceeding"
            ),
        }

    def _stop(self, run: _Run, event: Event, body: _Stop) -> Json:
        state = run.state
        record: Json = {
            "checkpoint": self._checkpoint(
                run, state, body.checkpoint_id, event.step_number, state.status
            ),
            "step": _step_json(run, event),
        }
        if isinstance(body, StopRunByExceededBudget):
            record |= {"budget": body.budget, "used": body.used, "allowed": body.allowed}
        elif isinstance(body, StopRunByError):
            record["error"] = plain(body.error)
        elif isinstance(body, CompleteRun):
            record["text"] = state.last_text
            record |= {"usage": plain(body.usage), "costUsd": body.cost_usd}
        return record

    def _checkpoint(
        self,
        run: _Run,
        state: RunState,
        checkpoint_id: CheckpointId,
        step_number: int,
        status: RunStatus,
    ) -> Json:
        return checkpoint_json(
            state,
            checkpoint_id=checkpoint_id,
            step_number=step_number,
            status=status,
            messages=self._history(run, state) if self._full else None,
        )

    def _history(self, run: _Run, state: RunState) -> list[JsonValue]:
        """The messages of `state` as JSON; each is made once."""
        known = len(run.history)
        if known > len(state.messages):
            run.history.clear()
            known = 0
        run.history += messages_json(state.messages.since(known))
        return list(run.history)


def _with_last_messages(state: RunState) -> RunState:
    """Forget what no later event repeats: all before the last that the Expert said."""
    messages = state.messages
    for at in range(len(messages) - 1, -1, -1):
        if isinstance(messages[at], ExpertMessage):
            return with_messages(state, messages.forgetting(at))
    return state


def _step_json(run: _Run, event: Event) -> Json:
    step, state = run.step, run.state
    record: Json = {
        "stepNumber": event.step_number,
        "inputMessages": messages_json(step.input_messages),
        "newMessages": messages_json(state.messages.since(step.first_message)),
        "usage": plain(step.usage),
        **cost_json(step.cost),
        "startedAt": step.started_at or event.timestamp,
        "finishedAt": event.timestamp,
    }
    if step.calls:
        record["toolCalls"] = step.calls
    if state.calls:
        record["partialToolResults"] = results_json(ordered_results(state))
        record["pendingToolCalls"] = [call_json(call, state) for call in state.pending_calls]
    elif step.results:
        record["toolResults"] = results_json(step.results.values())
    return record
