"""Perstack's JSON events, made from our slim ones. What `run` and `log --json` print.

Ours carry each piece of content once; Perstack's repeat it (the calling message in `callDelegate`,
a checkpoint and a step in every stop). What is repeated comes from folding each run along.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from typing import Final, assert_never

from pydantic import JsonValue

from perstack.domain.events import (
    AttemptCompletion,
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
    RequestInput,
    ResolveApproval,
    ResolveInput,
    ResolveToolResults,
    ResumeToolCalls,
    Retry,
    SampleModel,
    SkillConnected,
    SkillDisconnected,
    SkillLog,
    SkillProgress,
    SkillStarting,
    SkillStderr,
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
from perstack.domain.messages import Message
from perstack.domain.usage import NO_USAGE, Usage
from perstack.projection.messages import Messages, derived_id
from perstack.projection.perstack_parts import (
    Json,
    call_json,
    calls_json,
    checkpoint_json,
    message_json,
    messages_json,
    ordered_results,
    plain,
    result_json,
    results_json,
    to_line,
)
from perstack.projection.run_state import RunState, fold, initial, made_checkpoint, start_from

__all__ = ["PerstackJson", "to_line"]

_RUNTIME: Final = (
    InitializeRuntime,
    SkillStarting,
    SkillConnected,
    SkillStderr,
    SkillLog,
    SkillProgress,
    SkillDisconnected,
)
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


@dataclass(slots=True)
class _Step:
    """What the step at hand has gathered. `first_message` is where its new messages begin."""

    started_at: int = 0
    first_message: int = 0
    input_messages: tuple[Message, ...] = ()
    usage: Usage = NO_USAGE
    calls: list[JsonValue] = field(default_factory=list[JsonValue])
    results: dict[ToolCallId, ToolResult] = field(default_factory=dict[ToolCallId, ToolResult])


@dataclass(slots=True)
class _Run:
    state: RunState = field(default_factory=initial)
    step: _Step = field(default_factory=_Step)
    deltas: int = 0
    seen_ms: int = 0
    history: list[JsonValue] = field(default_factory=list[JsonValue])


class PerstackJson:
    """Turns events, in order within each run, into Perstack's JSON.

    With `full`, checkpoints and `startGeneration` hold the whole message history. `now_ms` dates
    streaming text; without it that has the time of the run's last event.
    """

    def __init__(self, *, full: bool, now_ms: Callable[[], int] | None = None) -> None:
        self._full = full
        self._now_ms = now_ms
        self._runs: dict[RunId, _Run] = {}
        self._points: dict[CheckpointId, RunState] = {}

    def seed(self, run_id: RunId, state: RunState) -> None:
        """Say how a run stood whose earlier events are not shown, or what a fork begins with."""
        self._runs[run_id] = _Run(state=state, step=_Step(first_message=len(state.messages)))

    def event(self, event: Event) -> Json:
        """Return the event as Perstack writes it; ours as they are."""
        run = self._runs.setdefault(event.run_id, _Run())
        before = self._take(run, event)
        record = _base(event) | self._extra(run, before, event)
        self._turn_step(run, event)
        return record

    def skip(self, event: Event) -> None:
        """Take in an event that is not to be shown, so that later ones come out right."""
        run = self._runs.setdefault(event.run_id, _Run())
        self._take(run, event)
        self._turn_step(run, event)

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
        before = self._forked(run, event)
        run.state = fold(before, event)
        run.seen_ms = event.timestamp
        self._gather(run, event)
        if (made := made_checkpoint(event)) is not None:
            self._points.setdefault(made, run.state)
        return before

    def _forked(self, run: _Run, event: Event) -> RunState:
        """The state that `event` meets: for the first of a fork, its parent's at that point."""
        body, state = event.body, run.state
        if not isinstance(body, StartRun) or body.parent is None or state.messages:
            return state
        point = self._points.get(body.parent.checkpoint_id)
        if point is None:
            return state
        return replace(start_from(point), context_window=state.context_window)

    def _gather(self, run: _Run, event: Event) -> None:
        step = run.step
        match event.body:
            case StartRun(input_messages=messages):
                step.started_at = event.timestamp
                step.input_messages = messages
                step.first_message = len(run.state.messages)
            case CallTools(usage=usage):
                step.usage = step.usage.plus(usage)
                step.calls = calls_json(run.state)
            case ToolReturned(result=result):
                step.results[result.id] = result
            case Retry(usage=usage) | CompleteRun(usage=usage) | SampleModel(usage=usage):
                step.usage = step.usage.plus(usage)
            case _:
                pass

    def _turn_step(self, run: _Run, event: Event) -> None:
        if isinstance(event.body, ContinueToNextStep | _Stop):
            run.step = _Step(started_at=event.timestamp, first_message=len(run.state.messages))

    def _extra(self, run: _Run, before: RunState, event: Event) -> Json:
        body = event.body
        match body:
            case (
                SkillStarting()
                | SkillConnected()
                | SkillStderr()
                | SkillLog()
                | SkillProgress()
                | SkillDisconnected()
            ):
                return plain(body)
            case InitializeRuntime():
                return {key: value for key, value in plain(body).items() if key != "contextWindow"}
            case ToolReturned():
                return {"result": result_json(body.result)}
            case (
                RequestApproval()
                | ResolveApproval()
                | RequestInput()
                | ResolveInput()
                | SampleModel()
                | SuspendRun()
            ):
                return plain(body)
            case StartRun():
                return self._start_run(run, before, event, body)
            case StartGeneration():
                return {"messages": self._history(run, run.state)} if self._full else {}
            case Retry() | CallTools() | CallDelegate() | CallInteractiveTool():
                return _asked_json(run.state, body)
            case (
                AttemptCompletion()
                | ResolveToolResults()
                | FinishToolCall()
                | FinishAllToolCalls()
                | ResumeToolCalls()
            ):
                return _answered_json(before, run.state, body)
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
            record["usage"] = plain(body.usage)
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


