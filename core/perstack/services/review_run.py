"""One review of one consensus checkpoint by an Expert, from its claim to what comes of it."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeVar

import anyio
from pydantic import JsonValue

from perstack.domain.consensus import (
    Ancestor,
    ConsensusCheckpoint,
    Review,
    Verdict,
    may_approve_alone,
)
from perstack.domain.expert import BASE_SKILL, BaseSkill, Expert
from perstack.domain.ids import ExpertKey, TaskId
from perstack.domain.review_brief import (
    SUBMIT_DESCRIPTION,
    SUBMIT_SCHEMA,
    SUBMIT_TOOL,
    Brief,
    brief_of,
    read_verdict,
    verdict_in_text,
)
from perstack.domain.settings import ConsensusSettings, ReviewerStrategy
from perstack.engine.groups import alone
from perstack.errors import ConflictError, LockedError, PerstackError, UnknownExpertError
from perstack.ports.consensus import ConsensusStore, ReviewClaim
from perstack.ports.experts import ExpertAnswer, ExpertRequest, ExpertRunner, OwnTool
from perstack.ports.stores import Stores
from perstack.ports.system import Clock, Ids
from perstack.services.consensus import ConsensusService
from perstack.services.handle import Handle

T = TypeVar("T")

LEASE_MS: Final = 10_000
RENEW_S: Final = 3.0
_LOCKED_S: Final = 0.1
_STEPS: Final = 12
_ANCESTORS: Final = 10
_CUT_OFF: Final = "it was cut off: the checkpoint was decided, or its time was over"

_LOG: Final = logging.getLogger(__name__)
_READS: Final = ("attemptCompletion", "readTextFile", "listDirectory", "getFileInfo")
_REVIEWERS: Final[Mapping[ReviewerStrategy, ExpertKey]] = {
    "adversarial": ExpertKey("adversarial"),
    "different-model": ExpertKey("reviewer"),
}


@dataclass(frozen=True, slots=True)
class ReviewParts:
    """What reviews are made with.

    `runner` is asked for when a review begins; `experts` hold the built-in `adversarial` and
    `reviewer`. `ids` give what nobody can guess. A claim is renewed every `renew_s` seconds.
    """

    consensus: ConsensusService
    stores: Handle[Stores]
    runner: Callable[[], ExpertRunner]
    experts: Mapping[ExpertKey, Expert]
    rules: ConsensusSettings
    workspace: Path
    clock: Clock
    ids: Ids
    renew_s: float = RENEW_S


class ReviewRun:
    """A review by this process; it begins with `claim`."""

    def __init__(self, parts: ReviewParts, asked: ConsensusCheckpoint, reviewer: ExpertKey) -> None:
        self._parts = parts
        self._asked = asked
        self._reviewer = reviewer
        self._holder = parts.ids.new()
        self._heard: list[Verdict] = []

    async def claim(self) -> bool:
        """Take the review on; False while another process has it, and once there is one.

        Raises:
            StorageError: the database cannot be read or written.
        """
        now = self._parts.clock.now_ms()
        model = _model_for(self._asked, self._parts.rules)
        claim = ReviewClaim(self._holder, now + LEASE_MS, self._reviewer, model)
        taken = await self._ask(lambda s: s.claim_review(self._asked.id, claim, now_ms=now))
        return taken is not None

    async def conclude(self) -> None:
        """Have it looked at, write down what came of it, and decide where the verdict may.

        Raises:
            StorageError: the database cannot be read or written.
        """
        brief = brief_of(self._asked, await self._ancestors(), mark=self._parts.ids.new())
        review = await self._look(brief)
        kept = await self._ask(lambda s: s.finish_review(self._asked.id, self._holder, review))
        if not kept:
            return
        if review.verdict is None:
            _LOG.warning(
                "the review of consensus checkpoint %s failed, a person has to decide: %s",
                self._asked.id,
                review.error,
            )
        elif _decides(self._asked, review, review.verdict, self._parts.rules, whole=brief.whole):
            await self._decide(review.verdict)

    async def _decide(self, verdict: Verdict) -> None:
        async def record() -> None:
            await self._parts.consensus.record_verdict(
                self._asked.id, verdict, reviewer=self._reviewer
            )

        try:
            await patiently(record)
        except ConflictError:
            _LOG.info("somebody decided %s before its reviewer", self._asked.id)

    async def _look(self, brief: Brief) -> Review:
        """Return what the reviewer says of it, or why it says nothing."""
        began, answer, failure = self._parts.clock.now_ms(), None, _CUT_OFF
        try:
            answer = await self._answer(brief)
        except PerstackError as error:
            failure = error.message
        verdict = self._heard[-1] if self._heard else None
        if verdict is None and answer is not None:
            failure = answer.error or f"the reviewer ended ({answer.ending}) without a verdict"
            if answer.ending == "completed":
                verdict = verdict_in_text(self._asked, answer.text)
        model = _model_for(self._asked, self._parts.rules)
        return Review(
            reviewer=self._reviewer,
            model=answer.model if answer else model,
            job_id=answer.job_id if answer else None,
            run_id=answer.run_id if answer else None,
            verdict=verdict,
            structured=bool(self._heard),
            error=None if verdict else failure,
            started_at=began,
            finished_at=self._parts.clock.now_ms(),
        )

    async def _answer(self, brief: Brief) -> ExpertAnswer | None:
        """Run the reviewer; None when somebody decided, or the time was over, before its end."""
        answer: ExpertAnswer | None = None
        request = self._request(brief)
        with alone():
            async with anyio.create_task_group() as group:
                group.start_soon(self._until_decided, group.cancel_scope, name="review:decided")
                group.start_soon(self._keep_claim, group.cancel_scope, name="review:claim")
                answer = await self._parts.runner().run(request)
                group.cancel_scope.cancel()
        return answer

    def _request(self, brief: Brief) -> ExpertRequest:
        expert = self._parts.experts.get(self._reviewer)
        if expert is None:
            raise UnknownExpertError(self._reviewer, [*self._parts.experts])
        left_ms = self._parts.rules.timeout
        if self._asked.expires_at is not None:
            left_ms = max(self._asked.expires_at - self._parts.clock.now_ms(), 1)
        return ExpertRequest(
            expert=harmless(expert),
            query=brief.text,
            model=_model_for(self._asked, self._parts.rules),
            tools=(OwnTool(SUBMIT_TOOL, SUBMIT_DESCRIPTION, SUBMIT_SCHEMA, self._submit),),
            max_steps=_STEPS,
            timeout_s=left_ms / 1000,
        )

    async def _submit(self, arguments: Mapping[str, JsonValue]) -> str:
        self._heard.append(read_verdict(self._asked, arguments))
        return "Your verdict is recorded. You are done."

    async def _ancestors(self) -> Sequence[Ancestor]:
        """Return the tasks that the work descends from, the nearest first, as far as recorded."""
        found: list[Ancestor] = []
        asked = self._asked
        above: str | None = asked.parent_task_id if asked.run_id is None else asked.run_id
        while above is not None and len(found) < _ANCESTORS:
            name = TaskId(above)
            task = await patiently(lambda n=name: self._parts.stores.ask(lambda s: s.tasks.find(n)))
            if task is None:
                break
            found.append(Ancestor(id=task.id, agent_type=task.agent_type, input=task.input))
            above = task.parent_task_id
        return found

    async def _until_decided(self, scope: anyio.CancelScope) -> None:
        await self._parts.consensus.wait(self._asked.id)
        scope.cancel()

    async def _keep_claim(self, scope: anyio.CancelScope) -> None:
        kept = True
        while kept:
            await anyio.sleep(self._parts.renew_s)
            until = self._parts.clock.now_ms() + LEASE_MS
            kept = await self._ask(
                lambda s, until=until: s.renew_review(self._asked.id, self._holder, until_ms=until)
            )
        scope.cancel()

    async def _ask(self, question: Callable[[ConsensusStore], Awaitable[T]]) -> T:
        return await patiently(
            lambda: self._parts.stores.ask(lambda stores: question(stores.consensus))
        )


def reviewer_of(asked: ConsensusCheckpoint) -> ExpertKey | None:
    """Return who is to review a checkpoint, None when that is for people alone."""
    if asked.input_request is not None:
        return None
    return _REVIEWERS.get(asked.reviewer_strategy)


def needs_review(asked: ConsensusCheckpoint) -> bool:
    """Tell whether a checkpoint waits, and no review of it has found anything."""
    return asked.status == "pending" and (asked.review is None or asked.review.error is not None)


def harmless(expert: Expert) -> Expert:
    """Return a reviewer that can read files and no more: it changes, delegates and asks nothing."""
    return expert.model_copy(
        update={
            "skills": {BASE_SKILL: BaseSkill(pick=_READS)},
            "delegates": (),
            "provider_tools": (),
            "provider_skills": (),
        }
    )


async def patiently(question: Callable[[], Awaitable[T]]) -> T:
    """Return the answer, however long the database stays locked."""
    while True:
        try:
            return await question()
        except LockedError as error:
            _LOG.warning("a review waits: %s", error.message)
            await anyio.sleep(_LOCKED_S)


def _model_for(asked: ConsensusCheckpoint, rules: ConsensusSettings) -> str | None:
    return rules.reviewer_model if asked.reviewer_strategy == "different-model" else None


def _decides(
    asked: ConsensusCheckpoint,
    review: Review,
    verdict: Verdict,
    rules: ConsensusSettings,
    *,
    whole: bool,
) -> bool:
    """Tell whether a verdict decides by itself: a rejection does, an approval of low enough risk.

    That must have come through the reviewer's tool, after it was shown the `whole` of the work.
    """
    if not verdict.approved:
        return True
    most = rules.reviewer_may_approve
    if most is None or not whole or not review.structured:
        return False
    return may_approve_alone(asked, verdict, most)
