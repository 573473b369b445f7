"""`perstack log` as text: a line or a few per event."""

from __future__ import annotations

import json
from collections.abc import Iterator, Set
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
    StopRunByExceededBudget,
    SuspendRun,
    ToolResult,
    ToolReturned,
)
from perstack.domain.ids import CheckpointId, RunId
from perstack.domain.messages import ToolCallPart, UserMessage, text_of
from perstack.domain.program_events import BeginSession, StartProgram
from perstack.domain.server_events import (
    RequestInput,
    ResolveInput,
    SampleModel,
    SkillLog,
    SkillProgress,
    SkillStderr,
)
from perstack.domain.steering_events import Steered
from perstack.domain.usage import NO_USAGE
from perstack.projection.cutting import one_line
from perstack.projection.event_facts import made_checkpoint, spent_by
from perstack.projection.folding import Folds
from perstack.projection.gates import for_the_job
from perstack.projection.inert import inert
from perstack.projection.log_header import clock_time, usage_words
from perstack.projection.log_messages import message_lines
from perstack.projection.money import usd_words
from perstack.projection.phrases import (
    call_phrase,
    log_phrase,
    progress_phrase,
    question_of,
    request_phrase,
    resolution_phrase,
    result_text,
    sampled_phrase,
    steering_phrase,
)
from perstack.projection.program_phrases import program_phrases
from perstack.projection.run_state import RunState

_QUERY, _RESULT, _COMPLETION, _MESSAGE, _NOTICE = 60, 40, 80, 100, 2_000
_INDENT = "    "
_BEGINNINGS = ("startRun", "startGeneration")


@dataclass(frozen=True, slots=True)
class _Said:
    """A preview: `text` after `lead`, cut to `limit` characters; `whole` is what it stands for."""

    lead: str
    text: str
    limit: int = _MESSAGE
    whole: str | None = None

    def lines(self, *, verbose: bool) -> Iterator[str]:
        if not verbose:
            yield self.lead + one_line(self.text, self.limit)
            return
        whole = self.text if self.whole is None else self.whole
        first, *rest = whole.splitlines() or [""]
        yield self.lead + first
        yield from ("  " + line for line in rest)


class EventLines:
    """Turns events, in order within each run, into lines that are safe to print.

    `verbose` adds ids, usage and cost, and cuts nothing off. `messages` adds the message history
    at checkpoints and generations: of each run what was not shown with an earlier event.
    """

    def __init__(
        self,
        *,
        verbose: bool = False,
        messages: bool = False,
        points: Set[CheckpointId] = frozenset(),
    ) -> None:
        self._verbose = verbose
        self._messages = messages
        self._folds = Folds(points=points, keep_messages=messages)
        self._said: dict[RunId, str] = {}
        self._told: dict[RunId, int] = {}

    def skip(self, event: Event) -> None:
        """Take in an event that is not to be shown."""
        self._folds.step(event)
        self._listen(event)

    def event(self, event: Event) -> list[str]:
        """Return the event's lines."""
        before, after = self._folds.step(event)
        self._listen(event)
        head = f"[Step {event.step_number}] {event.body.type}  {clock_time(event.timestamp)}"
        head += f"  {event.expert_key}"
        if made := made_checkpoint(event):
            head += f"  checkpoint {made}"
        below = list(self._ids(event)) if self._verbose else []
        for said in _preview(event, before, after, self._said.get(event.run_id, "")):
            below += said.lines(verbose=self._verbose)
        if self._messages:
            below += self._history(event, after)
        return [inert(line, newlines=False) for line in (head, *(_INDENT + one for one in below))]

    def _listen(self, event: Event) -> None:
        if isinstance(event.body, CallTools) and event.body.new_message.text:
            self._said[event.run_id] = event.body.new_message.text

    def _ids(self, event: Event) -> Iterator[str]:
        yield f"event {event.id}  run {event.run_id}  seq {event.seq}"
        usage, usd = spent_by(event.body)
        if usage != NO_USAGE:
            cost = "cost unknown" if usd is None else usd_words(usd)
            yield f"usage: {usage_words(usage)}; {cost}"

    def _history(self, event: Event, after: RunState) -> Iterator[str]:
        if made_checkpoint(event) is None and event.body.type not in (
            "startRun",
            "startGeneration",
        ):
            return
        told = self._told.get(event.run_id, 0)
        count = len(after.messages)
        earlier = f", the first {told} shown above" if told else ""
        yield f"Messages: {count}{earlier}"
        for message in after.messages.since(told):
            yield from message_lines(message)
        self._told[event.run_id] = count


