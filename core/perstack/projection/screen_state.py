"""What the screen calls the state of a run and of a job."""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from typing import Final

from perstack.domain.ids import RunId
from perstack.domain.jobs import Job, JobStatus
from perstack.projection.run_fold import RunFold
from perstack.projection.views import RunView, ScreenState

_FINAL: Final[dict[str, ScreenState]] = {
    "completed": "done",
    "stoppedByError": "fail",
    "stoppedByExceededMaxSteps": "limit",
    "stoppedByInteractiveTool": "asks",
}
_WAITS_IN: Final = ("stoppedByDelegate", "proceeding")
_OF_JOB: Final[dict[JobStatus, ScreenState]] = {
    "running": "run",
    "completed": "done",
    "stoppedByMaxSteps": "limit",
    "stoppedByInteractiveTool": "asks",
    "stoppedByError": "fail",
}


def run_states(
    runs: Mapping[RunId, RunFold], quiet_ms: Mapping[RunId, int], *, alive: bool
) -> dict[RunId, ScreenState]:
    """Return the state of each run of a job that a process drives (`alive`) or not.

    `quiet_ms` is how long a run was silent, 0 where that does not matter yet.
    """
    states: dict[RunId, ScreenState] = {}
    for run_id in _children_first(runs):
        run = runs[run_id]
        pending = run.state.pending_delegates
        if pending and run.state.status in _WAITS_IN:
            children: set[ScreenState] = {
                states[child.run_id] for child in pending if child.run_id in states
            }
            states[run_id] = _waiting(run, children, alive=alive)
        else:
            states[run_id] = _own_state(run, quiet_ms.get(run_id, 0), alive=alive)
    return states


def job_state(
    coordinator: RunView | None, runs: Sequence[RunView], record: Job | None, *, alive: bool
) -> ScreenState:
    """Return a job's state: what wants a person in any of its runs, else its coordinator's."""
    found: set[ScreenState] = {run.state for run in runs}
    if "gate" in found:
        return "gate"
    if "asks" in found:
        return "asks"
    if coordinator is not None:
        return _while_waiting(found) if coordinator.state == "waits" else coordinator.state
    state = _OF_JOB[record.status] if record else "run"
    return "lost" if state == "run" and not alive else state


def _while_waiting(found: Set[ScreenState]) -> ScreenState:
    if "run" in found:
        return "run"
    return "stall" if "stall" in found else "waits"


def _children_first(runs: Mapping[RunId, RunFold]) -> list[RunId]:
    """The runs, each after those it waits for. No recursion: a forged history may be deep."""
    order: list[RunId] = []
    entered: set[RunId] = set()
    stack = [(run_id, False) for run_id in runs]
    while stack:
        run_id, children_done = stack.pop()
        if children_done:
            order.append(run_id)
        elif run_id not in entered:
            entered.add(run_id)
            stack.append((run_id, True))
            stack += [(child, False) for child in runs[run_id].children if child in runs]
    return order


def _waiting(run: RunFold, children: Set[ScreenState], *, alive: bool) -> ScreenState:
    if "gate" in children:
        return "waits"
    if run.state.suspended:
        return "stop"
    if alive:
        return "waits"
    return "stop" if "stop" in children and "lost" not in children else "lost"


def _own_state(run: RunFold, quiet_ms: int, *, alive: bool) -> ScreenState:
    state = run.state
    if state.status in _FINAL:
        return _FINAL[state.status]
    if state.suspended:
        return "gate" if state.waiting_approval and alive else "stop"
    if not alive:
        return "lost"
    if state.waiting_approval:
        return "gate"
    if state.paused is not None:
        return "stop"
    if state.inputs:
        asks = any(asked.kind == "elicitation" for asked in state.inputs.values())
        return "asks" if asks else "gate"
    return "stall" if quiet_ms else "run"
