"""What each event means for the state of its run.

`fold` is pure, and costs the same however long the run is. A run that was forked begins from
`start_from(the parent's state at the fork point)`, any other from `initial()`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final, Literal, assert_never

from perstack.domain.events import (
    AttemptCompletion,
    Body,
    CallDelegate,
    CallInteractiveTool,
    CallTools,
    CompleteRun,
    ContinueToNextStep,
    Event,
    FinishAllToolCalls,
    FinishToolCall,
    InitializeRuntime,
    RequestApproval,
    ResolveApproval,
    ResolveToolResults,
    ResumeToolCalls,
    Retry,
    StartGeneration,
    StartRun,
    StopRunByDelegate,
    StopRunByError,
    StopRunByExceededBudget,
    StopRunByExceededMaxSteps,
    StopRunByInteractiveTool,
    SuspendRun,
    ToolReturned,
)
from perstack.domain.ids import (
    CheckpointId,
    MessageId,
    ToolCallId,
)
from perstack.domain.messages import (
    ToolCallPart,
    ToolMessage,
    ToolResultPart,
)
from perstack.domain.program_events import BeginSession, StartProgram
from perstack.domain.server_events import (
    RequestInput,
    ResolveInput,
    SampleModel,
    SkillConnected,
    SkillDisconnected,
    SkillLog,
    SkillProgress,
    SkillStarting,
    SkillStderr,
)
from perstack.domain.steering_events import Steered
from perstack.domain.usage import NO_USAGE, Cost
from perstack.errors import NotFoundError
from perstack.projection.event_facts import made_checkpoint, spent_by
from perstack.projection.messages import Messages, derived_id
from perstack.projection.run_state import Approval, RunState, but, initial
from perstack.projection.steering_fold import fold_steering
from perstack.projection.todos import todos_after

_NONE_JUDGED: Final[frozenset[ToolCallId]] = frozenset()


def fold(state: RunState, event: Event) -> RunState:
    """Return the state after `event`."""
    body = event.body
    match body:
        case (
            SkillStarting()
            | SkillConnected()
            | SkillStderr()
            | SkillLog()
            | SkillProgress()
            | SkillDisconnected()
            | StartProgram()
        ):
            return state
        case RequestInput() | ResolveInput() | SampleModel() | BeginSession():
            changed = _fold_input(state, body)
        case Steered():
            changed = fold_steering(state, body)
        case InitializeRuntime():
            of, window = event, body.context_window
            return but(state, run_id=of.run_id, job_id=of.job_id, context_window=window)
        case StartRun():
            changed = _started(state, event, body)
        case CallTools() | ToolReturned() | RequestApproval() | ResolveApproval():
            changed = _fold_batch(state, body)
        case AttemptCompletion() | FinishToolCall() | FinishAllToolCalls():
            changed = _closed(state, body)
        case Retry():
            changed = _retried(state, body)
        case ContinueToNextStep():
            changed = _continued(state, body)
        case (
            StartGeneration()
            | ResolveToolResults()
            | CallDelegate()
            | CallInteractiveTool()
            | ResumeToolCalls()
        ):
            changed = state
        case (
            SuspendRun()
            | StopRunByDelegate()
            | StopRunByInteractiveTool()
            | StopRunByExceededMaxSteps()
            | StopRunByExceededBudget()
            | StopRunByError()
            | CompleteRun()
        ):
            changed = _fold_end(state, body)
        case _:
            assert_never(body)
    return changed


def fold_all(events: Iterable[Event], *, start: RunState | None = None) -> RunState:
    """Return the state after `events`, beginning with `start` or with nothing."""
    state = initial() if start is None else start
    for event in events:
        state = fold(state, event)
    return state


def state_at(
    events: Sequence[Event], checkpoint_id: CheckpointId, *, start: RunState | None = None
) -> RunState:
    """Return the state at one of the run's checkpoints, beginning with `start` or with nothing.

    Raises:
        NotFoundError: none of `events` made that checkpoint.
    """
    # The first that bears the id: a run suspended in mid-step names its last checkpoint again.
    for at in range(len(events)):
        if made_checkpoint(events[at]) == checkpoint_id:
            return fold_all(events[: at + 1], start=start)
    raise NotFoundError(
        f"checkpoint not found: {checkpoint_id}",
        hint="perstack log lists the checkpoints of a job",
    )


def _spent(cost: Cost, body: Body) -> Cost:
    usage, usd = spent_by(body)
    return cost if usage == NO_USAGE else cost.plus(usd)


def _fold_input(
    state: RunState, body: RequestInput | ResolveInput | SampleModel | BeginSession
) -> RunState:
    match body:
        case BeginSession():
            return but(state, session=body)
        case RequestInput():
            return but(state, inputs={**state.inputs, body.consensus_id: body})
        case ResolveInput():
            left = {id_: asked for id_, asked in state.inputs.items() if id_ != body.consensus_id}
            return but(state, inputs=left)
        case SampleModel():
            usage = state.usage.plus(body.usage)
            return but(state, usage=usage, cost=_spent(state.cost, body))


def _started(state: RunState, event: Event, body: StartRun) -> RunState:
    fresh = body.status == "init" and body.parent is None
    history = Messages() if fresh else state.messages
    batch_open = bool(state.calls) and not fresh
    return but(
        state,
        run_id=event.run_id,
        job_id=event.job_id,
        expert=body.expert,
        status="proceeding",
        step_number=event.step_number,
        next_checkpoint_id=body.checkpoint_id,
        messages=history if batch_open else history.plus(*body.input_messages),
        queued=(*state.queued, *body.input_messages) if batch_open else (),
        # A server that asked before is gone with its process, and so is its question.
        inputs={},
        error=None,
        parent=body.parent or state.parent,
        delegated_by=body.delegated_by or state.delegated_by,
        suspended=False,
        suspend_reason=None,
        paused=None,
    )


def _fold_batch(
    state: RunState, body: CallTools | ToolReturned | RequestApproval | ResolveApproval
) -> RunState:
    match body:
        case CallTools():
            return _opened(state, body)
        case ToolReturned():
            results = {**state.results, body.result.id: body.result}
            return but(state, results=results, todos=todos_after(state.todos, body.result))
        case RequestApproval():
            asked = {call: Approval(body.consensus_id) for call in body.subtasks.values()}
            return but(state, approvals={**state.approvals, **asked})
        case ResolveApproval():
            return but(state, approvals={**state.approvals, **_decided(body)})


def _opened(state: RunState, body: CallTools) -> RunState:
    return but(
        state,
        messages=state.messages.plus(body.new_message),
        usage=state.usage.plus(body.usage),
        last_usage=body.usage,
        cost=_spent(state.cost, body),
        context_window_usage=body.context_window_usage,
        # Declaring itself done once more instead of saying the result is no progress.
        retry_count=state.retry_count if state.completing else 0,
        calls=body.new_message.tool_calls,
        routes={route.tool_call_id: route for route in body.routes},
        results={},
        approvals={},
        delegate_to=(),
        judged=_NONE_JUDGED,
        completing=False,
    )


def _decided(body: ResolveApproval) -> dict[ToolCallId, Approval]:
    def decided(status: Literal["approved", "rejected"]) -> Approval:
        return Approval(
            consensus_id=body.consensus_id,
            status=status,
            outcome=body.outcome,
            feedback=body.feedback,
            decided_by=body.decided_by,
            standing_id=body.standing_id,
        )

    approved = dict.fromkeys(body.approved, decided("approved"))
    return {**approved, **dict.fromkeys(body.rejected, decided("rejected"))}


def _closed(
    state: RunState, body: AttemptCompletion | FinishToolCall | FinishAllToolCalls
) -> RunState:
    if isinstance(body, AttemptCompletion):
        return but(_close(state, _own_message_id(state)), completing=True)
    return _close(state, body.message_id)


def _close(state: RunState, message_id: MessageId) -> RunState:
    if not state.calls:
        return state
    parts = tuple(_result_part(state, call) for call in state.calls)
    return but(
        state,
        messages=state.messages.plus(ToolMessage(id=message_id, contents=parts), *state.queued),
        queued=(),
        calls=(),
        routes={},
        results={},
        approvals={},
        delegate_to=(),
    )


def _result_part(state: RunState, call: ToolCallPart) -> ToolResultPart:
    result = state.results.get(call.tool_call_id)
    return ToolResultPart(
        tool_call_id=call.tool_call_id,
        tool_name=call.tool_name,
        contents=result.result if result else (),
        is_error=result.is_error if result else None,
    )


def _own_message_id(state: RunState) -> MessageId:
    """An id for the tool message that no event names: the same each time the run is folded."""
    first = state.calls[0].tool_call_id if state.calls else ""
    return MessageId(derived_id(state.run_id, len(state.messages), first))


def _retried(state: RunState, body: Retry) -> RunState:
    return but(
        state,
        messages=state.messages.plus(*body.new_messages),
        usage=state.usage.plus(body.usage),
        last_usage=state.last_usage if body.usage == NO_USAGE else body.usage,
        cost=_spent(state.cost, body),
        retry_count=state.retry_count + 1,
    )


def _continued(state: RunState, body: ContinueToNextStep) -> RunState:
    return but(
        state,
        checkpoint_id=body.checkpoint_id,
        next_checkpoint_id=body.next_checkpoint_id,
        step_number=body.next_step_number,
        completing=False,
    )


_End = (
    SuspendRun
    | StopRunByDelegate
    | StopRunByInteractiveTool
    | StopRunByExceededMaxSteps
    | StopRunByExceededBudget
    | StopRunByError
    | CompleteRun
)


def _fold_end(state: RunState, body: _End) -> RunState:
    state = but(state, checkpoint_id=body.checkpoint_id, inputs={})
    match body:
        case SuspendRun():
            return but(state, suspended=True, suspend_reason=body.reason)
        case StopRunByDelegate():
            return but(state, status="stoppedByDelegate", delegate_to=body.delegate_to)
        case StopRunByInteractiveTool():
            return but(state, status="stoppedByInteractiveTool")
        case StopRunByExceededMaxSteps() | StopRunByExceededBudget():
            return but(state, status="stoppedByExceededMaxSteps")
        case StopRunByError():
            return but(
                state,
                status="stoppedByError",
                error=body.error,
                usage=state.usage.plus(body.usage),
                last_usage=state.last_usage if body.usage == NO_USAGE else body.usage,
                cost=_spent(state.cost, body),
            )
        case CompleteRun():
            return _completed(state, body)


def _completed(state: RunState, body: CompleteRun) -> RunState:
    closed = _close(state, _own_message_id(state))
    if body.new_message is not None:
        closed = but(closed, messages=closed.messages.plus(body.new_message))
    return but(
        closed,
        status="completed",
        usage=state.usage.plus(body.usage),
        last_usage=state.last_usage if body.usage == NO_USAGE else body.usage,
        cost=_spent(state.cost, body),
        context_window_usage=(
            state.context_window_usage
            if body.context_window_usage is None
            else body.context_window_usage
        ),
        retry_count=0,
        completing=False,
    )
