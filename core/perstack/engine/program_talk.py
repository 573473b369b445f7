"""One time that a program is started for a run: what it reports becomes steps of the run."""

from __future__ import annotations

import math
from collections.abc import Mapping
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Final

import anyio
import anyio.to_thread

from perstack.domain.events import StartGeneration, ToolReturned
from perstack.domain.expert import InteractiveSkill
from perstack.domain.messages import ExpertMessage, ExpertPart, TextPart, ToolCallPart
from perstack.domain.program_events import BeginSession, StartProgram
from perstack.engine import calls, generation
from perstack.engine.plan import RunOutcome
from perstack.engine.program_account import Account
from perstack.engine.program_asking import Answering, Approved
from perstack.engine.program_parts import (
    MOST_SAID,
    Words,
    cleaned,
    joined,
    length_of,
    name_of,
    session_of,
    usable_session,
)
from perstack.engine.program_past import past_text, settled_notes, unheard
from perstack.engine.program_steps import Act, Steps
from perstack.errors import ProgramError
from perstack.ports.model import Spoken
from perstack.ports.programs import (
    Asks,
    Began,
    Finished,
    Hearing,
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
# A program may begin a session anew, say to make its own context shorter.
MOST_SESSIONS: Final = 100
_GO_ON: Final = "Go on with what you were doing; you were interrupted."


class Conversation:
    """Says what is to be said and hears the program out."""

    def __init__(
        self,
        run: RunDriver,
        program: Program,
        session: BeginSession | None,
        *,
        approved: Approved,
        account: Account,
    ) -> None:
        self._run = run
        self._program = program
        self._session = session_of(session, program.name)
        asked: Mapping[str, str] = program.questions(run.expert) if run.depth == 0 else {}
        # Its names for our interactive tools lead to the skills that these are of.
        questions = {theirs: _skill_of(run, ours) for ours, theirs in asked.items()}
        self._may_ask = bool(questions)
        self._steps = Steps(run, program.name, questions)
        account.begin_talk()
        self._account = account
        self._speech = generation.Speech(generation.blank_delta(run), run.job.say, final=False)
        self._words = Words(run.job.deps.redact)
        # What was said since the last turn with tool calls.
        self._said: tuple[ExpertPart, ...] = ()
        # Calls that were asked about before their turn was told.
        self._foreseen: set[str] = set()
        self._answering = Answering(run, program.name, approved)
        self._sessions = 0

    async def hold(self) -> RunOutcome | None:
        """Talk until the run ends, stops, or somebody wants something between two steps.

        Returns how the run ended, None when it did not.

        Raises:
            ProgramError: the program failed.
        """
        run, talk = self._run, self._talk()
        await run.record(
            StartProgram(
                runtime=self._program.name,
                continued=talk.session,
                dropped=await anyio.to_thread.run_sync(self._program.dropped, talk),
            )
        )
        if not run.state.calls:
            await run.record(StartGeneration())
        ended: RunOutcome | None = None
        opened = run.control.interruptible()
        with opened as scope:
            scope.deadline = anyio.current_time() + self._thinks_s
            async with AsyncExitStack() as stack:
                hearing = await stack.enter_async_context(self._program.talk(talk))
                opened.release()
                scope.deadline = math.inf
                stack.callback(self._speech.close)
                ended = await self._hear(hearing)
        if scope.cancelled_caught and not run.control.stopping:
            raise ProgramError(f"{self._program.name} did not begin in {self._thinks_s:g} s")
        if ended is None and run.control.stopping:
            await self._doubt()
        return ended

    def _talk(self) -> Talk:
        run, plan = self._run, self._run.job.plan
        given = plan.settings.model if plan.settings.runtime.model_given else None
        heard = [*settled_notes(run.state, all_of_them=self._session is None), *unheard(run.state)]
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
            may_ask=self._may_ask,
        )

    # ---------------------------------------------------------------- hearing

    async def _hear(self, hearing: Hearing) -> RunOutcome | None:
        run = self._run
        while True:
            report = self._answering.heard_meanwhile() or await self._next(hearing)
            if report is None or (run.control.stopping and not isinstance(report, Returned)):
                return None
            ended = await self._close_settled(report) or await self._take(report, hearing)
            if ended is not None or self._is_wanted:
                return ended

    async def _next(self, hearing: Hearing) -> Report | None:
        """Return the next report, None when a stop came first; tools may finish in its grace.

        Raises:
            ProgramError: the program failed, or has been silent for too long.
        """
        run = self._run
        works = bool(run.state.pending_calls)
        silence_s = max(self._thinks_s, TOOL_SILENCE_S) if works else self._thinks_s
        held = run.control.finishing() if works else run.control.interruptible()
        report: Report | None = None
        with held, anyio.move_on_after(silence_s) as patience:
            report = await hearing.next()
        if patience.cancelled_caught and not run.control.stopping:
            raise ProgramError(
                f"{self._program.name} said nothing for {silence_s:g} s",
                hint="raise it with --timeout MS, or timeout in perstack.toml",
            )
        return report

    @property
    def _thinks_s(self) -> float:
        return self._run.job.plan.settings.timeout / 1000

    async def _close_settled(self, report: Report) -> RunOutcome | None:
        """Close the batch that the last process left open, once the program has heard of it."""
        state = self._run.state
        if isinstance(report, Turn | Finished) and state.calls and not state.pending_calls:
            return await self._steps.close()
        return None

    async def _take(self, report: Report, hearing: Hearing) -> RunOutcome | None:
        match report:
            case Began():
                await self._begin(report)
            case Spoken():
                self._hear_words(report)
            case Turn():
                return await self._turn(report)
            case Returned():
                return await self._returned(report)
            case Asks():
                return await self._ask(report, hearing)
            case Finished():
                return await self._finish(report)
        return None

    @property
    def _is_wanted(self) -> bool:
        """Whether a step is over and something is wanted before the next one."""
        run = self._run
        if not self._steps.is_over():
            return False
        return run.helm.is_wanted or run.job.deps.desk.hold(run.run_id) is not None

    # ---------------------------------------------------------------- what is heard

    async def _begin(self, report: Began) -> None:
        if report.model:
            self._account.model = name_of(report.model)
        known = self._run.state.session
        if known is not None and known.session_id == report.session_id:
            return
        if not usable_session(report.session_id):
            return
        self._sessions += 1
        if self._sessions > MOST_SESSIONS:
            raise ProgramError(f"{self._program.name} begins one session after the other")
        begun = BeginSession(
            runtime=self._program.name,
            session_id=report.session_id,
            model=name_of(report.model) if report.model else None,
        )
        await self._run.record(begun, durable=True)

    def _hear_words(self, spoken: Spoken) -> None:
        for words in self._words.hear(spoken):
            self._speech.hear(words)
        if self._words.heard > MOST_SAID:
            raise ProgramError(f"{self._program.name} talks without end and does nothing")

    def _close_speech(self) -> None:
        for words in self._words.rest():
            self._speech.hear(words)
        self._speech.close()

    async def _turn(self, turn: Turn) -> RunOutcome | None:
        self._close_speech()
        self._account.add(turn.usage)
        contents = tuple(
            cleaned(part, self._run.job.deps.redact)
            for part in turn.parts
            if not self._was_foreseen(part)
        )
        if any(isinstance(part, ToolCallPart) for part in contents):
            return await self._act(contents)
        self._said = joined(self._said, contents)
        if length_of(self._said) > MOST_SAID:
            raise ProgramError(f"{self._program.name} talks without end and does nothing")
        return None

    def _was_foreseen(self, part: ExpertPart) -> bool:
        """Tell whether this is a call, still open, that was asked about before its turn came."""
        if not isinstance(part, ToolCallPart) or part.tool_call_id not in self._foreseen:
            return False
        self._foreseen.discard(part.tool_call_id)
        return self._steps.knows(part.tool_call_id)

    async def _act(self, contents: tuple[ExpertPart, ...]) -> RunOutcome | None:
        measured = not self._account.is_empty
        said = joined(self._said, self._steps.named(contents))
        self._said = ()
        self._words.heard = 0
        ended = await self._steps.take(Act(said, self._account.bill(), measured))
        self._speech.blank = generation.blank_delta(self._run)
        return ended

    async def _returned(self, report: Returned) -> RunOutcome | None:
        self._foreseen.discard(report.tool_call_id)
        ended = await self._steps.returned(report)
        self._speech.blank = generation.blank_delta(self._run)
        return ended

    async def _ask(self, report: Asks, hearing: Hearing) -> RunOutcome | None:
        """Let a person decide what the program may not do unasked."""
        theirs = report.call.tool_call_id
        if not self._steps.knows(theirs):
            ended = await self._turn(Turn((report.call,)))
            if ended is not None:
                return ended
            self._foreseen.add(theirs)
        call = await self._steps.reach(theirs)
        if isinstance(call, RunOutcome):
            return call
        return await self._answering.decide(report, call, hearing, self._doubt)

    async def _doubt(self) -> None:
        """Answer what the program is cut off from; what it waits for has not begun."""
        run = self._run
        for call in run.state.pending_calls:
            id_ = call.tool_call_id
            if run.state.routes[id_].kind == "mcp" and not self._answering.is_waiting(id_):
                await run.record(ToolReturned(result=calls.doubtful(run, call, "was stopped")))

    async def _finish(self, report: Finished) -> RunOutcome:
        run = self._run
        self._close_speech()
        if (ended := await self._steps.finish()) is not None:
            return ended
        bill = self._account.last(report)
        run.job.count(bill.usage, bill.cost_usd)
        result = cleaned(TextPart(text=report.text), run.job.deps.redact)
        text = result.text if isinstance(result, TextPart) else ""
        if report.limit:
            why = f"{self._program.name} stopped at a limit of its own: {text}"
            return await run.fail(ProgramError(why.removesuffix(": ")), bill)
        message = ExpertMessage(id=run.new_message_id(), contents=self._said)
        if not message.text.strip():
            message = message.model_copy(update={"contents": (*self._said, TextPart(text=text))})
        if not message.text.strip():
            return await run.fail(ProgramError(f"{self._program.name} gave no result"), bill)
        return await run.complete(bill, said=message)


def _skill_of(run: RunDriver, tool: str) -> str:
    for name, skill in run.expert.skills.items():
        if isinstance(skill, InteractiveSkill) and tool in skill.tools:
            return name
    return ""
