"""What a run's tool servers ask of it: an answer of the user, or one of the run's model.

A person decides at a consensus checkpoint, as for gated calls: the same store, the same wait, the
same expiry. A server is heard only while a call of its own is being made.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Final

import anyio
from pydantic import JsonValue

from perstack.domain.consensus import (
    ConsensusCheckpoint,
    InputRequest,
    ProposedSubtask,
    nobody_decided,
)
from perstack.domain.events import Delta
from perstack.domain.forms import form_of
from perstack.domain.ids import ConsensusId, SubtaskId, ToolCallId
from perstack.domain.inputs import form_lines, read_answer
from perstack.domain.messages import (
    ExpertMessage,
    TextPart,
    UserMessage,
)
from perstack.domain.server_events import RequestInput, ResolveInput
from perstack.engine import approvals
from perstack.engine.sampling import is_too_long, readable, sampled, token_limit
from perstack.errors import PerstackError
from perstack.ports.notices import Notice
from perstack.ports.skills import Elicitation, ElicitationAnswer, Sampling, SamplingAnswer

if TYPE_CHECKING:
    from perstack.engine.run import RunDriver

MAX_QUESTIONS: Final = 20
MAX_SAMPLINGS: Final = 20
MAX_MESSAGE_CHARS: Final = 10_000
_TITLE_CHARS: Final = 200
_WITHDRAW_S: Final = 2.0

_DECLINED: Final = ElicitationAnswer("decline")
_CANCELLED: Final = ElicitationAnswer("cancel")
_LOG: Final = logging.getLogger(__name__)


class RunHost:
    """One run as its skills see it; implements `ports.skills.SkillHost`."""

    def __init__(self, run: RunDriver) -> None:
        self._run = run
        self._questions = 0
        self._samplings = 0

    def output(self, tool_call_id: ToolCallId, text: str) -> None:
        """Show what a call prints, live and without secrets."""
        shown = self._run.job.deps.redact(text)
        update = {"stream": "tool", "text": shown, "tool_call_id": tool_call_id}
        self._run.job.say(self._delta().model_copy(update=update))

    async def elicit(self, asked: Elicitation) -> ElicitationAnswer:
        """Put a server's question to a person and wait for the answer.

        Declined at once: what is no form, what is too long, more than `MAX_QUESTIONS` in a run,
        and anything in a run that waits for nobody.
        """
        form = form_of(asked.answer_schema)
        call_id = self._call_of(asked.skill_name)
        unfit = form is None or call_id is None or len(asked.message) > MAX_MESSAGE_CHARS
        if unfit or self._questions >= MAX_QUESTIONS or not self._run.job.plan.wait_at_gates:
            return _DECLINED
        self._questions += 1
        clean = self._without_secrets(form)
        wanted = InputRequest(
            kind="elicitation",
            skill_name=asked.skill_name,
            answer_schema=clean if isinstance(clean, dict) else {},
        )
        message = self._run.job.deps.redact(asked.message)
        lines = form_lines(wanted.answer_schema or {})
        text = "\n".join([message, "", *lines]) if lines else message
        try:
            closed = await self._decided(wanted, call_id, message=message, text=text)
        except PerstackError as error:
            _LOG.warning("a question of skill %s: %s", asked.skill_name, error.message)
            return _DECLINED
        return _answer(closed)

    async def sample(self, asked: Sampling) -> SamplingAnswer:
        """Ask the run's model for a server, once a person has agreed where that is needed."""
        call_id = self._call_of(asked.skill_name)
        if (why := self._why_not(asked, call_id)) is not None or call_id is None:
            return SamplingAnswer(refused=why)
        self._samplings += 1
        system = self._run.job.deps.redact(asked.system) if asked.system else None
        messages = [self._clean_message(message) for message in asked.messages]
        try:
            if asked.consent != "allow":
                refused = await self._asked_for_consent(asked, call_id, system, messages)
                if refused is not None:
                    return SamplingAnswer(refused=refused)
            return await sampled(self._run, asked, system, messages, blank=self._delta())
        except PerstackError as error:
            _LOG.warning("a request of skill %s: %s", asked.skill_name, error.message)
            return SamplingAnswer(refused=self._run.job.deps.redact(error.message))

    # ---------------------------------------------------------------- a person's part

    async def _decided(
        self, wanted: InputRequest, call_id: ToolCallId | None, *, message: str, text: str
    ) -> ConsensusCheckpoint | None:
        """Return the request as a person closed it, None when it was taken back before."""
        asked = self._checkpoint(wanted, call_id or ToolCallId(""), text)
        closed: ConsensusCheckpoint | None = None
        await self._request(asked, wanted, message)
        try:
            with self._run.control.interruptible():
                await self._run.job.deps.gate.propose(asked)
                self._notify(asked, wanted, message)
                with self._run.job.meter.waiting_for_a_person(self._run.run_id):
                    closed = await self._run.job.deps.gate.wait(asked.id)
        finally:
            # The server may have taken its request back, or be gone: that, too, is recorded.
            with anyio.CancelScope(shield=True):
                if closed is None:
                    await withdraw(self._run, asked.id)
                await self._run.record(_resolution(asked.id, closed), durable=True)
        return closed

    async def _request(
        self, asked: ConsensusCheckpoint, wanted: InputRequest, message: str
    ) -> None:
        with anyio.CancelScope(shield=True):
            await self._run.record(
                RequestInput(
                    kind=wanted.kind,
                    consensus_id=asked.id,
                    skill_name=wanted.skill_name,
                    message=message,
                    answer_schema=wanted.answer_schema,
                    expires_at=asked.expires_at,
                ),
                durable=True,
            )

    def _checkpoint(
        self, wanted: InputRequest, call_id: ToolCallId, text: str
    ) -> ConsensusCheckpoint:
        sampling = wanted.kind == "sampling"
        wants = "wants to ask the model" if sampling else "asks a question"
        task = ProposedSubtask(
            id=SubtaskId("s1"),
            agent_type=wanted.skill_name,
            input=text,
            estimated_risk_level="medium" if sampling else "low",
            tool_call_id=call_id,
            tool_name=wanted.kind,
            input_request=wanted,
        )
        return approvals.checkpoint_of(
            self._run,
            ConsensusId(self._run.job.deps.ids.new()),
            (task,),
            reason=f"the tool server of skill {wanted.skill_name} {wants}",
            strategy="human",
        )

    def _notify(self, asked: ConsensusCheckpoint, wanted: InputRequest, message: str) -> None:
        sampling = wanted.kind == "sampling"
        self._run.job.notify(
            Notice(
                kind="consensus" if sampling else "question",
                job_id=asked.job_id,
                run_id=asked.run_id,
                expert_key=asked.expert_key,
                title=message[:_TITLE_CHARS],
                risk=asked.risk_level if sampling else None,
                consensus_id=asked.id,
                expires_at=asked.expires_at,
            )
        )

    # ---------------------------------------------------------------- the model's part

    def _why_not(self, asked: Sampling, call_id: ToolCallId | None) -> str | None:
        run = self._run
        if asked.consent == "deny":
            return "this skill may not ask the model"
        if call_id is None:
            return "a server may ask only while a call of its own is being made"
        if not asked.messages or is_too_long(asked):
            return "the request is empty or too long"
        if self._samplings >= MAX_SAMPLINGS:
            return f"a run answers at most {MAX_SAMPLINGS} such requests"
        if asked.consent == "ask" and not run.job.plan.wait_at_gates:
            return "nobody is asked in this run"
        return self._over_budget()

    def _over_budget(self) -> str | None:
        over = self._run.job.over_budget
        return str(over) if over is not None else None

    async def _asked_for_consent(
        self,
        asked: Sampling,
        call_id: ToolCallId,
        system: str | None,
        messages: Sequence[UserMessage | ExpertMessage],
    ) -> str | None:
        """Return why the model is not to be asked, None once a person has agreed."""
        wanted = InputRequest(kind="sampling", skill_name=asked.skill_name)
        text = readable(asked, system, messages)
        message = f"at most {token_limit(asked)} tokens"
        closed = await self._decided(wanted, call_id, message=message, text=text)
        if closed is None or nobody_decided(closed):
            return "nobody agreed to it"
        if closed.status == "approved":
            return self._over_budget()
        feedback = closed.decision.feedback if closed.decision else None
        return f"the user refused: {feedback}" if feedback else "the user refused"

    # ---------------------------------------------------------------- small things

    def _call_of(self, skill_name: str) -> ToolCallId | None:
        """Return a call of the skill that is being made, None when there is none."""
        routes = self._run.state.routes
        made = (routes.get(call_id) for call_id in sorted(self._run.calling))
        of_skill = (
            route.tool_call_id for route in made if route and route.skill_name == skill_name
        )
        return next(of_skill, None)

    def _delta(self) -> Delta:
        run = self._run
        return Delta(
            job_id=run.job.job_id,
            run_id=run.run_id,
            expert_key=run.expert.key,
            step_number=run.step,
            stream="text",
            kind="delta",
        )

    def _clean_message(self, message: UserMessage | ExpertMessage) -> UserMessage | ExpertMessage:
        redact = self._run.job.deps.redact
        parts = tuple(
            TextPart(text=redact(part.text)) if isinstance(part, TextPart) else part
            for part in message.contents
        )
        return message.model_copy(update={"id": self._run.new_message_id(), "contents": parts})

    def _without_secrets(self, value: JsonValue) -> JsonValue:
        if isinstance(value, str):
            return self._run.job.deps.redact(value)
        if isinstance(value, list):
            return [self._without_secrets(one) for one in value]
        if isinstance(value, dict):
            return {key: self._without_secrets(one) for key, one in value.items()}
        return value


