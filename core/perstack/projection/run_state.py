"""What a run's events add up to. The engine resumes from it; every view is made from it.

`fold` is pure, and costs the same however long the run is. A run that was forked begins from
`start_from(the parent's state at the fork point)`, any other from `initial()`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Literal, assert_never

from perstack.domain.events import (
    AttemptCompletion,
    Body,
    CallDelegate,
    CallInteractiveTool,
    CallTools,
    CompleteRun,
    ContinueToNextStep,
    DelegateTo,
    Event,
    FinishAllToolCalls,
    FinishToolCall,
    InitializeRuntime,
    RequestApproval,
    RequestInput,
    ResolveApproval,
    ResolveInput,
    ResolveToolResults,
    ResumeToolCalls,
    Retry,
    RunError,
    SampleModel,
    SkillConnected,
    SkillDisconnected,
    SkillLog,
    SkillProgress,
    SkillStarting,
    SkillStderr,
    StartGeneration,
    StartRun,
    StopRunByDelegate,
    StopRunByError,
    StopRunByExceededBudget,
    StopRunByExceededMaxSteps,
    StopRunByInteractiveTool,
    SuspendRun,
    ToolResult,
    ToolReturned,
    ToolRoute,
)
from perstack.domain.expert import ExpertRef
from perstack.domain.ids import (
    CheckpointId,
    ConsensusId,
    ExpertKey,
    JobId,
    MessageId,
    RunId,
    ToolCallId,
)
from perstack.domain.jobs import DelegatedBy, ForkPoint, RunStatus
from perstack.domain.messages import (
    ExpertMessage,
    InstructionMessage,
    ToolCallPart,
    ToolMessage,
    ToolResultPart,
    UserMessage,
)
from perstack.domain.usage import NO_COST, NO_USAGE, Cost, Usage
from perstack.errors import NotFoundError
from perstack.ports.skills import Todo
from perstack.projection.event_facts import made_checkpoint, spent_by
from perstack.projection.messages import Messages, derived_id
from perstack.projection.todos import todos_after

_NO_RUN: Final = RunId("")
_NO_JOB: Final = JobId("")
_NO_EXPERT: Final = ExpertRef(key=ExpertKey(""), name="", version="")


@dataclass(frozen=True, slots=True)
class Approval:
    """What became of one gated call. `feedback` and `decided_by` are the reviewer's.

    A call that expired is `rejected` with the outcome "expired", unless the decision approved it.
    """

    consensus_id: ConsensusId
    status: Literal["waiting", "approved", "rejected"] = "waiting"
    outcome: Literal["approved", "rejected", "expired"] | None = None
    feedback: str | None = None
    decided_by: str | None = None


@dataclass(frozen=True)
class RunState:
    """A run after some of its events.

    `status` is "init" until the first `startRun`, then "proceeding" until the run stops.
    `checkpoint_id` is the last point that the run can be resumed from, `next_checkpoint_id` the
    one that the step at hand will end in. `usage` is the sum over this run's own generations,
    `last_usage` the latest generation's, `cost` what they cost; `inputs` are the requests of tool
    servers that wait for a person. `context_window` is in tokens, `context_window_usage` a
    fraction from 0 to 1.

    The batch is what the latest `callTools` asked for and is open until its results became a tool
    message: `calls`, where they go (`routes`), what came back (`results`), and whether gated ones
    may run (`approvals`). All are empty when no batch is open. `queued` is what the user said while
    a batch was open; it follows the batch's results, where vendors want it. `completing`: the
    Expert declared itself done and only its final text is missing.
    """

    run_id: RunId = _NO_RUN
    job_id: JobId = _NO_JOB
    expert: ExpertRef = _NO_EXPERT
    status: RunStatus = "init"
    step_number: int = 1
    checkpoint_id: CheckpointId | None = None
    next_checkpoint_id: CheckpointId | None = None
    messages: Messages = field(default_factory=Messages)
    usage: Usage = NO_USAGE
    last_usage: Usage = NO_USAGE
    cost: Cost = NO_COST
    inputs: Mapping[ConsensusId, RequestInput] = field(
        default_factory=dict[ConsensusId, RequestInput]
    )
    context_window: int | None = None
    context_window_usage: float | None = None
    retry_count: int = 0
    calls: tuple[ToolCallPart, ...] = ()
    routes: Mapping[ToolCallId, ToolRoute] = field(default_factory=dict[ToolCallId, ToolRoute])
    results: Mapping[ToolCallId, ToolResult] = field(default_factory=dict[ToolCallId, ToolResult])
    approvals: Mapping[ToolCallId, Approval] = field(default_factory=dict[ToolCallId, Approval])
    delegate_to: tuple[DelegateTo, ...] = ()
    completing: bool = False
    queued: tuple[InstructionMessage | UserMessage, ...] = ()
    todos: tuple[Todo, ...] = ()
    error: RunError | None = None
    parent: ForkPoint | None = None
    delegated_by: DelegatedBy | None = None
    suspended: bool = False
    suspend_reason: Literal["user", "signal", "detach", "awaitingApproval"] | None = None

    @property
    def pending_calls(self) -> tuple[ToolCallPart, ...]:
        """The calls of the open batch that have no result yet, in the model's order."""
        return tuple(call for call in self.calls if call.tool_call_id not in self.results)

    @property
    def pending_interactive(self) -> tuple[ToolCallId, ...]:
        """The questions to the user that are not answered yet, in order."""
        return tuple(
            call.tool_call_id
            for call in self.pending_calls
            if _kind(self, call.tool_call_id) == "interactive"
        )

    @property
    def pending_delegates(self) -> tuple[DelegateTo, ...]:
        """The delegations that have not come back yet."""
        return tuple(child for child in self.delegate_to if child.tool_call_id not in self.results)

    @property
    def waiting_approval(self) -> tuple[ToolCallId, ...]:
        """The calls that wait at a consensus checkpoint."""
        return tuple(
            id_ for id_, approval in self.approvals.items() if approval.status == "waiting"
        )

    @property
    def last_text(self) -> str:
        """The text of the last Expert message, "" when there is none."""
        for at in range(len(self.messages) - 1, -1, -1):
            message = self.messages[at]
            if isinstance(message, ExpertMessage):
                return message.text
        return ""


