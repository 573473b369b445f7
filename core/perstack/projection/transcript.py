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
    StopRunByError,
    StopRunByExceededBudget,
    StopRunByExceededMaxSteps,
    SuspendRun,
    ToolReturned,
    ToolRoute,
)
from perstack.domain.ids import ConsensusId, ToolCallId
from perstack.domain.inputs import form_lines
from perstack.domain.messages import (
    ExpertMessage,
    TextPart,
    ThinkingPart,
    ToolCallPart,
    UserMessage,
    text_of,
)
from perstack.domain.server_events import (
    RequestInput,
    ResolveInput,
    SampleModel,
    SkillLog,
    SkillProgress,
)
from perstack.domain.steering_events import JudgeDrift, PauseRun, ResumeRun, SteerRun
from perstack.projection.phrases import (
    COMPLETION_TOOL,
    call_phrase,
    cut,
    is_quiet,
    limit_phrase,
    log_phrase,
    one_line,
    progress_phrase,
    question_of,
    request_phrase,
    resolution_phrase,
    result_text,
    sampled_phrase,
    steering_phrase,
)
from perstack.projection.run_state import RunState
from perstack.projection.views import EntryView

ENTRY_CHARACTERS: Final = 20_000
MAX_ENTRIES: Final = 2_000
MAX_CHARACTERS: Final = 2_000_000
_TITLE: Final = 200
WHY_SUSPENDED: Final = {
    "user": "stopped by a person",
    "signal": "stopped by a signal",
    "detach": "handed over",
    "awaitingApproval": "waiting for a decision",
}


def why_stopped(state: RunState) -> str:
    """Return why a run stands still: who paused it, or what stopped it."""
    if state.paused is not None and state.suspend_reason in (None, "awaitingApproval"):
        return one_line(steering_phrase(state.paused), _TITLE)
    return WHY_SUSPENDED[state.suspend_reason or "user"]


class Transcript:
    """Entries in order. Old ones are let go of, with a note, so that memory stays bounded."""

    def __init__(self) -> None:
        self._entries: list[EntryView] = []
        self._dropped = 0
        self._characters = 0
        self._calls: dict[ToolCallId, int] = {}
        self._gates: dict[ConsensusId, int] = {}

    def entries(self) -> tuple[EntryView, ...]:
        """Return the entries; one that did not change is the same object each time."""
        return tuple(self._entries)

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
                self._decided(body)
            case RequestInput() | ResolveInput() | SampleModel() | SkillLog() | SkillProgress():
                self._heard_from_server(body, at)
            case Retry():
                self._add(EntryView("retry", f"retry {body.attempt}", body.reason, timestamp=at))
            case CompleteRun():
                self._completed(body, at)
            case StopRunByError():
                name, text = body.error.name, body.error.message
                self._add(EntryView("error", name, text, timestamp=at))
            case _:
                if (note := _note_of(body)) is not None:
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
            self._calls[call.tool_call_id] = self._add(_call_entry(call, route, at))

    def _say(self, message: ExpertMessage, at: int) -> None:
        for part in message.contents:
            if isinstance(part, ThinkingPart) and part.thinking.strip():
                self._add(EntryView("reasoning", "reasoning", part.thinking, timestamp=at))
            elif isinstance(part, TextPart) and part.text.strip():
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
            status="error" if result.is_error else "ok",
            duration_ms=max(0, at - entry.timestamp),
        )
        self._set(self._calls[result.id], changed)

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

    def _decided(self, body: ResolveApproval) -> None:
        place = self._gates.pop(body.consensus_id, None)
        if (entry := self._find(place)) is not None and place is not None:
            text = f"{entry.text}\n{_outcome(body)}".lstrip("\n")
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
                        one_line(request_phrase(body), _TITLE),
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
        said = next((entry.text for entry in reversed(self._entries) if entry.kind == "text"), "")
        self._add(EntryView("result", "result", said, timestamp=at))

    def _add(self, entry: EntryView) -> int:
        entry = _bounded(entry)
        self._entries.append(entry)
        self._characters += len(entry.text)
        place = self._dropped + len(self._entries) - 1
        if len(self._entries) > MAX_ENTRIES or self._characters > MAX_CHARACTERS:
            self._drop_half()
        return place

    def _drop_half(self) -> None:
        gone = len(self._entries) // 2
        self._characters -= sum(len(entry.text) for entry in self._entries[:gone])
        # The note takes the place of the last entry that goes, so that places stay valid.
        del self._entries[: gone - 1]
        self._dropped += gone - 1
        title = f"{self._dropped + 1} earlier entries are not shown; perstack log has them"
        self._entries[0] = EntryView("note", title)

    def _find(self, place: int | None) -> EntryView | None:
        if place is None:
            return None
        at = place - self._dropped
        # Number 0 is the note once something was dropped.
        return self._entries[at] if at >= (1 if self._dropped else 0) else None

    def _set(self, place: int, entry: EntryView) -> None:
        at = place - self._dropped
        entry = _bounded(entry)
        self._characters += len(entry.text) - len(self._entries[at].text)
        self._entries[at] = entry


def _call_entry(call: ToolCallPart, route: ToolRoute | None, at: int) -> EntryView:
    kind = route.kind if route else "unknown"
    if kind == "delegate":
        return EntryView(
            "delegate",
            call_phrase(call, _TITLE),
            tool_call_id=call.tool_call_id,
            status="running",
            timestamp=at,
        )
    if kind == "interactive":
        text, choices = question_of(call)
        listed = "\n".join(f"{number} {choice}" for number, choice in enumerate(choices, start=1))
        return EntryView(
            "question",
            one_line(text, _TITLE),
            listed if len(text) <= _TITLE else f"{text}\n{listed}",
            tool_call_id=call.tool_call_id,
            status="waiting",
            timestamp=at,
        )
    return EntryView(
        "tool",
        call_phrase(call, _TITLE),
        tool_call_id=call.tool_call_id,
        status="running",
        timestamp=at,
    )


def _outcome(body: ResolveApproval) -> str:
    partial = body.outcome == "approved" and body.rejected
    word = "partly approved" if partial else body.outcome
    by = f" by {body.decided_by}" if body.decided_by else ""
    feedback = f": {body.feedback}" if body.feedback else ""
    return f"{word}{by}{feedback}"


def _bounded(entry: EntryView) -> EntryView:
    if len(entry.text) <= ENTRY_CHARACTERS and len(entry.title) <= ENTRY_CHARACTERS:
        return entry
    return replace(
        entry, title=cut(entry.title, ENTRY_CHARACTERS), text=cut(entry.text, ENTRY_CHARACTERS)
    )


def _note_of(body: Body) -> str | None:
    match body:
        case StopRunByExceededMaxSteps() | StopRunByExceededBudget():
            return f"stopped: {limit_phrase(body)}"
        case PauseRun() | ResumeRun() | SteerRun() | JudgeDrift():
            return None if is_quiet(body) else steering_phrase(body)
        case SuspendRun():
            return WHY_SUSPENDED[body.reason] + (f" by {body.by}" if body.by else "")
        case _:
            return None
