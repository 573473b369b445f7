"""How a run stands, or how it ended, that was driven before, as its history tells it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import anyio.to_thread

from perstack.domain.events import (
    DelegateTo,
    Event,
    RunError,
    StopRunByExceededBudget,
    StopRunByExceededMaxSteps,
)
from perstack.domain.ids import RunId
from perstack.engine.budget import Overrun
from perstack.engine.plan import RunOutcome
from perstack.errors import NotFoundError
from perstack.ports.history import DrivenJob, RunLog
from perstack.projection.run_state import RunState
from perstack.projection.state_fold import fold_all


@dataclass(frozen=True, slots=True)
class TakenUp:
    """A delegated run with a past, how it ended if it has, and what of its past was lost."""

    state: RunState
    log: RunLog
    ended: RunOutcome | None
    damage: str | None


async def taken_up_again(held: DrivenJob, run_id: RunId) -> TakenUp | None:
    """Open the history of a delegated run, None when nothing of it was ever written.

    Raises:
        StorageError: it cannot be read.
    """
    try:
        stored, log = await held.reopen_run(run_id)
    except NotFoundError:
        return None
    state = await anyio.to_thread.run_sync(fold_all, stored.events)
    return TakenUp(state, log, ended_as(state, stored.events), stored.damage)


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
