"""Drives one run: asks the machine what is next, does it, records what it meant."""

from __future__ import annotations

from contextlib import AsyncExitStack, ExitStack
from typing import TYPE_CHECKING, assert_never

from perstack.domain.events import (
    Body,
    CallInteractiveTool,
    CompleteRun,
    ContinueToNextStep,
    FinishAllToolCalls,
    FinishToolCall,
    ResolveToolResults,
    ResumeToolCalls,
    RunError,
    StartRun,
    StopRunByError,
    StopRunByExceededBudget,
    StopRunByExceededMaxSteps,
    StopRunByInteractiveTool,
    SuspendRun,
    ToolReturned,
)
from perstack.domain.expert import Expert, ref
from perstack.domain.ids import CheckpointId, ConsensusId, MessageId, ToolCallId
from perstack.domain.messages import (
    ExpertMessage,
    ToolCallPart,
)
from perstack.domain.runtimes import is_program
from perstack.domain.server_events import SkillLog, SkillProgress, SkillStderr
from perstack.engine import approvals, calls, delegation, generation, programs, steering, wishes
from perstack.engine.bill import NO_BILL, Bill
from perstack.engine.control import StopControl
from perstack.engine.machine import (
    Ask,
    AwaitDelegates,
    AwaitGate,
    CallSkills,
    CloseBatch,
    Complete,
    Declare,
    Delegate,
    Effect,
    Generate,
    Refuse,
    RequestGate,
    TryCompletion,
    in_doubt,
    next_effect,
)
from perstack.engine.opening import (
    Opening,
    answered,
    executed_by,
    initialized,
    input_messages,
)
from perstack.engine.plan import RunOutcome
from perstack.engine.program_model import model_of
from perstack.engine.recording import Announcements
from perstack.engine.requests import withdraw_all
from perstack.engine.run_skills import RunSkills
from perstack.engine.toolset import Toolset
from perstack.errors import PerstackError, ProgramError, ProviderError
from perstack.ports.history import RunLog
from perstack.ports.model import ChatModel
from perstack.ports.notices import Notice
from perstack.ports.programs import Program
from perstack.ports.skills import SkillNotice
from perstack.projection.run_state import RunState
from perstack.projection.state_fold import fold

if TYPE_CHECKING:
    from perstack.engine.job import JobDriver


