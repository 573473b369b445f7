"""The steps of a run that a program executes: its turns with tool calls, and what came of them."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from perstack.domain.events import CallTools, StartGeneration, ToolReturned, ToolRoute
from perstack.domain.ids import ToolCallId
from perstack.domain.messages import ExpertMessage, ExpertPart, ToolCallPart
from perstack.domain.usage import NO_USAGE
from perstack.engine import calls
from perstack.engine.bill import Bill
from perstack.engine.budget import WITHOUT_BUDGET, unmeasured
from perstack.engine.plan import RunOutcome
from perstack.engine.program_parts import CallIds
from perstack.errors import ProgramError
from perstack.ports.programs import Returned
from perstack.ports.skills import ToolOutcome

if TYPE_CHECKING:
    from perstack.engine.run import RunDriver

# Programs call some tools at once; this many turns may wait for the results of earlier ones.
MOST_AHEAD: Final = 64
_UNTOLD: Final = "The program did not tell what came of it."


@dataclass(frozen=True, slots=True)
class Act:
    """A turn with tool calls and what it cost; `measured`: the program told of what it uses."""

    contents: tuple[ExpertPart, ...]
    bill: Bill
    measured: bool

    @property
    def calls(self) -> tuple[ToolCallPart, ...]:
        """What it calls."""
        return tuple(part for part in self.contents if isinstance(part, ToolCallPart))


class Steps:
    """Records one step after the other, also where the program does several at once.

    `questions` leads from its names for our interactive tools to the skills that these are of.
    """

    def __init__(self, run: RunDriver, name: str, questions: Mapping[str, str]) -> None:
        self._run = run
        self._name = name
        self._questions = questions
        self._ids = CallIds(_used_ids(run), run.job.deps.ids.new)
        # Turns that came before the step at hand was over, and results of theirs.
        self._ahead: deque[Act] = deque()
        self._early: dict[ToolCallId, ToolOutcome] = {}
        self._just_over = False

    def is_over(self) -> bool:
        """Tell, once, whether a step has ended after which nothing has begun."""
        over, self._just_over = self._just_over, False
        return over and not self._run.state.calls

    def knows(self, theirs: str) -> bool:
        """Tell whether a call that the program calls so has no result yet."""
        return self._ids.of(theirs) is not None

    def named(self, parts: tuple[ExpertPart, ...]) -> tuple[ExpertPart, ...]:
        """Return new parts with the ids that their calls are recorded by."""
        return tuple(
            self._ids.take(part) if isinstance(part, ToolCallPart) else part for part in parts
        )

    async def take(self, act: Act) -> RunOutcome | None:
        """Take a turn as the next step, after those that are not over yet."""
        self._ahead.append(act)
        if self._run.state.calls and len(self._ahead) > MOST_AHEAD:
            return await self._untold()
        return await self._go_ahead()

    async def returned(self, report: Returned) -> RunOutcome | None:
        """Take a result; one of no call is no result."""
        run, id_ = self._run, self._ids.of(report.tool_call_id)
        if id_ is None:
            return None
        self._ids.answered(report.tool_call_id)
        call = next((one for one in run.state.pending_calls if one.tool_call_id == id_), None)
        if call is None:
            if any(one.tool_call_id == id_ for act in self._ahead for one in act.calls):
                self._early[id_] = report.outcome
            return None
        await run.record(ToolReturned(result=calls.result_of(run, call, report.outcome)))
        if run.state.pending_calls:
            return None
        return await self.close() or await self._go_ahead()

    async def reach(self, theirs: str) -> ToolCallPart | RunOutcome:
        """Return a known call once it is of the step at hand, or how the run ended before.

        What still works before it may itself wait for what becomes of this one, so its result is
        not waited for.
        """
        id_ = self._ids.of(theirs)
        while True:
            for call in self._run.state.calls:
                if call.tool_call_id == id_:
                    return call
            if not self._ahead:
                raise ProgramError(f"{self._name} asks about a call that is over")
            if (ended := await self._untold()) is not None:
                return ended

    async def close(self) -> RunOutcome | None:
        """End the step whose calls all have results."""
        run = self._run
        ended = await run.close_batch(resumed=False)
        if ended is None:
            self._just_over = True
            await run.record(StartGeneration())
        return ended

    async def finish(self) -> RunOutcome | None:
        """Answer whatever has no result; the last step stays open for what the program says."""
        while self._ahead:
            if (ended := await self._untold()) is not None:
                return ended
        await self._answer_untold()
        return None

    # ---------------------------------------------------------------- one after the other

    async def _go_ahead(self) -> RunOutcome | None:
        """Record the turns that wait, until a step is not over."""
        ended: RunOutcome | None = None
        while ended is None and self._ahead and not self._run.state.calls:
            ended = await self._record(self._ahead.popleft())
        return ended

    async def _untold(self) -> RunOutcome | None:
        """End the step at hand, whatever the program tells of it later; take the next."""
        await self._answer_untold()
        return await self.close() or await self._go_ahead()

    async def _answer_untold(self) -> None:
        run = self._run
        self._ids.closed(call.tool_call_id for call in run.state.calls)
        for call in run.state.pending_calls:
            answer = calls.result(run, call, _UNTOLD, is_error=True)
            await run.record(ToolReturned(result=answer))

    async def _record(self, act: Act) -> RunOutcome | None:
        run, bill = self._run, act.bill
        if (why := self._why_unmeasured(act)) is not None:
            why = f"{why}, so the job's budget cannot be kept"
            return await run.fail(ProgramError(why, hint=WITHOUT_BUDGET), bill)
        run.job.count(bill.usage, bill.cost_usd)
        routes = tuple(self._route(call) for call in act.calls)
        await run.record(
            CallTools(
                new_message=ExpertMessage(id=run.new_message_id(), contents=act.contents),
                routes=routes,
                usage=bill.usage,
                cost_usd=bill.cost_usd,
                context_window_usage=bill.context_window_usage,
            ),
            # It does them by itself, so this is no intent but news; still, it is not to be lost.
            durable=True,
        )
        questions = tuple(
            call
            for call, route in zip(act.calls, routes, strict=True)
            if route.kind == "interactive"
        )
        if questions:
            return await run.ask(questions)
        with run.control.interruptible():
            await run.job.files.before_writing([call.tool_call_id for call in act.calls])
        return await self._take_early(act)

    async def _take_early(self, act: Act) -> RunOutcome | None:
        run = self._run
        for call in act.calls:
            if (outcome := self._early.pop(call.tool_call_id, None)) is not None:
                await run.record(ToolReturned(result=calls.result_of(run, call, outcome)))
        return None if run.state.pending_calls else await self.close()

    def _why_unmeasured(self, act: Act) -> str | None:
        budget, usage = self._run.job.plan.settings.budget, act.bill.usage
        if usage != NO_USAGE:
            return unmeasured(budget, usage, act.bill.cost_usd)
        # Some tell what an answer used only after its tools have run.
        first = not any(isinstance(one, ExpertMessage) for one in self._run.state.messages)
        limited = (budget.max_tokens, budget.max_cost_usd) != (None, None)
        if act.measured or first or not limited:
            return None
        return f"{self._name} does not tell what it uses"

    def _route(self, call: ToolCallPart) -> ToolRoute:
        skill = self._questions.get(call.tool_name)
        return ToolRoute(
            tool_call_id=call.tool_call_id,
            skill_name=self._name if skill is None else skill,
            kind="mcp" if skill is None else "interactive",
        )


def _used_ids(run: RunDriver) -> set[ToolCallId]:
    used = {
        call.tool_call_id
        for message in run.state.messages
        if isinstance(message, ExpertMessage)
        for call in message.tool_calls
    }
    return used | {call.tool_call_id for call in run.state.calls}
