"""Everything that happens in a run, as a closed union.

An event carries each piece of content exactly once: the tool message that `finishToolCall` adds
is made of the results that `toolReturned` carried, so it holds only the message's id. Perstack's
wider JSON, in which messages repeat, is made from these by `perstack.projection.perstack_json`.

Types with Perstack's names mean what they mean there (state machine in `perstack.engine.machine`).
Ours are `toolReturned`, `requestApproval`, `resolveApproval`, `suspendRun`,
`stopRunByExceededBudget`, what servers say and ask (`skillLog`, `skillProgress`, `requestInput`,
`resolveInput`, `sampleModel`), what other agents' programs say that execute a run
(`startProgram`, `beginSession`), and what people and limits do to a run at work (`pauseRun`,
`resumeRun`, `steerRun`, `changeModel`, `takeDefinition`, `raiseBudget`, `retryDelegate`,
`refuseOrder`, `judgeDrift`).
"""

from __future__ import annotations

import hashlib
from typing import Annotated, Literal

from pydantic import Field

from perstack.domain.base import Model
from perstack.domain.expert import ExpertRef
from perstack.domain.ids import (
    CheckpointId,
    ConsensusId,
    ExpertKey,
    JobId,
    MessageId,
    RunId,
    StandingId,
    SubtaskId,
    ToolCallId,
)
from perstack.domain.jobs import DelegatedBy, ForkPoint, InteractiveAnswer, RunStatus
from perstack.domain.messages import ExpertMessage, InstructionMessage, ResultPart, UserMessage
from perstack.domain.program_events import ProgramEvent
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
from perstack.domain.settings import RiskLevel
from perstack.domain.steering_events import Steering
from perstack.domain.usage import NO_USAGE, Usage

ToolKind = Literal["mcp", "delegate", "interactive", "unknown"]


class ToolRoute(Model):
    """Where one tool call goes. A `gated` call runs only once an approval was recorded.

    `repeatable` calls only read, so that after a crash they are simply made again.
    """

    tool_call_id: ToolCallId
    skill_name: str
    kind: ToolKind
    gated: bool | None = None
    repeatable: bool | None = None


class ToolResult(Model):
    """The result of one call. `in_doubt`: the program ended while the call was being made."""

    id: ToolCallId
    skill_name: str
    tool_name: str
    result: tuple[ResultPart, ...]
    is_error: bool | None = None
    in_doubt: bool | None = None


class RunError(Model):
    """Why a run ended in error."""

    name: str
    message: str
    status_code: int | None = None
    is_retryable: bool = False


class InitializeRuntime(Model):
    """The runtime took up a run. `timeout` in milliseconds, `context_window` in tokens."""

    type: Literal["initializeRuntime"] = "initializeRuntime"
    runtime_version: str
    runtime: str = "perstack"
    expert_name: str
    experts: tuple[ExpertKey, ...]
    model: str
    provider_name: str
    max_steps: int
    max_retries: int
    timeout: int
    query: str | None = None
    interactive_tool_call: InteractiveAnswer | None = None
    context_window: int | None = None


class StartRun(Model):
    """A run begins or goes on; `status` is the one it goes on from, `init` for a new one.

    `answer` is the user's answer to an interactive call; delegates' results come as
    `toolReturned` before this.
    """

    type: Literal["startRun"] = "startRun"
    checkpoint_id: CheckpointId
    status: RunStatus
    expert: ExpertRef
    input_messages: tuple[
        Annotated[InstructionMessage | UserMessage, Field(discriminator="type")], ...
    ]
    parent: ForkPoint | None = None
    delegated_by: DelegatedBy | None = None


class StartGeneration(Model):
    """The model was asked."""

    type: Literal["startGeneration"] = "startGeneration"


class Retry(Model):
    """A generation failed or gave nothing; the step is given up and the next one tries again."""

    type: Literal["retry"] = "retry"
    reason: str
    attempt: int
    delay_ms: int
    usage: Usage
    cost_usd: float | None = None
    new_messages: tuple[
        Annotated[ExpertMessage | UserMessage, Field(discriminator="type")], ...
    ] = ()


class CallTools(Model):
    """The model asked for tool calls. This record is durable before any of them begins."""

    type: Literal["callTools"] = "callTools"
    new_message: ExpertMessage
    routes: tuple[ToolRoute, ...]
    usage: Usage
    cost_usd: float | None = None
    context_window_usage: float | None = None


class ToolReturned(Model):
    """One call's result is known (a tool's, a delegate's, or the user's answer)."""

    type: Literal["toolReturned"] = "toolReturned"
    result: ToolResult


class AttemptCompletion(Model):
    """The Expert declared itself done and no todo was open."""

    type: Literal["attemptCompletion"] = "attemptCompletion"
    tool_call_id: ToolCallId


class ResolveToolResults(Model):
    """All calls of the response have results: those that `toolReturned` carried."""

    type: Literal["resolveToolResults"] = "resolveToolResults"


class FinishToolCall(Model):
    """The results became a tool message with this id."""

    type: Literal["finishToolCall"] = "finishToolCall"
    message_id: MessageId


class CallDelegate(Model):
    """Delegations begin."""

    type: Literal["callDelegate"] = "callDelegate"
    tool_call_ids: tuple[ToolCallId, ...]


class CallInteractiveTool(Model):
    """The user is asked."""

    type: Literal["callInteractiveTool"] = "callInteractiveTool"
    tool_call_id: ToolCallId


class ResumeToolCalls(Model):
    """A run that went on still has calls to make."""

    type: Literal["resumeToolCalls"] = "resumeToolCalls"
    pending: tuple[ToolCallId, ...]
    partial: tuple[ToolCallId, ...]


