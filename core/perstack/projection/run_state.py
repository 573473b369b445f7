"""What a run's events have come to. The engine resumes from it; every view is made from it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Literal

from perstack.domain.events import DelegateTo, RunError, ToolResult, ToolRoute
from perstack.domain.expert import ExpertRef
from perstack.domain.ids import (
    CheckpointId,
    ConsensusId,
    ExpertKey,
    JobId,
    RunId,
    StandingId,
    ToolCallId,
)
from perstack.domain.jobs import DelegatedBy, ForkPoint, RunStatus
from perstack.domain.messages import (
    ExpertMessage,
    InstructionMessage,
    ToolCallPart,
    UserMessage,
)
from perstack.domain.program_events import BeginSession
from perstack.domain.server_events import RequestInput
from perstack.domain.steering_events import PauseRun, TakeDefinition
from perstack.domain.usage import NO_COST, NO_USAGE, Cost, Usage
from perstack.ports.skills import Todo
from perstack.projection.messages import Messages

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
    standing_id: StandingId | None = None


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
    Expert declared itself done and only its final text is missing. `paused` is why it stands still,
    `judged` are the calls of the batch that were compared with the tasks they descend from.

    `model` is the one that somebody changed the run to, `model_before` the one that it began with;
    `definition` is what it took of its Expert's definition since it began. `session` is that of the
    program which executes the run, by which it can be taken up again.
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
    paused: PauseRun | None = None
    judged: frozenset[ToolCallId] = frozenset()
    model: str | None = None
    model_before: str | None = None
    definition: TakeDefinition | None = None
    session: BeginSession | None = None

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
            if (route := self.routes.get(call.tool_call_id)) and route.kind == "interactive"
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
    counted its own; approvals are asked for and delegations made anew: both were one run's, and so
    was a program's session, which knows what came after. What a parent that stopped in good order
    had not begun has not been begun.
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
        model=parent_state.model,
        model_before=parent_state.model_before,
        definition=parent_state.definition,
        suspended=parent_state.suspended or parent_state.status == "stoppedByExceededMaxSteps",
    )


def without_messages(state: RunState) -> RunState:
    """Return `state` without its messages, for views: folding goes on, memory does not grow."""
    return but(state, messages=Messages()) if state.messages else state


def with_messages(state: RunState, messages: Messages) -> RunState:
    """Return `state` with `messages` in place of its own."""
    return but(state, messages=messages)


def but(state: RunState, **changes: object) -> RunState:
    """Return `state` with `changes`: what `dataclasses.replace` does, at a tenth of its cost.

    Replaying a long history is little else than this.
    """
    changed = object.__new__(RunState)
    changed.__dict__.update(state.__dict__, **changes)
    return changed