async def withdraw_all(run: RunDriver) -> None:
    """Take back what a process asked for that ended before anybody decided."""
    for consensus_id in run.state.inputs:
        await withdraw(run, consensus_id)


async def withdraw(run: RunDriver, consensus_id: ConsensusId) -> None:
    """Take a request back, as far as that is possible in bounded time."""
    with anyio.move_on_after(_WITHDRAW_S), suppress(PerstackError):
        await run.job.deps.gate.withdraw(consensus_id, "the tool server no longer waits for it")


def _resolution(consensus_id: ConsensusId, closed: ConsensusCheckpoint | None) -> ResolveInput:
    if closed is None or nobody_decided(closed):
        return ResolveInput(consensus_id=consensus_id, outcome="expired")
    return ResolveInput(
        consensus_id=consensus_id,
        outcome="accepted" if closed.status == "approved" else "declined",
        decided_by=closed.decision.reviewed_by if closed.decision else None,
    )


def _answer(closed: ConsensusCheckpoint | None) -> ElicitationAnswer:
    if closed is None or nobody_decided(closed):
        return _CANCELLED
    if closed.status != "approved" or closed.decision is None:
        return _DECLINED
    try:
        # Checked when it was given; another program may have written it all the same.
        return ElicitationAnswer(
            "accept", read_answer(closed.form or {}, closed.decision.feedback or "")
        )
    except ValueError:
        return _DECLINED
