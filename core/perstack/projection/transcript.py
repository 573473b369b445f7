"""A run's transcript: what was asked, thought, said, called and answered, in order."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from perstack.domain.events import (
    Body,
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
    SuspendRun,
    ToolReturned,
)
from perstack.domain.ids import ConsensusId, ToolCallId
from perstack.domain.inputs import form_lines
from perstack.domain.messages import (
    ExpertMessage,
    TextPart,
    ThinkingPart,
    UserMessage,
    text_of,
)
from perstack.domain.program_events import BeginSession, StartProgram
from perstack.domain.server_events import (
    RequestInput,
    ResolveInput,
    SampleModel,
    SkillLog,
    SkillProgress,
)
from perstack.domain.steering_events import Steered, SteerRun
from perstack.projection.cutting import cut, one_line
from perstack.projection.entries import (
    ENTRY_CHARACTERS,
    TITLE_CHARACTERS,
    bounded,
    call_entry,
    outcome_words,
    weight_of,
)
from perstack.projection.phrases import (
    COMPLETION_TOOL,
    call_phrase,
    is_quiet,
    limit_phrase,
    log_phrase,
    progress_phrase,
    request_phrase,
    resolution_phrase,
    result_text,
    sampled_phrase,
    steering_phrase,
)
from perstack.projection.program_phrases import program_notes
from perstack.projection.run_state import RunState
from perstack.projection.views import EntryView

MAX_ENTRIES: Final = 1_000
MAX_WEIGHT: Final = 500_000
WHY_SUSPENDED: Final = {
    "user": "stopped by a person",
    "signal": "stopped by a signal",
    "detach": "handed over",
    "awaitingApproval": "waiting for a decision",
}


def why_stopped(state: RunState) -> str:
    """Return why a run stands still: who paused it, or what stopped it."""
    if state.paused is not None and state.suspend_reason in (None, "awaitingApproval"):
        return one_line(steering_phrase(state.paused), TITLE_CHARACTERS)
    return WHY_SUSPENDED[state.suspend_reason or "user"]


class Transcript:
    """Entries in order, numbered from 0. Old ones are let go of, so that memory stays bounded.

    `keeps_all` is for whoever takes them away again with `take_away`.
    """

    def __init__(self, *, keeps_all: bool = False) -> None:
        self._keeps_all = keeps_all
        self._entries: list[EntryView] = []
        self._dropped = 0
        self._weight = 0
        self._said = ""
        self._calls: dict[ToolCallId, int] = {}
        self._gates: dict[ConsensusId, int] = {}

    def entries(self) -> tuple[EntryView, ...]:
        """Return the entries; one that did not change is the same object each time."""
        return tuple(self._entries)

    @property
    def earlier(self) -> int:
        """How many entries came before the first of `entries`."""
        return self._dropped

    @property
    def weight(self) -> int:
        """About how many bytes `entries` take."""
        return self._weight

    def let_go(self) -> None:
        """Let go of all entries; they can be read back from the history."""
        self._drop(len(self._entries))

    def take_away(self, *, keeping: int) -> tuple[EntryView, ...]:
        """Return all but the last `keeping` entries, and let go of them."""
        gone = tuple(self._entries[: max(0, len(self._entries) - keeping)])
        self._drop(len(gone))
        return gone

    def take(self, event: Event, before: RunState, after: RunState) -> None:
        """Add what `event` means; `before` and `after` are the run's states around it."""
        body, at = event.body, event.timestamp
        match body:
            case StartRun():
                self._started(body, at)
            case CallTools():
                self._called(body, after, at)
            case ToolReturned():
                self._returned(body, at)
            case RequestApproval():
                self._gated(body, after, at)
            case ResolveApproval():
                self._decided(body, at)
            case RequestInput() | ResolveInput() | SampleModel() | SkillLog() | SkillProgress():
                self._heard_from_server(body, at)
            case Retry():
                self._add(EntryView("retry", f"retry {body.attempt}", body.reason, timestamp=at))
            case CompleteRun():
                self._completed(body, at)
            case StopRunByDelegate():
                self._delegated(body)
            case StopRunByError():
                name, text = body.error.name, body.error.message
                self._add(EntryView("error", name, text, timestamp=at))
            case _:
                self._noted(body, at)

    def _noted(self, body: Body, at: int) -> None:
        if isinstance(body, SteerRun):
            text = text_of(body.message.contents)
            self._add(EntryView("query", f"{body.by} says", text, timestamp=at))
        elif isinstance(body, StartProgram | BeginSession):
            for words, listed in program_notes(body):
                self._add(EntryView("note", words, "\n".join(listed), timestamp=at))
        elif (note := _note_of(body)) is not None:
            self._add(EntryView("note", note, timestamp=at))

    def _started(self, body: StartRun, at: int) -> None:
        asker = body.delegated_by
        title = f"query from {asker.expert_key}" if asker else "query"
        for message in body.input_messages:
            if isinstance(message, UserMessage):
                text = text_of(message.contents)
                self._add(EntryView("query", title, text, timestamp=at))

    def _called(self, body: CallTools, after: RunState, at: int) -> None:
        self._calls.clear()
        self._say(body.new_message, at)
        for call in body.new_message.tool_calls:
            if call.tool_name == COMPLETION_TOOL:
                continue
            route = after.routes.get(call.tool_call_id)
            self._calls[call.tool_call_id] = self._add(call_entry(call, route, at))

    def _say(self, message: ExpertMessage, at: int) -> None:
        for part in message.contents:
            if isinstance(part, ThinkingPart) and part.thinking.strip():
                self._add(EntryView("reasoning", "reasoning", part.thinking, timestamp=at))
            elif isinstance(part, TextPart) and part.text.strip():
                self._said = cut(part.text, ENTRY_CHARACTERS)
                self._add(EntryView("text", "", part.text, timestamp=at))

    def _returned(self, body: ToolReturned, at: int) -> None:
        result = body.result
        entry = self._find(self._calls.get(result.id))
        text = result_text(result)
        if entry is None:
            if result.tool_name == COMPLETION_TOOL and "remainingTodos" in text:
                self._add(EntryView("note", "not done: todos remain", text, timestamp=at))
            return
        if entry.kind == "question":
            text = f"{entry.text}\n› {text}".lstrip("\n")
        changed = replace(
            entry,
            text=text,
            size=len(text),
            status="error" if result.is_error else "ok",
            duration_ms=max(0, at - entry.timestamp),
        )
        self._set(self._calls[result.id], changed)

    def _delegated(self, body: StopRunByDelegate) -> None:
        for child in body.delegate_to:
            place = self._calls.get(child.tool_call_id)
            entry = self._find(place)
            if entry is not None and entry.call is not None and place is not None:
                self._set(place, replace(entry, call=replace(entry.call, child=child.run_id)))

    def _gated(self, body: RequestApproval, after: RunState, at: int) -> None:
        calls = {call.tool_call_id: call for call in after.calls}
        phrases: list[str] = []
        for subtask, call_id in body.subtasks.items():
            if call := calls.get(call_id):
                phrases.append(f"{subtask} {call_phrase(call)}")
            if entry := self._find(self._calls.get(call_id)):
                self._set(self._calls[call_id], replace(entry, status="waiting"))
        self._gates[body.consensus_id] = self._add(
            EntryView(
                "gate",
                f"{body.risk_level.upper()} · {body.reason}",
                "\n".join(phrases),
                status="waiting",
                timestamp=at,
            )
        )

    def _decided(self, body: ResolveApproval, at: int) -> None:
        if body.standing_id is not None:
            self._add(EntryView("note", outcome_words(body), timestamp=at))
        place = self._gates.pop(body.consensus_id, None)
        if (entry := self._find(place)) is not None and place is not None:
            text = f"{entry.text}\n{outcome_words(body)}".lstrip("\n")
            status = "ok" if body.approved else "error"
            self._set(place, replace(entry, text=text, status=status))
        for call_id in body.approved:
            if called := self._find(self._calls.get(call_id)):
                self._set(self._calls[call_id], replace(called, status="running"))

    def _heard_from_server(
        self,
        body: RequestInput | ResolveInput | SampleModel | SkillLog | SkillProgress,
        at: int,
    ) -> None:
        match body:
            case SkillLog():
                self._add(EntryView("note", log_phrase(body), timestamp=at))
            case SampleModel():
                self._add(EntryView("note", sampled_phrase(body), timestamp=at))
            case SkillProgress():
                # The latest only; the result takes its place.
                place = self._calls.get(body.tool_call_id)
                entry = self._find(place)
                if entry is not None and place is not None and entry.status == "running":
                    self._set(place, replace(entry, text=progress_phrase(body)))
            case RequestInput():
                kind = "question" if body.kind == "elicitation" else "gate"
                self._gates[body.consensus_id] = self._add(
                    EntryView(
                        kind,
                        one_line(request_phrase(body), TITLE_CHARACTERS),
                        "\n".join(form_lines(body.answer_schema or {})),
                        status="waiting",
                        timestamp=at,
                    )
                )
            case ResolveInput():
                self._closed(body)

    def _closed(self, body: ResolveInput) -> None:
        place = self._gates.pop(body.consensus_id, None)
        if (entry := self._find(place)) is not None and place is not None:
            text = f"{entry.text}\n› {resolution_phrase(body)}".lstrip("\n")
            status = "ok" if body.outcome == "accepted" else "error"
            self._set(place, replace(entry, text=text, status=status))

    def _completed(self, body: CompleteRun, at: int) -> None:
        if body.new_message is not None:
            for part in body.new_message.contents:
                if isinstance(part, ThinkingPart) and part.thinking.strip():
                    self._add(EntryView("reasoning", "reasoning", part.thinking, timestamp=at))
            self._add(EntryView("result", "result", body.new_message.text, timestamp=at))
            return
        last = self._find(self._dropped + len(self._entries) - 1)
        if last is not None and last.kind == "text":
            place = self._dropped + len(self._entries) - 1
            self._set(place, replace(last, kind="result", title="result"))
            return
        self._add(EntryView("result", "result", self._said, timestamp=at))

    def _add(self, entry: EntryView) -> int:
        entry = bounded(entry)
        self._entries.append(entry)
        self._weight += weight_of(entry)
        place = self._dropped + len(self._entries) - 1
        if not self._keeps_all and (len(self._entries) > MAX_ENTRIES or self._weight > MAX_WEIGHT):
            self._drop(len(self._entries) // 2)
        return place

    def _drop(self, count: int) -> None:
        self._weight -= sum(weight_of(entry) for entry in self._entries[:count])
        del self._entries[:count]
        self._dropped += count

    def _find(self, place: int | None) -> EntryView | None:
        at = -1 if place is None else place - self._dropped
        return self._entries[at] if at >= 0 else None

    def _set(self, place: int, entry: EntryView) -> None:
        at = place - self._dropped
        entry = bounded(entry)
        self._weight += weight_of(entry) - weight_of(self._entries[at])
        self._entries[at] = entry


def _note_of(body: Body) -> str | None:
    match body:
        case StopRunByExceededMaxSteps() | StopRunByExceededBudget():
            return f"stopped: {limit_phrase(body)}"
        case Steered():
            return None if is_quiet(body) else steering_phrase(body)
        case SuspendRun():
            return WHY_SUSPENDED[body.reason] + (f" by {body.by}" if body.by else "")
        case _:
            return None
