"""A job as calm lines for a pipe or a log: each is printed once and never painted over."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from perstack.domain.events import (
    CallTools,
    CompleteRun,
    Event,
    RequestApproval,
    ResolveApproval,
    Retry,
    StartRun,
    StopRunByDelegate,
    StopRunByError,
    StopRunByExceededBudget,
    StopRunByExceededMaxSteps,
    StopRunByInteractiveTool,
    SuspendRun,
    ToolReturned,
)
from perstack.domain.ids import ExpertKey, RunId
from perstack.domain.inputs import form_lines
from perstack.domain.messages import ToolCallPart, UserMessage, text_of
from perstack.domain.program_events import BeginSession, StartProgram
from perstack.domain.server_events import (
    RequestInput,
    ResolveInput,
    SampleModel,
    SkillLog,
    SkillProgress,
)
from perstack.domain.steering_events import PauseRun, Steered, Steering
from perstack.projection.cutting import one_line
from perstack.projection.gates import for_the_job
from perstack.projection.inert import inert
from perstack.projection.phrases import (
    COMPLETION_TOOL,
    call_phrase,
    is_quiet,
    limit_phrase,
    log_phrase,
    progress_phrase,
    question_of,
    request_phrase,
    resolution_phrase,
    sampled_phrase,
    steering_phrase,
)
from perstack.projection.program_phrases import program_phrases
from perstack.projection.run_state import RunState, initial, without_messages
from perstack.projection.state_fold import fold

_WHY: Final = {
    "user": "stopped",
    "signal": "stopped by a signal",
    "detach": "handed over to another process",
    "awaitingApproval": "stopped; a decision is awaited",
}
MIN_WIDTH: Final = 20
_WHOLE: Final = 2_000


@dataclass(slots=True)
class _Run:
    depth: int = 0
    state: RunState = field(default_factory=initial)
    said: str = ""


class PlainLines:
    """Turns events, in order within each run, into lines of about `width` characters.

    Lines hold no control characters, colours or times. Results, and commands to type, are given
    whole whatever `width` is; the latter are left out unless it `teaches` them.
    """

    def __init__(self, *, width: int = 100, teaches: bool = True) -> None:
        self._width = max(MIN_WIDTH, width)
        self._teaches = teaches
        self._runs: dict[RunId, _Run] = {}

    def seed(self, run_id: RunId, state: RunState) -> None:
        """Say how a run stood whose earlier events are not shown, or what a fork begins with."""
        depth = 1 if state.delegated_by else 0
        self._runs[run_id] = _Run(depth, without_messages(state), state.last_text)

    def event(self, event: Event) -> list[str]:
        """Return the lines that `event` adds, often none."""
        run = self._runs.setdefault(event.run_id, _Run())
        before = run.state
        after = fold(before, event)
        run.state = without_messages(after)
        if isinstance(event.body, StartRun) and event.body.delegated_by is not None:
            parent = self._runs.get(event.body.delegated_by.run_id)
            run.depth = parent.depth + 1 if parent else 1
        return list(self._lines(run, before, event))

    def _lines(self, run: _Run, before: RunState, event: Event) -> Iterator[str]:
        body = event.body
        line = _Line(event.expert_key, event.step_number, run.depth, self._width, self._teaches)
        match body:
            case StartRun():
                yield from _queries(line, body)
            case CallTools():
                run.said = body.new_message.text or run.said
                # What is said while finishing is the result, which follows.
                finishing = any(call.tool_name == COMPLETION_TOOL for call in run.state.calls)
                if body.new_message.text.strip() and not finishing:
                    yield line.step(body.new_message.text)
            case ToolReturned():
                yield from _returned(line, before, body)
            case StopRunByDelegate():
                names = ", ".join(child.expert.key for child in body.delegate_to)
                yield line.step(f"delegates to {names}")
            case Retry():
                wait = f" in {body.delay_ms / 1000:.0f} s" if body.delay_ms >= 1000 else ""
                yield line.step(f"retry {body.attempt}{wait}: {body.reason}")
            case RequestApproval():
                yield from _gate(line, before, body)
            case ResolveApproval():
                yield line.step(_decision(body))
            case RequestInput() | ResolveInput() | SampleModel() | SkillLog() | SkillProgress():
                yield from _server_lines(line, before, body)
            case Steered():
                yield from _steered(line, event.run_id, body)
            case StartProgram() | BeginSession():
                yield from (line.whole(phrase) for phrase in program_phrases(body))
            case _:
                yield from _endings(line, run, event)


@dataclass(frozen=True, slots=True)
class _Line:
    """Makes the lines of one event: indented by delegation, named by Expert, safe to print."""

    expert_key: ExpertKey
    step_number: int
    depth: int
    width: int
    teaches: bool = True

    def step(self, text: str, ending: str = "") -> str:
        """A line about the step; `ending` is never cut off."""
        return self.say(f"step {self.step_number} · ", text, ending)

    def say(self, lead: str, text: str = "", ending: str = "") -> str:
        """A line with the Expert's name; only `text` is cut to the width."""
        head = f"{'  ' * self.depth}[{one_line(self.expert_key, 60)}] {lead}"
        room = max(MIN_WIDTH, self.width - len(head) - len(ending))
        return inert(f"{head}{one_line(text, room)}{ending}", newlines=False)

    def whole(self, text: str) -> str:
        """A line with the Expert's name that is not cut, up to what anybody would read."""
        return self.say("", "", one_line(text, _WHOLE))

    def under(self, text: str) -> str:
        """A line below one of ours, whole."""
        return inert(f"{'  ' * self.depth}    {text}", newlines=False)

    def to_type(self, command: str) -> Iterator[str]:
        """A line with a command, where commands are taught."""
        if self.teaches:
            yield self.under(command)


