"""Drives a run that another agent's program executes.

The program steps by itself; what it does is recorded as steps of the run as it is heard. Whatever
is wanted of the run (a stop, a pause, a word, another model) is done between two of its steps: the
program is ended, and started again with the session of its own that it kept.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Final

import anyio

from perstack.config.model_table import facts_of
from perstack.domain.events import CallTools, StartGeneration, ToolReturned, ToolRoute
from perstack.domain.expert import InteractiveSkill
from perstack.domain.messages import (
    ExpertMessage,
    ExpertPart,
    TextPart,
    ToolCallPart,
    UserMessage,
    text_of,
)
from perstack.domain.program_events import BeginSession, StartProgram
from perstack.domain.runtimes import is_program
from perstack.domain.usage import NO_USAGE, Usage, cost_usd
from perstack.engine import approvals, calls, generation, steering
from perstack.engine.bill import Bill
from perstack.engine.opening import executed_by
from perstack.engine.plan import RunOutcome
from perstack.engine.program_model import ProgramModel
from perstack.engine.program_past import past_text, settled_notes
from perstack.errors import ProgramError, SessionLostError
from perstack.ports.model import ChatModel, Spoken
from perstack.ports.programs import (
    Asks,
    Began,
    Finished,
    Hearing,
    Permission,
    Program,
    Report,
    Returned,
    Talk,
    Turn,
)

if TYPE_CHECKING:
    from perstack.engine.run import RunDriver

# A tool of the program's may work silently for longer than its model may think.
TOOL_SILENCE_S: Final = 1_800.0
_GO_ON: Final = "Go on with what you were doing; you were interrupted."
_UNTOLD: Final = "The program did not tell what came of it."


def model_of(run: RunDriver) -> ChatModel:
    """Return the model of a run: the job's, or what stands for that of the program."""
    name = executed_by(run)
    if not is_program(name):
        return run.job.deps.model
    settings = run.job.plan.settings
    given = settings.model if settings.runtime.model_given else None
    return ProgramModel(given or f"{name}:default", settings)


async def opened(run: RunDriver, name: str) -> ChatModel:
    """Return another model for the run, by name.

    Raises:
        ConfigError: it cannot be had.
    """
    if is_program(executed_by(run)):
        return ProgramModel(name, run.job.plan.settings)
    return await run.job.deps.open_model(name)


async def drive(run: RunDriver, program: Program, before: BeginSession | None) -> RunOutcome:
    """Talk with the program until the run stops; `before` is the session that a fork follows."""
    lost: set[str] = set()
    while True:
        if run.control.stopping:
            return await run.suspend()
        ended = await _decided(run) or await steering.at_boundary(run)
        if ended is None and (over := run.job.over_budget) is not None:
            ended = await run.reach(RunOutcome("limit", overrun=over))
        if ended is not None:
            return ended
        known = run.state.session or before
        if known is not None and known.session_id in lost:
            known = None
        try:
            ended = await _Conversation(run, program, known).hold()
        except SessionLostError as error:
            if known is None:
                return await run.fail(error)
            # It is told what was said so far instead.
            lost.add(known.session_id)
        except ProgramError as error:
            return await run.fail(error)
        if ended is not None:
            return ended


async def _decided(run: RunDriver) -> RunOutcome | None:
    """Wait for decisions that an ended program waited for, and answer what it never did."""
    for id_ in run.state.waiting_approval:
        gate = run.state.approvals[id_].consensus_id
        if (ended := await approvals.wait(run, gate)) is not None:
            return ended
    if run.control.stopping:
        return await run.suspend()
    for call in run.state.pending_calls:
        approval = run.state.approvals.get(call.tool_call_id)
        if approval is not None and approval.status == "approved":
            text = "Approved meanwhile, but the program had ended: it was not done yet."
        else:
            text = (approval.feedback if approval else None) or "It was not done."
        answer = calls.result(run, call, text, is_error=True)
        await run.record(ToolReturned(result=answer))
    return None