def initial() -> RunState:
    """Return the state of a run that nothing has happened in."""
    return RunState()


def start_from(parent_state: RunState) -> RunState:
    """Return the state that a fork of the run in `parent_state` begins with.

    It has the parent's messages, todos and open batch. Usage begins at nothing, since the parent
    counted its own; approvals are asked for and delegations made anew: both were one run's. What a
    parent that stopped in good order had not begun has not been begun.
    """
    return RunState(
        step_number=parent_state.step_number,
        messages=parent_state.messages,
        context_window_usage=parent_state.context_window_usage,
        last_usage=parent_state.last_usage,
        calls=parent_state.calls,
        routes=parent_state.routes,
        results=parent_state.results,
        queued=parent_state.queued,
        completing=parent_state.completing,
        todos=parent_state.todos,
        suspended=parent_state.suspended or parent_state.status == "stoppedByExceededMaxSteps",
    )


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
        ):
            return state
        case RequestInput() | ResolveInput() | SampleModel():
            changed = _fold_input(state, body)
        case InitializeRuntime():
            return _but(
                state,
                run_id=event.run_id,
                job_id=event.job_id,
                context_window=body.context_window,
            )
        case StartRun():
            changed = _started(state, event, body)
        case CallTools() | ToolReturned() | RequestApproval() | ResolveApproval():
            changed = _fold_batch(state, body)
        case AttemptCompletion():
            changed = _but(_close(state, _own_message_id(state)), completing=True)
        case FinishToolCall() | FinishAllToolCalls():
            changed = _close(state, body.message_id)
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