def _queries(line: _Line, body: StartRun) -> Iterator[str]:
    for message in body.input_messages:
        if isinstance(message, UserMessage):
            yield line.say("› ", text_of(message.contents))


def _returned(line: _Line, before: RunState, body: ToolReturned) -> Iterator[str]:
    result = body.result
    call = next((call for call in before.calls if call.tool_call_id == result.id), None)
    if call is None:
        return
    if call.tool_name == COMPLETION_TOOL:
        if "remainingTodos" in text_of(result.result):
            yield line.step("not done yet: todos remain")
        return
    route = before.routes.get(result.id)
    fine = "answered" if route is not None and route.kind == "interactive" else "ok"
    outcome = "in doubt" if result.in_doubt else "failed" if result.is_error else fine
    yield line.step(call_phrase(call, line.width), f" … {outcome}")
    if result.is_error and not result.in_doubt:
        yield line.under(one_line(text_of(result.result), line.width))


def _gate(line: _Line, before: RunState, body: RequestApproval) -> Iterator[str]:
    yield line.step(f"waits for a decision ({body.risk_level} risk): {body.reason}")
    calls = {call.tool_call_id: call for call in before.calls}
    for subtask, call_id in body.subtasks.items():
        if (call := calls.get(call_id)) is not None:
            yield line.under(f"{subtask} {call_phrase(call, line.width)}")
    yield from line.to_type(f"perstack consensus approve {body.consensus_id}")
    yield from line.to_type(f"perstack consensus reject {body.consensus_id}")


def _steered(line: _Line, run_id: RunId, body: Steering) -> Iterator[str]:
    if not is_quiet(body):
        yield line.step(steering_phrase(body))
    if isinstance(body, PauseRun):
        yield from line.to_type(f"perstack agent resume -i {run_id}")


def _server_lines(
    line: _Line,
    before: RunState,
    body: RequestInput | ResolveInput | SampleModel | SkillLog | SkillProgress,
) -> Iterator[str]:
    """What tool servers tell and ask beside the results of their calls."""
    match body:
        case SkillLog():
            yield line.step(log_phrase(body))
        case SkillProgress():
            call = next(
                (one for one in before.calls if one.tool_call_id == body.tool_call_id), None
            )
            name = call.tool_name if call else body.skill_name
            yield line.step(f"{name} … {progress_phrase(body)}")
        case ResolveInput():
            yield line.step(resolution_phrase(body))
        case SampleModel():
            yield line.step(sampled_phrase(body))
        case RequestInput():
            yield line.step(request_phrase(body))
            asks = body.kind == "elicitation"
            for field in form_lines(body.answer_schema or {}):
                yield line.under(one_line(field, line.width))
            verb = "answer" if asks else "approve"
            yield from line.to_type(
                f"perstack consensus {verb} {body.consensus_id}{' ANSWER' if asks else ''}"
            )
            yield from line.to_type(f"perstack consensus reject {body.consensus_id}")


def _decision(body: ResolveApproval) -> str:
    word = "partly approved" if body.outcome == "approved" and body.rejected else body.outcome
    by = f" by {body.decided_by}" if body.decided_by else ""
    feedback = f": {body.feedback}" if body.feedback else ""
    return f"{word}{by}{for_the_job(body)}{feedback}"


def _endings(line: _Line, run: _Run, event: Event) -> Iterator[str]:
    body = event.body
    match body:
        case StopRunByInteractiveTool():
            expert = shlex.quote(event.expert_key)
            answer = f"perstack run {expert} '…' --continue-job {event.job_id} -i"
            yield from _question(line, _call(run.state, body), answer)
        case StopRunByExceededMaxSteps():
            yield line.step("stopped: the step limit is reached")
        case StopRunByExceededBudget():
            yield line.step(f"stopped: {limit_phrase(body)}")
        case SuspendRun():
            yield line.step(_WHY[body.reason] + (f" by {body.by}" if body.by else ""))
        case StopRunByError():
            yield line.step(f"failed: {body.error.message}")
        case CompleteRun():
            yield from _result(line, run, body)
        case _:
            pass


def _call(state: RunState, body: StopRunByInteractiveTool) -> ToolCallPart | None:
    asked = body.pending[0] if body.pending else None
    return next((call for call in state.calls if call.tool_call_id == asked), None)


def _question(line: _Line, call: ToolCallPart | None, command: str) -> Iterator[str]:
    text, choices = question_of(call) if call else ("an answer is wanted", ())
    yield line.say("asks:")
    for part in text.splitlines() or [text]:
        yield line.under(part)
    for number, choice in enumerate(choices, start=1):
        yield line.under(f"{number} {choice}")
    yield from line.to_type(f"to answer: {command}")


def _result(line: _Line, run: _Run, body: CompleteRun) -> Iterator[str]:
    text = body.new_message.text if body.new_message else run.said
    if line.depth:
        yield line.step(f"done: {text}" if text.strip() else "done")
        return
    yield line.step("done")
    yield from inert(text).split("\n")