class _Conversation:
    """One time that the program is started for the run."""

    def __init__(self, run: RunDriver, program: Program, session: BeginSession | None) -> None:
        self._run = run
        self._program = program
        same = session is not None and session.runtime == program.name
        self._session = session.session_id if session is not None and same else None
        asked: Mapping[str, str] = program.questions(run.expert) if run.depth == 0 else {}
        # Its names for our interactive tools lead to the skills that these are of.
        self._questions = {theirs: (ours, _skill_of(run, ours)) for ours, theirs in asked.items()}
        # What was said since the last step was recorded, and what of the talk was counted.
        self._said: tuple[ExpertPart, ...] = ()
        self._uncounted: Usage = NO_USAGE
        self._counted: Usage = NO_USAGE
        self._cost = 0.0
        self._model: str | None = None
        self._speech = generation.Speech(generation.blank_delta(run), run.job.say, final=False)

    async def hold(self) -> RunOutcome | None:
        """Say what is to be said and hear it out.

        Returns how the run ended, None when somebody wants something at the boundary reached.

        Raises:
            ProgramError: the program failed.
        """
        run = self._run
        talk = self._talk()
        await run.record(
            StartProgram(
                runtime=self._program.name,
                continued=talk.session,
                dropped=self._program.dropped(talk),
            )
        )
        if not run.state.calls:
            await run.record(StartGeneration())
        async with AsyncExitStack() as stack:
            hearing = await stack.enter_async_context(self._program.talk(talk))
            stack.callback(self._speech.close)
            while True:
                report = await self._next(hearing)
                if run.control.stopping or report is None:
                    return None
                await self._close_settled(report)
                ended = await self._take(report)
                if ended is not None or self._is_wanted(report):
                    return ended

    def _talk(self) -> Talk:
        run, plan = self._run, self._run.job.plan
        given = plan.settings.model if plan.settings.runtime.model_given else None
        heard = [*settled_notes(run.state, answers=bool(run.state.calls))]
        heard += _unheard(run)
        return Talk(
            job_id=run.job.job_id,
            run_id=run.run_id,
            expert=run.expert,
            experts=plan.experts,
            prompt="\n\n".join(heard) or _GO_ON,
            workspace=plan.workspace,
            settings=plan.settings,
            env=plan.env,
            session=self._session,
            branch=run.state.session is None,
            past="" if self._session else past_text(run.state.messages),
            model=run.state.model or given,
            may_ask=bool(self._questions),
        )

    async def _next(self, hearing: Hearing) -> Report | None:
        """Return the next report, None when a stop came first.

        Raises:
            ProgramError: as above, or the program has been silent for too long.
        """
        run = self._run
        thinks_s = run.job.plan.settings.timeout / 1000
        silence_s = max(thinks_s, TOOL_SILENCE_S) if run.state.pending_calls else thinks_s
        report: Report | None = None
        with run.control.interruptible(), anyio.move_on_after(silence_s) as patience:
            report = await hearing.next()
        if patience.cancelled_caught and not run.control.stopping:
            raise ProgramError(
                f"{self._program.name} said nothing for {silence_s:g} s",
                hint="raise it with --timeout MS, or timeout in perstack.toml",
            )
        return report

    async def _close_settled(self, report: Report) -> None:
        """Close the batch that the last process left open, once the program has heard of it."""
        if isinstance(report, Turn | Finished) and run_is_settled(self._run):
            await self._step_over()

    async def _take(self, report: Report) -> RunOutcome | None:
        match report:
            case Began():
                await self._begin(report)
            case Spoken():
                self._speech.hear(report)
            case Turn():
                return await self._turn(report)
            case Returned():
                return await self._returned(report)
            case Asks():
                return await self._ask(report)
            case Finished():
                return await self._finish(report)
        return None

    def _is_wanted(self, report: Report) -> bool:
        """Tell whether a step is over and something is wanted before the next one."""
        run = self._run
        if run.state.calls or not isinstance(report, Returned):
            return False
        hold = run.job.deps.desk.hold(run.run_id)
        return hold is not None or run.helm.is_wanted

    # ---------------------------------------------------------------- what is heard

    async def _begin(self, report: Began) -> None:
        self._model = report.model or self._model
        known = self._run.state.session
        if known is not None and known.session_id == report.session_id:
            return
        begun = BeginSession(
            runtime=self._program.name, session_id=report.session_id, model=report.model
        )
        await self._run.record(begun, durable=True)

    async def _turn(self, turn: Turn) -> RunOutcome | None:
        self._speech.close()
        self._said += turn.parts
        self._uncounted = self._uncounted.plus(turn.usage)
        asked = tuple(part for part in turn.parts if isinstance(part, ToolCallPart))
        if not asked:
            return None
        run = self._run
        if run.state.calls and (ended := await self._untold()) is not None:
            return ended
        routes = tuple(self._route(call) for call in asked)
        bill = self._bill()
        message = ExpertMessage(id=run.new_message_id(), contents=self._said)
        self._said = ()
        run.job.count(bill.usage, bill.cost_usd)
        await run.record(
            CallTools(new_message=message, routes=routes, usage=bill.usage, cost_usd=bill.cost_usd),
            # It does them by itself, so this is no intent but news; still, it is not to be lost.
            durable=True,
        )
        questions = tuple(
            call for call, route in zip(asked, routes, strict=True) if route.kind == "interactive"
        )
        if questions:
            return await run.ask(questions)
        with run.control.interruptible():
            await run.job.files.before_writing([call.tool_call_id for call in asked])
        return None

    def _route(self, call: ToolCallPart) -> ToolRoute:
        question = self._questions.get(call.tool_name)
        return ToolRoute(
            tool_call_id=call.tool_call_id,
            skill_name=question[1] if question else self._program.name,
            kind="interactive" if question else "mcp",
        )

    async def _returned(self, report: Returned) -> RunOutcome | None:
        run = self._run
        call = next(
            (one for one in run.state.pending_calls if one.tool_call_id == report.tool_call_id),
            None,
        )
        if call is None:
            return None
        await run.record(ToolReturned(result=calls.result_of(run, call, report.outcome)))
        return None if run.state.pending_calls else await self._step_over()

    async def _step_over(self) -> RunOutcome | None:
        run = self._run
        ended = await run.close_batch(resumed=False)
        if ended is None and (over := run.job.over_budget) is not None:
            ended = await run.reach(RunOutcome("limit", overrun=over))
        if ended is None:
            self._speech.blank = generation.blank_delta(run)
            await run.record(StartGeneration())
        return ended

    async def _untold(self) -> RunOutcome | None:
        """Close a batch whose results the program will not tell any more."""
        run = self._run
        for call in run.state.pending_calls:
            answer = calls.result(run, call, _UNTOLD, is_error=True)
            await run.record(ToolReturned(result=answer))
        return await self._step_over()

    async def _ask(self, report: Asks) -> RunOutcome | None:
        """Let a person decide what the program may not do unasked."""
        run, id_ = self._run, report.call.tool_call_id
        known = any(call.tool_call_id == id_ for call in run.state.calls)
        ended = None if known else await self._turn(Turn((report.call,)))
        if ended is not None:
            return ended
        asked = next(call for call in run.state.calls if call.tool_call_id == id_)
        await approvals.request(run, (asked,))
        for waiting in run.state.waiting_approval:
            gate = run.state.approvals[waiting].consensus_id
            if (ended := await approvals.wait(run, gate)) is not None:
                return ended
        approval = run.state.approvals.get(id_)
        if run.control.stopping or approval is None:
            return None
        allowed = approval.status == "approved"
        await report.answer(Permission(allowed, None if allowed else approval.feedback))
        return None

    async def _finish(self, report: Finished) -> RunOutcome:
        run = self._run
        self._speech.close()
        for call in run.state.pending_calls:
            answer = calls.result(run, call, _UNTOLD, is_error=True)
            await run.record(ToolReturned(result=answer))
        bill = self._last_bill(report)
        run.job.count(bill.usage, bill.cost_usd)
        if report.limit:
            why = f"{self._program.name} stopped at a limit of its own: {report.text}"
            return await run.fail(ProgramError(why.removesuffix(": ")), bill)
        message = ExpertMessage(id=run.new_message_id(), contents=self._said)
        if not message.text.strip():
            message = message.model_copy(
                update={"contents": (*self._said, TextPart(text=report.text))}
            )
        if not message.text.strip():
            return await run.fail(ProgramError(f"{self._program.name} gave no result"), bill)
        return await run.complete(bill, said=message)

    # ---------------------------------------------------------------- what it costs

    def _bill(self) -> Bill:
        """Return what was used since the last step was recorded."""
        usage, self._uncounted = self._uncounted, NO_USAGE
        settings = self._run.job.plan.settings
        facts = facts_of(self._model or self._run.model.name, settings.models)
        usd = cost_usd(usage, facts.price) if usage != NO_USAGE else 0.0
        self._counted = self._counted.plus(usage)
        self._cost += usd or 0.0
        return Bill(usage, usd)

    def _last_bill(self, report: Finished) -> Bill:
        """Return what is left of the whole talk's figures, where the program tells them."""
        bill = self._bill()
        left = report.usage.less(self._counted)
        usage = bill.usage.plus(left)
        if report.cost_usd is not None:
            return Bill(usage, (bill.cost_usd or 0.0) + max(0.0, report.cost_usd - self._cost))
        if left == NO_USAGE:
            return bill
        facts = facts_of(self._model or self._run.model.name, self._run.job.plan.settings.models)
        return Bill(usage, cost_usd(usage, facts.price))


def run_is_settled(run: RunDriver) -> bool:
    """Tell whether a batch is open of which every call has its result."""
    return bool(run.state.calls) and not run.state.pending_calls


def _skill_of(run: RunDriver, tool: str) -> str:
    for name, skill in run.expert.skills.items():
        if isinstance(skill, InteractiveSkill) and tool in skill.tools:
            return name
    return ""


def _unheard(run: RunDriver) -> list[str]:
    """Return what the user said since the Expert said or did something."""
    found: list[str] = [
        text_of(message.contents)
        for message in run.state.queued
        if isinstance(message, UserMessage)
    ]
    for at in range(len(run.state.messages) - 1, -1, -1):
        message = run.state.messages[at]
        if not isinstance(message, UserMessage):
            break
        found.insert(0, text_of(message.contents))
    return [text for text in found if text.strip()]
