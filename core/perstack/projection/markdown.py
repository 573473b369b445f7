"""A job as Markdown to read. What models, tools and users said cannot change its structure.

Prose stands in quotations, which end with their last line whatever is in them, without HTML and
pictures. Arguments and results stand in fences longer than any within.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Set
from typing import Final

from perstack.domain.events import (
    CallTools,
    CompleteRun,
    Event,
    RequestApproval,
    ResolveApproval,
    Retry,
    StartRun,
    StopRunByError,
    StopRunByExceededBudget,
    StopRunByExceededMaxSteps,
    StopRunByInteractiveTool,
    SuspendRun,
    ToolResult,
    ToolReturned,
)
from perstack.domain.ids import CheckpointId, RunId
from perstack.domain.jobs import Job, RunSetting
from perstack.domain.messages import ExpertMessage, ThinkingPart, ToolCallPart, UserMessage, text_of
from perstack.domain.program_events import BeginSession, StartProgram
from perstack.domain.server_events import RequestInput, ResolveInput, SampleModel
from perstack.domain.steering_events import Steered
from perstack.domain.usage import NO_USAGE
from perstack.projection.cutting import one_line
from perstack.projection.event_facts import spent_by
from perstack.projection.folding import Folds
from perstack.projection.gates import for_the_job
from perstack.projection.inert import inert
from perstack.projection.log_header import (
    JobState,
    clock_time,
    moment,
    state_words,
    usage_words,
)
from perstack.projection.log_messages import part_text
from perstack.projection.money import cost_words, usd_words
from perstack.projection.phrases import (
    COMPLETION_TOOL,
    call_phrase,
    request_phrase,
    steering_phrase,
)
from perstack.projection.pretty import pretty_json
from perstack.projection.program_phrases import program_phrases
from perstack.projection.run_state import RunState
from perstack.projection.transcript import WHY_SUSPENDED

_ACTIVE: Final = re.compile(r"([\\`*_\[\]<>!&~|])")
_BACKTICKS: Final = re.compile(r"`+")
_SUMMARY: Final = 100
_PHRASE: Final = 200


def job_heading(job: Job, state: JobState) -> Iterator[str]:
    """Return what stands at the top."""
    yield f"# Job {_inline(job.id)}"
    yield ""
    yield f"- Expert: {_inline(job.coordinator_expert_key)}"
    yield f"- Status: {_inline(state_words(job, state))}"
    yield f"- Started: {moment(job.started_at)}"
    if job.finished_at is not None:
        yield f"- Finished: {moment(job.finished_at)}"
    yield f"- Steps: {job.total_steps}"
    yield f"- Tokens: {usage_words(job.usage)}"
    yield f"- Cost: {cost_words(job.cost)}"
    yield ""


def run_heading(setting: RunSetting) -> Iterator[str]:
    """Return what stands above a run's events."""
    kind = "Delegated to" if setting.delegated_by is not None else "Run of"
    yield f"## {kind} {_inline(setting.expert_key)}"
    yield ""
    yield f"Run {_inline(setting.run_id)}, {moment(setting.started_at)}"
    if setting.parent is not None:
        yield ""
        yield f"Goes on from checkpoint {_inline(setting.parent.checkpoint_id)}."
    yield ""