def _base(event: Event) -> Json:
    record: Json = {"type": event.body.type, "id": event.id}
    if not isinstance(event.body, _RUNTIME):
        record["expertKey"] = event.expert_key
    record |= {"timestamp": event.timestamp, "jobId": event.job_id, "runId": event.run_id}
    if not isinstance(event.body, _RUNTIME):
        record["stepNumber"] = event.step_number
    record["seq"] = event.seq
    return record


def _asked_json(
    state: RunState, body: Retry | CallTools | CallDelegate | CallInteractiveTool
) -> Json:
    match body:
        case Retry():
            return {**plain(body), "newMessages": messages_json(body.new_messages)}
        case CallTools():
            return {
                "newMessage": message_json(body.new_message),
                "toolCalls": calls_json(state),
                "usage": plain(body.usage),
            }
        case CallDelegate(tool_call_ids=ids):
            return {**_calling(state), "toolCalls": calls_json(state, ids)}
        case CallInteractiveTool(tool_call_id=id_):
            asked = calls_json(state, [id_])
            return {**_calling(state), "toolCall": asked[0] if asked else {"id": id_}}


def _calling(state: RunState) -> Json:
    """The message that asked for the open batch: the last one, as a batch closes with the next."""
    record: Json = {"usage": plain(state.last_usage)}
    if state.calls:
        record["newMessage"] = message_json(state.messages[-1])
    return record


def _answered_json(
    before: RunState,
    state: RunState,
    body: AttemptCompletion
    | ResolveToolResults
    | FinishToolCall
    | FinishAllToolCalls
    | ResumeToolCalls,
) -> Json:
    match body:
        case AttemptCompletion(tool_call_id=id_):
            found = before.results.get(id_)
            return {"toolResult": result_json(found) if found else {"id": id_}}
        case ResolveToolResults():
            return {"toolResults": results_json(ordered_results(state))}
        case FinishToolCall() | FinishAllToolCalls():
            return {"newMessages": messages_json(state.messages.since(len(before.messages)))}
        case ResumeToolCalls(pending=pending, partial=partial):
            return {
                "pendingToolCalls": calls_json(state, pending),
                "partialToolResults": results_json(_results_of(state, partial)),
            }


def _results_of(state: RunState, ids: Iterable[ToolCallId]) -> list[ToolResult]:
    return [state.results[id_] for id_ in ids if id_ in state.results]


def _step_json(run: _Run, event: Event) -> Json:
    step, state = run.step, run.state
    record: Json = {
        "stepNumber": event.step_number,
        "inputMessages": messages_json(step.input_messages),
        "newMessages": messages_json(state.messages.since(step.first_message)),
        "usage": plain(step.usage),
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
