"""What it means for the state of a run that it is paused, steered, changed or given more."""

from __future__ import annotations

from perstack.domain.steering_events import (
    ChangeModel,
    JudgeDrift,
    PauseRun,
    RaiseBudget,
    RefuseOrder,
    ResumeRun,
    RetryDelegate,
    Steering,
    SteerRun,
    TakeDefinition,
)
from perstack.projection.run_state import RunState, but


def fold_steering(state: RunState, body: Steering) -> RunState:
    """Return the state after people or limits did that to the run at work."""
    match body:
        case JudgeDrift():
            return but(state, judged=state.judged | {body.tool_call_id})
        case PauseRun():
            return but(state, paused=body)
        case ResumeRun():
            return but(state, paused=None)
        case SteerRun(message=said) if state.calls:
            return but(state, queued=(*state.queued, said))
        case SteerRun(message=said):
            return but(state, messages=state.messages.plus(said))
        case ChangeModel():
            return but(
                state,
                model=body.model,
                model_before=state.model_before or body.before,
                context_window=body.context_window,
            )
        case TakeDefinition():
            messages = state.messages.beginning(body.instruction)
            return but(state, expert=body.expert, definition=body, messages=messages)
        case RetryDelegate():
            return _retried_delegate(state, body)
        case RaiseBudget() | RefuseOrder():
            return state


def _retried_delegate(state: RunState, body: RetryDelegate) -> RunState:
    again = tuple(
        child.model_copy(update={"run_id": body.run_id})
        if child.tool_call_id == body.tool_call_id
        else child
        for child in state.delegate_to
    )
    left = {id_: found for id_, found in state.results.items() if id_ != body.tool_call_id}
    return but(state, delegate_to=again, results=left)
