"""Settling what waits: approving, rejecting, answering."""

from __future__ import annotations

from typing import TYPE_CHECKING

from perstack.errors import PerstackError
from perstack_tui.linear.answering import answers, form_answer
from perstack_tui.linear.commands import Command
from perstack_tui.linear.deciding import Reviewer, approval, rejection
from perstack_tui.linear.doing import Doing
from perstack_tui.linear.lists import item_line
from perstack_tui.linear.looking import Looking
from perstack_tui.ports.gateway import Gateway
from perstack_tui.state.answer import all_of
from perstack_tui.state.inbox import Item
from perstack_tui.state.wording import outcome_of, short_id

if TYPE_CHECKING:
    from perstack.domain.consensus import ConsensusCheckpoint, Decision


class Settling:
    """Commands about items of the inbox, by their numbers."""

    def __init__(self, doing: Doing, looking: Looking) -> None:
        self._doing = doing
        self._looking = looking

    async def approve(self, command: Command) -> None:
        """Read an item out, ask, and let what is kept of it run."""
        gate = self._gate(command.what)
        if gate is not None:
            decision = await approval(self._doing.talk, gate, self._who, command.text)
            await self._decide(gate, decision)

    async def reject(self, command: Command) -> None:
        """Ask, and let nothing of an item run."""
        gate = self._gate(command.what)
        if gate is not None:
            hearing = self._doing.hearing
            if (item := self._looking.item(command.what)) is not None:
                number = hearing.numbers.of(item.key)
                self._doing.talk.say(item_line(item, number, hearing.now_ms))
            decision = await rejection(self._doing.talk, gate, self._who, command.text)
            await self._decide(gate, decision)

    async def answer(self, command: Command) -> None:
        """Answer a question, or fill in a form."""
        doing = self._doing
        if (item := self._looking.item(command.what)) is None:
            return
        if item.question is not None:
            questions = all_of(item.question, doing.hearing.index.view.inbox.questions)
            given = await answers(doing.talk, questions)
            if given is not None and await doing.do(
                lambda gateway: doing.wait(gateway.answer(given))
            ):
                doing.talk.say("Answered; the job goes on.")
        elif item.gate is not None and item.gate.form is not None:
            decision = await form_answer(doing.talk, item.gate, doing.reviewer)
            await self._decide(item.gate, decision)
        else:
            doing.talk.say("That is no question: approve or reject it, or resume the run.")

    @property
    def _who(self) -> Reviewer:
        return Reviewer(self._doing.reviewer, self._doing.hearing.now_ms)

    def _gate(self, word: str) -> ConsensusCheckpoint | None:
        """Return what is to be approved or rejected; say why nothing is."""
        if (item := self._looking.item(word)) is None:
            return None
        if item.gate is None or item.gate.form is not None:
            self._doing.talk.say(_instead(item, word))
            return None
        return item.gate

    async def _decide(self, gate: ConsensusCheckpoint, decision: Decision | None) -> None:
        if decision is None:
            return
        hearing, talk = self._doing.hearing, self._doing.talk

        async def decide(gateway: Gateway) -> None:
            hearing.decided_here.add(gate.id)
            try:
                decided = await gateway.decide(gate.id, decision)
            except PerstackError:
                # Who was first is told when it is heard of.
                hearing.decided_here.discard(gate.id)
                raise
            word = (
                "answered"
                if gate.form is not None and decision.approved
                else outcome_of(decided)[1]
            )
            job = hearing.index.jobs.get(gate.job_id) if gate.job_id else None
            driven = job is None or job.alive or job.job_id in hearing.pump.local_jobs
            talk.say(f"{word}." if driven else f"{word}. Nothing runs the job: {_goes_on(gate)}")

        await self._doing.do(decide)


def _instead(item: Item, word: str) -> str:
    if item.pause is not None:
        return f"A limit paused that run: resume {short_id(item.pause.run_id)} lets it go on."
    return f"That is a question: answer {word}."


def _goes_on(gate: ConsensusCheckpoint) -> str:
    return f"follow {short_id(gate.job_id or '')} goes on with it."
