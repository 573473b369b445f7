"""How a run ended that was driven before, as its history tells it."""

from __future__ import annotations

from collections.abc import Sequence

from perstack.domain.events import (
    DelegateTo,
    Event,
    RunError,
    StopRunByExceededBudget,
    StopRunByExceededMaxSteps,
)
from perstack.engine.budget import Overrun
from perstack.engine.plan import RunOutcome
from perstack.projection.run_state import RunState


def gone(child: DelegateTo) -> RunError:
    """Return how a delegation ends whose Expert is no longer defined."""
    return RunError(
        name="UnknownExpertError", message=f"Expert {child.expert.key!r} is no longer defined"
    )


def ended_as(state: RunState, events: Sequence[Event]) -> RunOutcome | None:
    """Return how a run with a past ended, None when it did not."""
    match state.status:
        case "completed":
            return RunOutcome("completed", text=state.last_text)
        case "stoppedByError":
            return RunOutcome("failed", error=state.error)
        case "stoppedByExceededMaxSteps":
            return RunOutcome("limit", overrun=_last_overrun(events))
        case "init" | "proceeding" | "stoppedByDelegate" | "stoppedByInteractiveTool":
            return None


def _last_overrun(events: Sequence[Event]) -> Overrun | None:
    for event in reversed(events):
        match event.body:
            case StopRunByExceededBudget(budget=budget, used=used, allowed=allowed):
                return Overrun(budget, used, allowed)
            case StopRunByExceededMaxSteps():
                return None
            case _:
                pass
    return None