def without_messages(state: RunState) -> RunState:
    """Return `state` without its messages, for views: folding goes on, memory does not grow."""
    return _but(state, messages=Messages()) if state.messages else state


def with_messages(state: RunState, messages: Messages) -> RunState:
    """Return `state` with `messages` in place of its own."""
    return _but(state, messages=messages)


def _but(state: RunState, **changes: object) -> RunState:
    """Return `state` with `changes`: what `dataclasses.replace` does, at a tenth of its cost.

    Replaying a long history is little else than this.
    """
    changed = object.__new__(RunState)
    changed.__dict__.update(state.__dict__, **changes)
    return changed


def _spent(cost: Cost, body: Body) -> Cost:
    usage, usd = spent_by(body)
    return cost if usage == NO_USAGE else cost.plus(usd)


def _fold_input(state: RunState, body: RequestInput | ResolveInput | SampleModel) -> RunState:
    match body:
        case RequestInput():
            return _but(state, inputs={**state.inputs, body.consensus_id: body})
        case ResolveInput():
            left = {id_: asked for id_, asked in state.inputs.items() if id_ != body.consensus_id}
            return _but(state, inputs=left)
        case SampleModel():
            usage = state.usage.plus(body.usage)
            return _but(state, usage=usage, cost=_spent(state.cost, body))


def _kind(state: RunState, tool_call_id: ToolCallId) -> str:
    route = state.routes.get(tool_call_id)
    return route.kind if route else "unknown"


def _started(state: RunState, event: Event, body: StartRun) -> RunState:
    fresh = body.status == "init" and body.parent is None
    history = Messages() if fresh else state.messages
    batch_open = bool(state.calls) and not fresh
    return _but(
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
    )


def _fold_batch(
    state: RunState, body: CallTools | ToolReturned | RequestApproval | ResolveApproval
) -> RunState:
    match body:
        case CallTools():
            return _opened(state, body)
        case ToolReturned():
            results = {**state.results, body.result.id: body.result}
            return _but(state, results=results, todos=todos_after(state.todos, body.result))
        case RequestApproval():
            asked = {call: Approval(body.consensus_id) for call in body.subtasks.values()}
            return _but(state, approvals={**state.approvals, **asked})
        case ResolveApproval():
            return _but(state, approvals={**state.approvals, **_decided(body)})


def _opened(state: RunState, body: CallTools) -> RunState:
    return _but(
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
        )

    approved = dict.fromkeys(body.approved, decided("approved"))
    return {**approved, **dict.fromkeys(body.rejected, decided("rejected"))}


def _close(state: RunState, message_id: MessageId) -> RunState:
    if not state.calls:
        return state
    parts = tuple(_result_part(state, call) for call in state.calls)
    return _but(
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
    return _but(
        state,
        messages=state.messages.plus(*body.new_messages),
        usage=state.usage.plus(body.usage),
        last_usage=state.last_usage if body.usage == NO_USAGE else body.usage,
        cost=_spent(state.cost, body),
        retry_count=state.retry_count + 1,
    )


def _continued(state: RunState, body: ContinueToNextStep) -> RunState:
    return _but(
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
    state = _but(state, checkpoint_id=body.checkpoint_id, inputs={})
    match body:
        case SuspendRun():
            return _but(state, suspended=True, suspend_reason=body.reason)
        case StopRunByDelegate():
            return _but(state, status="stoppedByDelegate", delegate_to=body.delegate_to)
        case StopRunByInteractiveTool():
            return _but(state, status="stoppedByInteractiveTool")
        case StopRunByExceededMaxSteps() | StopRunByExceededBudget():
            return _but(state, status="stoppedByExceededMaxSteps")
        case StopRunByError():
            return _but(
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
        closed = _but(closed, messages=closed.messages.plus(body.new_message))
    return _but(
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