def _preview(event: Event, before: RunState, after: RunState, said: str) -> Iterator[_Said]:
    body = event.body
    match body:
        case StartRun():
            for message in body.input_messages:
                if isinstance(message, UserMessage):
                    yield _Said("Query: ", text_of(message.contents), _QUERY)
        case CallTools():
            if body.new_message.text.strip():
                yield _Said("", body.new_message.text)
            yield from (_call("", call) for call in body.new_message.tool_calls)
        case ToolReturned():
            yield _result(body.result)
        case ResolveToolResults():
            found = (before.results.get(call.tool_call_id) for call in before.calls)
            yield from (_result(result) for result in found if result is not None)
        case CallInteractiveTool():
            asked = [call for call in after.calls if call.tool_call_id == body.tool_call_id]
            yield from (_Said("Question: ", question_of(call)[0]) for call in asked)
        case CompleteRun():
            text = body.new_message.text if body.new_message else said
            yield _Said("Result: ", text, _COMPLETION)
        case _:
            yield from _turn_preview(event, after)


def _turn_preview(event: Event, after: RunState) -> Iterator[_Said]:
    body = event.body
    match body:
        case CallDelegate():
            named = [call for call in after.calls if call.tool_call_id in body.tool_call_ids]
            yield from (_call("Delegate to: ", call) for call in named)
        case StopRunByDelegate():
            names = ", ".join(child.expert.key for child in body.delegate_to)
            yield _Said("Waits for: ", names, len(names))
        case RequestApproval():
            yield _Said(f"Waits for a decision ({body.risk_level}): ", body.reason)
            yield _Said("Consensus checkpoint: ", body.consensus_id)
        case ResolveApproval():
            by = f" by {body.decided_by}" if body.decided_by else ""
            lead = f"{body.outcome}{by}{for_the_job(body)}"
            yield _Said(f"{lead}: ", body.feedback) if body.feedback else _Said(lead, "")
        case Retry():
            yield _Said("Reason: ", body.reason)
        case StopRunByError():
            yield _Said("Error: ", body.error.message)
        case StopRunByExceededBudget():
            yield _Said("", f"Budget of {body.budget}: {body.used:g} of {body.allowed:g} used")
        case SuspendRun():
            yield _Said("Stopped: ", f"{body.reason} {body.by}" if body.by else body.reason)
        case Steered():
            yield _Said("", steering_phrase(body))
        case StartProgram() | BeginSession():
            yield from (_Said("", phrase, _NOTICE) for phrase in program_phrases(body))
            if isinstance(body, BeginSession):
                yield _Said("Session: ", body.session_id)
        case _:
            yield from _server_preview(event)


def _server_preview(event: Event) -> Iterator[_Said]:
    """What a tool server told or asked."""
    body = event.body
    match body:
        case SkillLog():
            yield _Said("", log_phrase(body))
        case SkillStderr():
            yield _Said(f"{one_line(body.skill_name, _RESULT)}: ", body.message)
        case SkillProgress():
            yield _Said("", progress_phrase(body))
        case RequestInput():
            yield _Said("", request_phrase(body))
            yield _Said("Consensus checkpoint: ", body.consensus_id)
        case ResolveInput():
            yield _Said("", resolution_phrase(body))
        case SampleModel():
            yield _Said("", sampled_phrase(body))
        case _:
            pass


def _call(lead: str, call: ToolCallPart) -> _Said:
    args = call.invalid_args or json.dumps(call.args, ensure_ascii=False)
    return _Said(lead, call_phrase(call, _MESSAGE), _MESSAGE, f"{call.tool_name} {args}")


def _result(result: ToolResult) -> _Said:
    glyph = "✗" if result.is_error else "✓"
    return _Said(f"{glyph} {one_line(result.tool_name, _RESULT)}: ", result_text(result), _RESULT)