class FinishAllToolCalls(Model):
    """A run that went on has all its results; they became a tool message with this id."""

    type: Literal["finishAllToolCalls"] = "finishAllToolCalls"
    message_id: MessageId


class RequestApproval(Model):
    """Calls wait at a consensus checkpoint. `expires_at` in Unix milliseconds."""

    type: Literal["requestApproval"] = "requestApproval"
    consensus_id: ConsensusId
    risk_level: RiskLevel
    reason: str
    subtasks: dict[SubtaskId, ToolCallId]
    expires_at: int | None = None


class ResolveApproval(Model):
    """A consensus checkpoint was decided or expired. Durable before an approved call begins.

    With `standing_id` nothing waited: `decided_by` had let exactly these calls pass for the rest of
    the job, as they decided `consensus_id`.
    """

    type: Literal["resolveApproval"] = "resolveApproval"
    consensus_id: ConsensusId
    outcome: Literal["approved", "rejected", "expired"]
    approved: tuple[ToolCallId, ...]
    rejected: tuple[ToolCallId, ...]
    feedback: str | None = None
    decided_by: str | None = None
    standing_id: StandingId | None = None


class ContinueToNextStep(Model):
    """A step is over and can be resumed from."""

    type: Literal["continueToNextStep"] = "continueToNextStep"
    checkpoint_id: CheckpointId
    next_checkpoint_id: CheckpointId
    next_step_number: int


class SuspendRun(Model):
    """A person or a signal stopped the run; it can go on from here. `by` is who, where known."""

    type: Literal["suspendRun"] = "suspendRun"
    checkpoint_id: CheckpointId
    reason: Literal["user", "signal", "detach", "awaitingApproval"]
    by: str | None = None


class DelegateTo(Model):
    """One delegation."""

    run_id: RunId
    expert: ExpertRef
    tool_call_id: ToolCallId
    tool_name: str
    query: str


class StopRunByDelegate(Model):
    """The run waits for the runs in `delegate_to`."""

    type: Literal["stopRunByDelegate"] = "stopRunByDelegate"
    checkpoint_id: CheckpointId
    delegate_to: tuple[DelegateTo, ...]


class StopRunByInteractiveTool(Model):
    """The run waits for the user's answer to the first of `pending`."""

    type: Literal["stopRunByInteractiveTool"] = "stopRunByInteractiveTool"
    checkpoint_id: CheckpointId
    pending: tuple[ToolCallId, ...]


class StopRunByExceededMaxSteps(Model):
    """The job's step limit was reached."""

    type: Literal["stopRunByExceededMaxSteps"] = "stopRunByExceededMaxSteps"
    checkpoint_id: CheckpointId


class StopRunByExceededBudget(Model):
    """A budget of the job was used up. `used` and `allowed` in tokens, USD or milliseconds."""

    type: Literal["stopRunByExceededBudget"] = "stopRunByExceededBudget"
    checkpoint_id: CheckpointId
    budget: Literal["tokens", "cost", "duration"]
    used: float
    allowed: float


class StopRunByError(Model):
    """The run ended in error; `usage` is that of an answer which could not be used."""

    type: Literal["stopRunByError"] = "stopRunByError"
    checkpoint_id: CheckpointId
    error: RunError
    usage: Usage = NO_USAGE
    cost_usd: float | None = None


class CompleteRun(Model):
    """The run is done. Its text is that of `new_message`, or of the last Expert message."""

    type: Literal["completeRun"] = "completeRun"
    checkpoint_id: CheckpointId
    new_message: ExpertMessage | None = None
    usage: Usage
    cost_usd: float | None = None
    context_window_usage: float | None = None


Body = Annotated[
    InitializeRuntime
    | SkillStarting
    | SkillConnected
    | SkillStderr
    | SkillLog
    | SkillProgress
    | SkillDisconnected
    | RequestInput
    | ResolveInput
    | SampleModel
    | StartRun
    | StartGeneration
    | Retry
    | CallTools
    | ToolReturned
    | AttemptCompletion
    | ResolveToolResults
    | FinishToolCall
    | CallDelegate
    | CallInteractiveTool
    | ResumeToolCalls
    | FinishAllToolCalls
    | RequestApproval
    | ResolveApproval
    | ContinueToNextStep
    | SuspendRun
    | Steering
    | ProgramEvent
    | StopRunByDelegate
    | StopRunByInteractiveTool
    | StopRunByExceededMaxSteps
    | StopRunByExceededBudget
    | StopRunByError
    | CompleteRun,
    Field(discriminator="type"),
]


class Event(Model):
    """Something that happened. `seq` counts from 0 within the run; `timestamp` is Unix ms."""

    seq: int
    timestamp: int
    job_id: JobId
    run_id: RunId
    expert_key: ExpertKey
    step_number: int
    body: Body

    @property
    def id(self) -> str:
        """A cuid2-shaped id, the same each time the event is read."""
        return event_id(self.run_id, self.seq)


class Delta(Model):
    """A piece of what a model is saying or a tool is printing; live, never part of the history.

    `kind` "end" closes what was streaming; its `text` is the whole of it. `tool_call_id` says
    which call prints, for the stream "tool" alone; such a stream has neither start nor end, since
    the result holds the output.
    """

    job_id: JobId
    run_id: RunId
    expert_key: ExpertKey
    step_number: int
    stream: Literal["reasoning", "text", "result", "tool"]
    kind: Literal["start", "delta", "end"]
    text: str = ""
    tool_call_id: ToolCallId | None = None


def event_id(run_id: RunId, seq: int) -> str:
    """Return the id of the run's event number `seq`: a letter and 23 characters of base 16."""
    digest = hashlib.blake2b(f"{run_id}:{seq}".encode(), digest_size=12).hexdigest()
    return "e" + digest[:23]
