"""`perstack log` as text: a header, a summary, and a line or a few per event."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from perstack.domain.events import (
    CallDelegate,
    CallInteractiveTool,
    CallTools,
    CompleteRun,
    Event,
    RequestApproval,
    ResolveApproval,
    ResolveToolResults,
    Retry,
    StartRun,
    StopRunByDelegate,
    StopRunByError,
    SuspendRun,
    ToolResult,
    ToolReturned,
)
from perstack.domain.ids import RunId
from perstack.domain.jobs import Job
from perstack.domain.messages import UserMessage, text_of
from perstack.projection.inert import inert
from perstack.projection.phrases import call_phrase, one_line, question_of, result_text
from perstack.projection.run_state import RunState, fold, initial, made_checkpoint, without_messages

_QUERY, _RESULT, _COMPLETION, _MESSAGE = 60, 40, 80, 100


@dataclass(frozen=True, slots=True)
class LogSummary:
    """Counts over the events that a selection found. `steps` is the lowest and the highest."""

    total: int
    errors: int
    tool_calls: int
    delegations: int
    steps: tuple[int, int] | None


def summarize(events: Iterable[Event]) -> LogSummary:
    """Count errors, tool calls and delegations."""
    total = errors = tool_calls = delegations = 0
    low, high = 0, -1
    for event in events:
        total += 1
        low = event.step_number if high < 0 else min(low, event.step_number)
        high = max(high, event.step_number)
        match event.body:
            case StopRunByError() | Retry():
                errors += 1
            case CallTools(routes=routes):
                tool_calls += len(routes)
            case CallDelegate(tool_call_ids=ids):
                delegations += len(ids)
            case _:
                pass
    return LogSummary(total, errors, tool_calls, delegations, (low, high) if high >= 0 else None)


def header_lines(job: Job, *, storage: str, is_latest: bool) -> Iterator[str]:
    """Return what is known of the job."""
    yield inert(f"Storage: {storage}", newlines=False)
    yield inert(f"Job: {job.id}{' (showing latest job)' if is_latest else ''}", newlines=False)
    yield f"  Status: {_status(job)}"
    yield inert(f"  Expert: {job.coordinator_expert_key}", newlines=False)
    yield f"  Started: {_moment(job.started_at)}"
    yield f"  Steps: {job.total_steps} of {job.max_steps}"
    if job.finished_at is not None:
        yield f"  Finished: {_moment(job.finished_at)}"


def job_lines(jobs: Iterable[Job]) -> Iterator[str]:
    """Return a line a job: id, Expert, status, steps, start."""
    for job in jobs:
        shown = f"{job.id}  {job.coordinator_expert_key}  {_status(job)}"
        yield inert(f"{shown}  step {job.total_steps}  {_moment(job.started_at)}", newlines=False)


def _status(job: Job) -> str:
    stopped = job.status == "running" and job.finished_at is not None
    return "stopped, can go on" if stopped else job.status


def summary_line(summary: LogSummary) -> str:
    """Return the counts in one line."""
    steps = f", steps {summary.steps[0]}-{summary.steps[1]}" if summary.steps else ""
    return (
        f"Summary: {summary.total} events, {summary.errors} errors, "
        f"{summary.tool_calls} tool calls, {summary.delegations} delegations{steps}"
    )


class EventLines:
    """Turns events, in order within each run, into lines; all must pass through it."""

    def __init__(self) -> None:
        self._states: dict[RunId, RunState] = {}
        self._said: dict[RunId, str] = {}

    def lines(self, event: Event, *, shown: bool = True) -> Sequence[str]:
        """Return the event's lines, none when it is not to be `shown`."""
        before = self._states.get(event.run_id) or initial()
        after = fold(before, event)
        self._states[event.run_id] = without_messages(after)
        if isinstance(event.body, CallTools) and event.body.new_message.text:
            self._said[event.run_id] = event.body.new_message.text
        if not shown:
            return ()
        head = f"[Step {event.step_number}] {event.body.type}  {_time(event.timestamp)}"
        head += f"  {event.expert_key}"
        said = self._said.get(event.run_id, "")
        if made := made_checkpoint(event):
            head += f"  checkpoint {made}"
        lines = [head, *("    " + line for line in _preview(event, before, after, said))]
        return [inert(line, newlines=False) for line in lines]


def _preview(event: Event, before: RunState, after: RunState, said: str) -> Iterator[str]:
    body = event.body
    match body:
        case StartRun():
            for message in body.input_messages:
                if isinstance(message, UserMessage):
                    yield f"Query: {one_line(text_of(message.contents), _QUERY)}"
        case CallTools():
            if body.new_message.text.strip():
                yield one_line(body.new_message.text, _MESSAGE)
            yield from (call_phrase(call, _MESSAGE) for call in body.new_message.tool_calls)
        case ToolReturned():
            yield _result_line(body.result)
        case ResolveToolResults():
            found = (before.results.get(call.tool_call_id) for call in before.calls)
            yield from (_result_line(result) for result in found if result is not None)
        case CallInteractiveTool():
            asked = [call for call in after.calls if call.tool_call_id == body.tool_call_id]
            yield from (f"Question: {one_line(question_of(call)[0], _MESSAGE)}" for call in asked)
        case CompleteRun():
            text = body.new_message.text if body.new_message else said
            yield f"Result: {one_line(text, _COMPLETION)}"
        case _:
            yield from _turn_preview(event, after)


def _turn_preview(event: Event, after: RunState) -> Iterator[str]:
    body = event.body
    match body:
        case CallDelegate():
            named = [call for call in after.calls if call.tool_call_id in body.tool_call_ids]
            yield from (f"Delegate to: {call_phrase(call, _MESSAGE)}" for call in named)
        case StopRunByDelegate():
            yield f"Waits for: {', '.join(child.expert.key for child in body.delegate_to)}"
        case RequestApproval():
            yield f"Waits for a decision ({body.risk_level}): {one_line(body.reason, _MESSAGE)}"
            yield f"Consensus checkpoint: {body.consensus_id}"
        case ResolveApproval():
            by = f" by {body.decided_by}" if body.decided_by else ""
            feedback = f": {one_line(body.feedback, _MESSAGE)}" if body.feedback else ""
            yield f"{body.outcome}{by}{feedback}"
        case Retry():
            yield f"Reason: {one_line(body.reason, _MESSAGE)}"
        case StopRunByError():
            yield f"Error: {one_line(body.error.message, _MESSAGE)}"
        case SuspendRun():
            yield f"Stopped: {body.reason}"
        case _:
            pass


def _result_line(result: ToolResult) -> str:
    glyph = "✗" if result.is_error else "✓"
    return (
        f"{glyph} {one_line(result.tool_name, _RESULT)}: {one_line(result_text(result), _RESULT)}"
    )


def _time(timestamp: int) -> str:
    return _utc(timestamp).strftime("%H:%M:%S")


def _moment(timestamp: int) -> str:
    return _utc(timestamp).strftime("%Y-%m-%d %H:%M:%S UTC")


def _utc(timestamp: int) -> dt.datetime:
    """The moment; one that no calendar has (a damaged record) becomes the epoch."""
    try:
        return dt.datetime.fromtimestamp(timestamp / 1000, tz=dt.UTC)
    except (OverflowError, ValueError, OSError):
        return dt.datetime.fromtimestamp(0, tz=dt.UTC)