class RunDriver:
    """One run being driven. Its skills stay open while its delegates run."""

    def __init__(
        self,
        job: JobDriver,
        expert: Expert,
        log: RunLog,
        state: RunState,
        *,
        step: int,
        depth: int,
        control: StopControl,
        above: RunDriver | None = None,
    ) -> None:
        self.job = job
        self.control = control
        self.helm = steering.RunHelm(control, above.helm if above else None)
        self.expert = expert
        self.state = state
        self.depth = depth
        self.run_id = log.run_id
        self.step = step
        self._log = log
        # Calls of skills that are being made now.
        self.calling: set[ToolCallId] = set()
        self._announcements = Announcements(log, job.announce)
        self.skills = RunSkills(self, AsyncExitStack())
        self.program: Program | None = None
        self.model: ChatModel = model_of(self)
        self.batch: delegation.Batch | None = None
        self.helm.at_once = wishes.AtOnce(self)

    @property
    def toolset(self) -> Toolset:
        """The tools, once skills are open."""
        return self.skills.toolset

    async def drive(self, opening: Opening) -> RunOutcome:
        """Take the run up and go on until it stops; skills are closed by then.

        Raises:
            StorageError: the history cannot be written; everything announced is in it.
        """
        if self.state.messages:
            self.job.take_up(self.run_id, self.state)
        with ExitStack() as cleanup:
            # First in, last out: what skills say as they are closed is still recorded.
            cleanup.callback(self._log.close)
            cleanup.callback(lambda: self.model.forget(self.run_id))
            outcome = await self._drive(opening)
            await wishes.refuse_rest(self)
            return outcome

    async def _drive(self, opening: Opening) -> RunOutcome:
        failure = await wishes.as_before(self)
        await self.record(initialized(self, opening))
        opened = self.control.interruptible()
        with opened as scope:
            async with AsyncExitStack() as stack:
                self.skills = RunSkills(self, stack)
                failure = failure or await self._equip()
                opened.release()
                # A stop in the very last moment is felt only at the next wait: not to begin twice.
                if not scope.cancel_called:
                    await self._start(opening)
                    return await (self._go(opening) if failure is None else self.fail(failure))
        # A stop came while skills were starting; what was asked is on record all the same.
        await self._start(opening)
        return await self.suspend()

    async def record(self, body: Body, *, durable: bool = False) -> None:
        """Append, fold, announce; a `durable` record is on the disk before it is announced.

        What others record meanwhile is announced after it, so that order holds.
        """
        self._append(body, durable=durable)
        if durable:
            await self._log.sync()
        self._announcements.announce()

    def tell(self, body: Body) -> None:
        """Append, fold and announce what comes from elsewhere, at once."""
        self._append(body, durable=False)
        self._announcements.announce()

    def _append(self, body: Body, *, durable: bool) -> None:
        event = self._log.append(body, step_number=self.step)
        self.state = fold(self.state, event)
        self._announcements.add(event, durable=durable)

    def checkpoint_id(self) -> CheckpointId:
        """The id of the checkpoint that the step at hand ends in."""
        return self.state.next_checkpoint_id or CheckpointId(self.job.deps.ids.new())

    def new_message_id(self) -> MessageId:
        """A fresh message id."""
        return MessageId(self.job.deps.ids.new())

    # ---------------------------------------------------------------- taking up

    async def _tools_ready(self) -> RunOutcome | None:
        """Wait for the skills that the run did not wait for as it began; say how it ended if so."""
        if (failure := await self.skills.ready()) is not None:
            return await self.fail(failure)
        return await self.suspend() if self.control.stopping else None

    def notice(self, notice: SkillNotice) -> None:
        """Record what a skill says by itself."""
        if isinstance(notice, SkillStderr | SkillLog | SkillProgress) and notice.message:
            said = self.job.deps.redact(notice.message)
            notice = notice.model_copy(update={"message": said})
        self.tell(notice)

    async def _start(self, opening: Opening) -> None:
        await withdraw_all(self)
        for call in in_doubt(self.state):
            await self.record(ToolReturned(result=calls.doubtful(self, call, "ended")))
        for answer in opening.answers:
            await self.record(ToolReturned(result=answered(answer)))
        await self.record(
            StartRun(
                checkpoint_id=CheckpointId(self.job.deps.ids.new()),
                status=opening.status,
                expert=ref(self.expert),
                input_messages=input_messages(self, opening),
                parent=opening.parent,
                delegated_by=opening.delegated_by,
            ),
            # What is lost of a new run is begun again from its setting, which is on the disk.
            durable=opening.status != "init" or opening.parent is not None,
        )
        if self.depth == 0 and (raised := self.job.take_raise()) is not None:
            await self.record(raised, durable=True)
        await self.announce_pending()

    async def announce_pending(self) -> None:
        """Say which calls a run that went on still has to make."""
        pending = tuple(call.tool_call_id for call in self.state.pending_calls)
        if pending:
            partial = tuple(self.state.results)
            await self.record(ResumeToolCalls(pending=pending, partial=partial))

    async def _equip(self) -> PerstackError | None:
        """Find the program that executes the run, or else open its skills; say why that failed."""
        name = executed_by(self)
        if not is_program(name):
            return await self.skills.open()
        plan = self.job.plan
        try:
            self.program = await self.job.deps.programs.ready(name, plan.settings, plan.env)
        except ProgramError as error:
            return error
        return None

    # ---------------------------------------------------------------- the loop

    async def _go(self, opening: Opening) -> RunOutcome:
        if self.program is not None:
            return await programs.drive(self, self.program, opening.session)
        return await self._loop()

    async def _loop(self) -> RunOutcome:
        if (ended := await self._tools_ready()) is not None:
            return ended
        while True:
            if self.control.stopping:
                return await self.suspend()
            outcome = await self._boundary() or await self._perform(next_effect(self.state))
            if outcome is not None:
                return outcome

    async def _boundary(self) -> RunOutcome | None:
        """Between two steps, do what others want of the run."""
        effect = next_effect(self.state)
        if isinstance(effect, Generate | Complete):
            return await steering.at_boundary(self)
        if isinstance(effect, RequestGate | Delegate):
            return await steering.judge(self, steering.unjudged(self, effect.calls))
        return None

    async def _perform(self, effect: Effect) -> RunOutcome | None:
        match effect:
            case Generate():
                return await generation.step(self, final=effect.final)
            case Refuse():
                return await calls.refuse(self, effect.calls)
            case CallSkills():
                return await calls.call_skills(self, await approvals.unchanged(self, effect.calls))
            case RequestGate():
                return await approvals.request(self, effect.calls)
            case AwaitGate():
                return await approvals.wait(self, effect.consensus_id)
            case Delegate():
                return await delegation.begin(self, await approvals.unchanged(self, effect.calls))
            case AwaitDelegates():
                return await delegation.go_on(self, effect.children)
            case Ask():
                return await self.ask(effect.calls)
            case TryCompletion() | Declare():
                return await calls.complete(self, effect)
            case CloseBatch():
                return await self.close_batch(resumed=effect.resumed)
            case Complete():
                return await self.complete(NO_BILL)
            case _:
                assert_never(effect)

    # ---------------------------------------------------------------- boundaries

    async def close_batch(self, *, resumed: bool) -> RunOutcome | None:
        """Make a tool message of the results and take the next step; say if that ended the run."""
        message_id = self.new_message_id()
        if resumed:
            await self.record(FinishAllToolCalls(message_id=message_id))
        else:
            await self.record(ResolveToolResults())
            await self.record(FinishToolCall(message_id=message_id))
        return await self._next_step()

    async def _next_step(self) -> RunOutcome | None:
        if (limit := self.job.at_limit) is not None:
            return await self.reach(limit)
        step = self.job.take_step()
        await self.record(
            ContinueToNextStep(
                checkpoint_id=self.checkpoint_id(),
                next_checkpoint_id=CheckpointId(self.job.deps.ids.new()),
                next_step_number=step,
            ),
            durable=True,
        )
        self.step = step
        return None

    # ---------------------------------------------------------------- stopping

    async def ask(self, calls: tuple[ToolCallPart, ...]) -> RunOutcome:
        """Stop until the user has answered the first of `calls`."""
        pending = tuple(call.tool_call_id for call in calls)
        await self.record(CallInteractiveTool(tool_call_id=pending[0]))
        await self.record(
            StopRunByInteractiveTool(checkpoint_id=self.checkpoint_id(), pending=pending),
            durable=True,
        )
        self.job.notify(
            Notice(
                kind="question",
                job_id=self.job.job_id,
                run_id=self.run_id,
                expert_key=self.expert.key,
                title=calls[0].tool_name,
            )
        )
        return RunOutcome("asked")

    async def complete(self, bill: Bill, *, said: ExpertMessage | None = None) -> RunOutcome:
        """End the run well, with what was `said` last or else with the last Expert message."""
        await self.record(
            CompleteRun(
                checkpoint_id=self.checkpoint_id(),
                new_message=said,
                usage=bill.usage,
                cost_usd=bill.cost_usd,
                context_window_usage=bill.context_window_usage,
            ),
            durable=True,
        )
        return RunOutcome("completed", text=self.state.last_text)

    async def fail(self, error: PerstackError, bill: Bill = NO_BILL) -> RunOutcome:
        """End the run in `error`, with secrets taken out; `bill` is that of a useless answer."""
        status = error.status if isinstance(error, ProviderError) else None
        named = RunError(
            name=type(error).__name__,
            message=self.job.deps.redact(error.message),
            status_code=status,
        )
        await self.record(
            StopRunByError(
                checkpoint_id=self.checkpoint_id(),
                error=named,
                usage=bill.usage,
                cost_usd=bill.cost_usd,
            ),
            durable=True,
        )
        return RunOutcome("failed", error=named, hint=error.hint)

    async def reach(self, limit: RunOutcome) -> RunOutcome:
        """End the run at one of the job's limits; the job can go on when that is raised.

        It goes on as another run, which asks anew for what this one waits for.
        """
        await approvals.withdraw(self)
        point, over = self.checkpoint_id(), limit.overrun
        await self.record(
            StopRunByExceededMaxSteps(checkpoint_id=point)
            if over is None
            else StopRunByExceededBudget(
                checkpoint_id=point, budget=over.budget, used=over.used, allowed=over.allowed
            ),
            durable=True,
        )
        return limit

    async def suspend(self, consensus_id: ConsensusId | None = None) -> RunOutcome:
        """Stop so that the run can go on from here; with an id, because a gate is not awaited."""
        reason = self.control.reason
        if reason == "budget":
            return await self.reach(RunOutcome("limit", overrun=self.job.meter.out_of_time))
        await self.record(
            SuspendRun(
                checkpoint_id=self.state.checkpoint_id or self.checkpoint_id(),
                reason=reason or "awaitingApproval",
                by=self.control.by,
            ),
            durable=True,
        )
        if reason is None:
            return RunOutcome("awaiting", consensus_id=consensus_id)
        return RunOutcome("stopped", by=self.control.by)
