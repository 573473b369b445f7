"""What a contestant's row tells of its job while it is at work."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from perstack.domain.comparisons import ContestRow
from perstack.domain.events import (
    CallTools,
    CompleteRun,
    Delta,
    Event,
    RequestApproval,
    ResolveApproval,
)
from perstack.domain.ids import ConsensusId, RunId
from perstack.domain.messages import ToolCallPart
from perstack.domain.program_events import BeginSession, StartProgram
from perstack.domain.server_events import RequestInput, ResolveInput
from perstack.domain.usage import NO_USAGE
from perstack.projection.event_facts import spent_by
from perstack.projection.phrases import COMPLETION_TOOL
from perstack.projection.run_state import RunState

_WARNINGS: Final = 20


class Hears:
    """Implements `engine.plan.Listener`: folds events into a row. `row` gives it as it is."""

    def __init__(self, row: Callable[[], ContestRow], change: Callable[[ContestRow], None]) -> None:
        self._row = row
        self._change = change
        self._coordinator: RunId | None = None
        self._waits: dict[ConsensusId, None] = {}

    def on_taken_up(self, run_id: RunId, state: RunState) -> None:
        """Do nothing: contestants begin anew."""

    def on_event(self, event: Event) -> None:
        """Count it."""
        row = self._row()
        self._coordinator = self._coordinator or event.run_id
        used, usd = spent_by(event.body)
        self._wait(event)
        waits = next(iter(self._waits), None)
        update: dict[str, object] = {
            "job_id": event.job_id,
            "steps": max(row.steps, event.step_number),
            "tool_calls": row.tool_calls + _calls(event),
            "state": "waiting" if waits else "running",
            "consensus_id": waits,
        }
        if used != NO_USAGE:
            update |= {"usage": row.usage.plus(used), "cost": row.cost.plus(usd)}
        if event.run_id == self._coordinator:
            update |= _said(event)
        self._change(row.model_copy(update=update))
        if isinstance(event.body, StartProgram):
            for part in event.body.dropped:
                self.on_warning(f"not honoured: {part}")

    def on_delta(self, delta: Delta) -> None:
        """Do nothing: a row tells what was finished."""

    def on_warning(self, text: str) -> None:
        """Note it."""
        row = self._row()
        if text not in row.warnings and len(row.warnings) < _WARNINGS:
            self._change(row.model_copy(update={"warnings": (*row.warnings, text)}))

    def _wait(self, event: Event) -> None:
        match event.body:
            case RequestApproval(consensus_id=waiting) | RequestInput(consensus_id=waiting):
                self._waits[waiting] = None
            case ResolveApproval(consensus_id=decided) | ResolveInput(consensus_id=decided):
                self._waits.pop(decided, None)
            case _:
                pass


def _calls(event: Event) -> int:
    """Return how many tools, delegates and questions an answer calls; the end is no work."""
    if not isinstance(event.body, CallTools):
        return 0
    parts = event.body.new_message.contents
    return sum(
        isinstance(part, ToolCallPart) and part.tool_name != COMPLETION_TOOL for part in parts
    )


def _said(event: Event) -> dict[str, object]:
    match event.body:
        case BeginSession(model=str(model)):
            return {"model": model}
        case CompleteRun(new_message=message) | CallTools(new_message=message) if (
            message is not None and message.text
        ):
            return {"text": message.text}
        case _:
            return {}