class MarkdownRuns:
    """Turns events, in order within each run, into lines of Markdown; most have none.

    `redact` takes secrets out of any text; `points` are the checkpoints runs are forked from.
    """

    def __init__(self, redact: Callable[[str], str], *, points: Set[CheckpointId]) -> None:
        self._redact = redact
        self._folds = Folds(points=points, keep_messages=False)
        self._last: dict[RunId, RunState] = {}
        self._said: dict[RunId, str] = {}

    def event(self, event: Event) -> Iterator[str]:
        """Return the event's lines."""
        before, after = self._folds.step(event)
        self._last[event.run_id] = after
        return iter(list(self._lines(event, before)))

    def ending(self, run_id: RunId) -> Iterator[str]:
        """Return what stands below a run's events: what it used."""
        state = self._last.pop(run_id, None)
        if state is not None and state.usage != NO_USAGE:
            yield f"_{_inline(usage_words(state.usage))}; cost {_inline(cost_words(state.cost))}_"
            yield ""

    def _lines(self, event: Event, before: RunState) -> Iterator[str]:
        body = event.body
        match body:
            case StartRun():
                for message in body.input_messages:
                    if isinstance(message, UserMessage):
                        yield from self._prose("Query", text_of(message.contents))
            case CallTools():
                yield from _step(event)
                yield from self._message(event, body.new_message)
            case ToolReturned():
                yield from self._result(body.result, before)
            case CompleteRun():
                text = self._said.get(event.run_id, "")
                if body.new_message is not None:
                    yield from _step(event)
                    yield from self._thinking(body.new_message)
                    text = body.new_message.text
                yield from self._prose("Result", text)
            case _:
                yield from self._note(event)

    def _note(self, event: Event) -> Iterator[str]:
        body = event.body
        match body:
            case Retry():
                yield from self._line(f"Retry {body.attempt}", body.reason)
            case RequestApproval():
                yield from self._line(f"Waits for a decision ({body.risk_level} risk)", body.reason)
            case ResolveApproval():
                by = f" by {body.decided_by}" if body.decided_by else ""
                said = f"Decision: {body.outcome}{by}{for_the_job(body)}"
                yield from self._line(said, body.feedback or "")
            case RequestInput():
                yield from self._line("A tool server asks", request_phrase(body))
            case ResolveInput():
                yield from self._line("Answer", body.outcome)
            case SampleModel():
                yield from self._line("A tool server asked the model", body.skill_name)
            case _:
                yield from self._stop_note(event)

    def _stop_note(self, event: Event) -> Iterator[str]:
        body = event.body
        match body:
            case StopRunByInteractiveTool():
                yield from self._line("Stopped", "asks the user")
            case StopRunByExceededMaxSteps():
                yield from self._line("Stopped", "the step limit is reached")
            case StopRunByExceededBudget():
                used = f"{body.used:g} of {body.allowed:g} used"
                yield from self._line("Stopped", f"budget of {body.budget}: {used}")
            case StopRunByError():
                yield from self._line(f"Failed: {body.error.name}", body.error.message)
            case Steered():
                yield from self._line("Steering", steering_phrase(body))
            case StartProgram() | BeginSession():
                for phrase in program_phrases(body):
                    yield from self._prose("Runtime", phrase)
            case SuspendRun():
                yield from self._line("Stopped", WHY_SUSPENDED[body.reason])
            case _:
                pass

    def _message(self, event: Event, message: ExpertMessage) -> Iterator[str]:
        yield from self._thinking(message)
        if message.text.strip():
            self._said[event.run_id] = message.text
            yield from self._prose("", message.text)
        for call in message.tool_calls:
            if call.tool_name != COMPLETION_TOOL:
                yield from self._call(call)

    def _thinking(self, message: ExpertMessage) -> Iterator[str]:
        for part in message.contents:
            if isinstance(part, ThinkingPart) and part.thinking.strip():
                yield from self._folded("Thinking", part.thinking, "text")

    def _call(self, call: ToolCallPart) -> Iterator[str]:
        args = call.invalid_args or pretty_json(call.args)
        phrase = self._redact(call_phrase(call, _SUMMARY))
        yield from self._folded(f"Calls {phrase}", args, "json")

    def _result(self, result: ToolResult, before: RunState) -> Iterator[str]:
        route = before.routes.get(result.id)
        if result.tool_name == COMPLETION_TOOL:
            return
        kind = "Answer" if route is not None and route.kind == "interactive" else "Result"
        outcome = " (in doubt)" if result.in_doubt else " (failed)" if result.is_error else ""
        text = "\n".join(part_text(part) for part in result.result)
        yield from self._folded(f"{kind} of {result.tool_name}{outcome}", text, "text")

    def _folded(self, summary: str, text: str, language: str) -> Iterator[str]:
        """A fence that opens on a click."""
        yield f"<details><summary>{_html(summary)}</summary>"
        yield ""
        text = inert(self._redact(text))
        longest = max((len(found) for found in _BACKTICKS.findall(text)), default=0)
        fence = "`" * max(3, longest + 1)
        yield fence + language
        yield from text.split("\n")
        yield fence
        yield ""
        yield "</details>"
        yield ""

    def _prose(self, title: str, text: str) -> Iterator[str]:
        if title:
            yield f"**{title}**"
            yield ""
        for line in _quotable(inert(self._redact(text))).split("\n"):
            yield f"> {line}"
        yield ""

    def _line(self, title: str, text: str) -> Iterator[str]:
        words = _inline(one_line(self._redact(text), _PHRASE))
        yield f"**{_inline(title)}**: {words}" if words else f"**{_inline(title)}**"
        yield ""


def _step(event: Event) -> Iterator[str]:
    """When a generation was made, and what it cost."""
    yield f"**Step {event.step_number}** · {clock_time(event.timestamp)}{_spent(event)}"
    yield ""


def _spent(event: Event) -> str:
    usage, usd = spent_by(event.body)
    if usage == NO_USAGE:
        return ""
    cost = "cost unknown" if usd is None else usd_words(usd)
    return f" · {_inline(usage_words(usage))} · {_inline(cost)}"


def _quotable(text: str) -> str:
    """Markdown without what is not kept in by a quotation: HTML, pictures, footnotes."""
    return text.replace("<", "&lt;").replace("![", "!\\[").replace("[^", "[\\^")


def _inline(text: str) -> str:
    """Text that Markdown shows as it is when it does not begin a line."""
    return _ACTIVE.sub(r"\\\1", inert(text, newlines=False))


def _html(text: str) -> str:
    """One line that HTML shows as it is."""
    shown = inert(text, newlines=False)
    return shown.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
