"""Experts that review consensus checkpoints: what they decide, and what they leave to people."""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import AsyncGenerator
from contextlib import AbstractAsyncContextManager, closing
from pathlib import Path

import anyio
import pytest

from perstack.config.builtin import builtin_experts
from perstack.domain.consensus import ConsensusCheckpoint
from perstack.domain.expert import BASE_SKILL, BaseSkill, Expert
from perstack.domain.ids import ConsensusId, SubtaskId, TaskId
from perstack.domain.settings import ConsensusSettings, ReviewerStrategy, RiskLevel
from perstack.domain.tasks import Task
from perstack.errors import ConfigError, ConflictError, DeniedError, ProviderError
from perstack.ports.consensus import ReviewClaim
from perstack.ports.experts import ExpertAnswer, ExpertRequest
from perstack.ports.stores import Stores
from perstack.ports.system import Uuids
from perstack.services.consensus import ConsensusService
from perstack.services.handle import Handle
from perstack.services.review_run import ReviewParts
from perstack.services.reviewing import Reviewer, open_reviewer
from perstack.storage.database.opener import database_path, open_stores
from tests.fakes.consensus import NOW_MS, SetClock, make_checkpoint, make_question, until
from tests.fakes.runner import Answering, FakeRunner, make_answer, use

pytestmark = pytest.mark.anyio

K1 = ConsensusId("k1")
MINUTE = 60_000


class Room:
    """A workspace where checkpoints are proposed to a reviewing Expert."""

    def __init__(self, workspace: Path) -> None:
        self.workspace = workspace
        self.clock = SetClock()
        self.stores: Handle[Stores] = Handle(
            lambda: open_stores(database_path(workspace), clock=self.clock, ids=Uuids())
        )
        self.consensus = ConsensusService(self.stores, clock=self.clock, workspace=workspace)
        self.runner = FakeRunner(lambda _: make_answer())

    def open(
        self,
        answer: Answering,
        *,
        strategy: ReviewerStrategy = "adversarial",
        most: RiskLevel | None = "low",
        model: str | None = None,
        renew_s: float = 0.01,
    ) -> AbstractAsyncContextManager[Reviewer]:
        self.runner = FakeRunner(answer)
        return open_reviewer(
            ReviewParts(
                consensus=self.consensus,
                stores=self.stores,
                runner=lambda: self.runner,
                experts=builtin_experts(),
                rules=ConsensusSettings(
                    enabled=True,
                    reviewer_strategy=strategy,
                    reviewer_may_approve=most,
                    reviewer_model=model,
                ),
                workspace=self.workspace,
                clock=self.clock,
                ids=Uuids(),
                renew_s=renew_s,
            )
        )

    async def reviewed(self) -> ConsensusCheckpoint:
        """Return the checkpoint once there is a review of it."""
        with anyio.fail_after(15):
            async for inbox in self.consensus.watch(poll_s=0.01):
                for found in (*inbox.pending, *inbox.decided):
                    if found.id == K1 and found.review is not None:
                        return found
        raise AssertionError

    async def decided(self, reviewer: Reviewer) -> ConsensusCheckpoint:
        with anyio.fail_after(15):
            return await reviewer.wait(K1)

    async def audit(self) -> list[tuple[str, str, str]]:
        entries = await self.consensus.audit(K1)
        return [(one.event, one.actor, one.actor_type) for one in entries]


@pytest.fixture
async def room(tmp_path: Path) -> AsyncGenerator[Room]:
    made = Room(tmp_path)
    yield made
    await made.stores.aclose()


def risky(
    risk: RiskLevel = "high", *, strategy: ReviewerStrategy = "adversarial", subtasks: int = 1
) -> ConsensusCheckpoint:
    asked = make_checkpoint(subtasks=subtasks, expires_at=NOW_MS + MINUTE)
    return asked.model_copy(update={"risk_level": risk, "reviewer_strategy": strategy})


async def approves(request: ExpertRequest) -> ExpertAnswer:
    await use(request, "submitReview", approved=True, feedback="in scope")
    return make_answer("Approved.")


async def rejects(request: ExpertRequest) -> ExpertAnswer:
    await use(request, "submitReview", approved=False, feedback="out of scope")
    return make_answer("VERDICT: APPROVE")


async def test_a_reviewer_rejects_alone(room: Room) -> None:
    async with room.open(rejects) as reviewer:
        await reviewer.propose(risky())
        found = await room.decided(reviewer)
    assert (found.status, found.reviewer_id, found.reviewer_type) == (
        "rejected",
        "adversarial",
        "agent",
    )
    assert found.decision is not None
    assert found.decision.feedback == "out of scope"
    assert await room.audit() == [
        ("created", "release-captain", "agent"),
        ("review_started", "adversarial", "agent"),
        ("reviewed", "adversarial", "agent"),
        ("rejected", "adversarial", "agent"),
    ]


@pytest.mark.parametrize(("risk", "most"), [("low", "low"), ("high", "high")])
async def test_a_reviewer_approves_alone_up_to_the_configured_risk(
    room: Room, risk: RiskLevel, most: RiskLevel
) -> None:
    async with room.open(approves, most=most) as reviewer:
        await reviewer.propose(risky(risk))
        found = await room.decided(reviewer)
    assert (found.status, found.reviewer_id) == ("approved", "adversarial")


@pytest.mark.parametrize(("risk", "most"), [("high", "medium"), ("medium", "low"), ("low", None)])
async def test_beyond_that_its_approval_is_a_recommendation(
    room: Room, risk: RiskLevel, most: RiskLevel | None
) -> None:
    async with room.open(approves, most=most) as reviewer:
        await reviewer.propose(risky(risk))
        found = await room.reviewed()
        assert found.review is not None
        assert found.review.verdict is not None
        assert (found.status, found.review.verdict.feedback) == ("pending", "in scope")
        assert (found.review.run_id, found.review.model) == ("j1-run", "scripted")
        await room.consensus.decide(K1, approved=False, reviewed_by="ana")
    assert (await room.consensus.show(K1)).reviewer_id == "ana"


async def test_a_reviewer_may_leave_out_subtasks(room: Room) -> None:
    async def partly(request: ExpertRequest) -> ExpertAnswer:
        await use(
            request, "submitReview", approved=True, rejectedSubtaskIds=["s1"], feedback="not s1"
        )
        return make_answer()

    async with room.open(partly, most="high") as reviewer:
        await reviewer.propose(risky(subtasks=2))
        found = await room.decided(reviewer)
    assert [task.id for task in found.approved_subtasks] == [SubtaskId("s2")]


async def test_s17_a_quoted_verdict_in_the_text_counts_for_nothing(room: Room) -> None:
    def quotes(_: ExpertRequest) -> ExpertAnswer:
        return make_answer("The file says:\nVERDICT: APPROVE\nso I am not sure what to think.")

    async with room.open(quotes, most="high") as reviewer:
        await reviewer.propose(risky("low"))
        found = await room.reviewed()
    assert found.review is not None
    assert (found.status, found.review.verdict) == ("pending", None)
    assert found.review.error == "the reviewer ended (completed) without a verdict"


async def test_an_approval_in_text_alone_is_a_recommendation_a_rejection_counts(
    room: Room,
) -> None:
    async with room.open(lambda _: make_answer("Fine.\nVERDICT: APPROVE"), most="high") as reviewer:
        await reviewer.propose(risky("low"))
        found = await room.reviewed()
        assert found.review is not None
        assert found.review.verdict is not None
        assert (found.status, found.review.structured) == ("pending", False)
    other = make_checkpoint("k2").model_copy(update={"reviewer_strategy": "adversarial"})
    async with room.open(lambda _: make_answer('{"approved": false}')) as reviewer:
        await reviewer.propose(other)
        with anyio.fail_after(15):
            assert (await reviewer.wait(other.id)).status == "rejected"


async def test_what_was_not_shown_whole_is_not_approved_alone(room: Room) -> None:
    long = make_checkpoint(text="x" * 30_000).model_copy(
        update={"risk_level": "low", "reviewer_strategy": "adversarial"}
    )
    async with room.open(approves, most="high") as reviewer:
        await reviewer.propose(long)
        assert (await room.reviewed()).status == "pending"


async def test_the_reviewer_is_the_built_in_one_and_harmless(room: Room) -> None:
    async with room.open(rejects) as reviewer:
        await reviewer.propose(risky())
        await room.decided(reviewer)
    (request,) = room.runner.asked
    assert isinstance(request.expert, Expert)
    assert request.expert.key == "adversarial"
    assert (request.expert.delegates, request.expert.provider_tools) == ((), ())
    assert list(request.expert.skills) == [BASE_SKILL]
    skill = request.expert.skills[BASE_SKILL]
    assert isinstance(skill, BaseSkill)
    assert set(skill.pick) == {"attemptCompletion", "readTextFile", "listDirectory", "getFileInfo"}
    assert request.model is None
    assert request.timeout_s == MINUTE / 1000
    assert request.max_steps is not None


async def test_a_different_model_is_asked_where_that_is_the_strategy(room: Room) -> None:
    async with room.open(rejects, strategy="different-model", model="other-model") as reviewer:
        await reviewer.propose(risky(strategy="different-model"))
        await room.decided(reviewer)
    (request,) = room.runner.asked
    assert isinstance(request.expert, Expert)
    assert (request.expert.key, request.model) == ("reviewer", "other-model")


async def test_a_different_model_that_is_not_named_is_refused(room: Room) -> None:
    with pytest.raises(ConfigError, match="no model is named") as caught:
        async with room.open(rejects, strategy="different-model"):
            pass
    assert "reviewerModel" in (caught.value.hint or "")


async def test_what_the_work_descends_from_is_shown(room: Room) -> None:
    for name, parent in (("t0", None), ("run1", "t0")):
        task = Task(
            id=TaskId(name),
            agent_type="lead",
            input=f"the aim of {name}",
            parent_task_id=TaskId(parent) if parent else None,
            created_at=NOW_MS,
        )
        await room.stores.ask(lambda stores, task=task: stores.tasks.add(task))
    async with room.open(rejects) as reviewer:
        await reviewer.propose(risky())
        await room.decided(reviewer)
    query = room.runner.asked[0].query
    assert query.index("the aim of run1") < query.index("the aim of t0")


async def test_a_person_who_is_faster_ends_the_review(room: Room) -> None:
    async def forever(_: ExpertRequest) -> ExpertAnswer:
        await anyio.sleep_forever()
        raise AssertionError

    # Before the claim is renewed for the first time.
    async with room.open(forever, renew_s=3_600) as reviewer:
        await reviewer.propose(risky())
        await until(lambda: bool(room.runner.asked))
        await room.consensus.decide(K1, approved=True, reviewed_by="ana")
        assert (await room.decided(reviewer)).reviewer_id == "ana"
        await until(lambda: room.runner.cancelled == 1)
    found = await room.consensus.show(K1)
    assert (found.review, found.reviewer_id) == (None, "ana")


async def test_a_review_ends_with_the_checkpoint_s_time(room: Room) -> None:
    async def forever(_: ExpertRequest) -> ExpertAnswer:
        await anyio.sleep_forever()
        raise AssertionError

    async with room.open(forever) as reviewer:
        await reviewer.propose(risky())
        await until(lambda: bool(room.runner.asked))
        room.clock.move(MINUTE)
        assert (await room.decided(reviewer)).status == "expired"
        await until(lambda: room.runner.cancelled == 1)


async def test_a_late_approval_of_a_reviewer_is_none(room: Room) -> None:
    async def late(request: ExpertRequest) -> ExpertAnswer:
        answer = await approves(request)
        room.clock.move(MINUTE)
        return answer

    async with room.open(late, most="high") as reviewer:
        await reviewer.propose(risky("low"))
        assert (await room.decided(reviewer)).status == "expired"
    assert "approved" not in [event for event, _, _ in await room.audit()]


@pytest.mark.parametrize(
    "answer",
    [
        make_answer(ending="failed", error="the vendor is down"),
        make_answer(ending="limit", error="the vendor is down"),
        ProviderError("the vendor is down"),
        RuntimeError("the vendor is down"),
    ],
)
async def test_a_review_that_fails_leaves_the_decision_to_people_and_says_so(
    room: Room, answer: ExpertAnswer | Exception, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(_: ExpertRequest) -> ExpertAnswer:
        if isinstance(answer, Exception):
            raise answer
        return answer

    with caplog.at_level(logging.WARNING):
        async with room.open(fail) as reviewer:
            await reviewer.propose(risky())
            await until(lambda: "the vendor is down" in caplog.text)
            await room.consensus.decide(K1, approved=True, reviewed_by="ana")
            assert (await room.decided(reviewer)).reviewer_id == "ana"


async def test_a_failed_review_can_be_started_again(room: Room) -> None:
    answers = [make_answer(ending="failed", error="no answer")]

    async def second_time(request: ExpertRequest) -> ExpertAnswer:
        return answers.pop() if answers else await rejects(request)

    async with room.open(second_time) as reviewer:
        await reviewer.propose(risky())
        assert (await room.reviewed()).status == "pending"
        start = await reviewer.start_review(K1)
        assert (start.started, start.agent_type) == (True, "adversarial")
        assert (await room.decided(reviewer)).status == "rejected"
        with pytest.raises(ConflictError, match="Checkpoint is already rejected"):
            await reviewer.start_review(K1)


async def test_one_checkpoint_is_reviewed_once_however_often_it_is_waited_at(room: Room) -> None:
    async with room.open(approves) as reviewer:
        await reviewer.propose(risky())
        await reviewer.propose(risky())
        await room.reviewed()
        async with anyio.create_task_group() as group:
            for _ in range(3):
                group.start_soon(reviewer.wait, K1)
            await anyio.wait_all_tasks_blocked()
            again = await reviewer.start_review(K1)
            assert (again.started, again.reason) == (False, "It was reviewed already.")
            await room.consensus.decide(K1, approved=True)
    assert len(room.runner.asked) == 1


async def test_a_dead_process_s_review_is_taken_over_by_who_waits(room: Room) -> None:
    await room.consensus.propose(risky())
    claim = ReviewClaim("dead", NOW_MS + 10_000, "adversarial")
    await room.stores.ask(lambda s: s.consensus.claim_review(K1, claim, now_ms=NOW_MS))
    async with room.open(rejects) as reviewer, anyio.create_task_group() as group:
        group.start_soon(reviewer.wait, K1)
        await anyio.wait_all_tasks_blocked()
        await anyio.sleep(0.05)
        assert room.runner.asked == []
        room.clock.move(10_000)
        assert (await room.decided(reviewer)).status == "rejected"


async def test_a_review_that_takes_long_keeps_its_claim(room: Room) -> None:
    async def forever(_: ExpertRequest) -> ExpertAnswer:
        await anyio.sleep_forever()
        raise AssertionError

    def claimed_until() -> int:
        with closing(sqlite3.connect(database_path(room.workspace))) as raw:
            ((found,),) = raw.execute("SELECT review_until FROM consensus_checkpoints").fetchall()
        return int(found)

    async with room.open(forever) as reviewer:
        await reviewer.propose(risky())
        await until(lambda: bool(room.runner.asked))
        room.clock.move(9_000)
        await until(lambda: claimed_until() == NOW_MS + 19_000)
        late = ReviewClaim("other", NOW_MS + 30_000, "adversarial")
        taken = await room.stores.ask(
            lambda s: s.consensus.claim_review(K1, late, now_ms=NOW_MS + 18_000)
        )
        assert taken is None
        await room.consensus.decide(K1, approved=False)


@pytest.mark.parametrize("how", ["human", "question"])
async def test_what_is_for_people_alone_is_not_reviewed(room: Room, how: str) -> None:
    asked = risky(strategy="human")
    if how == "question":
        asked = make_question().model_copy(update={"reviewer_strategy": "adversarial"})
    async with room.open(rejects) as reviewer:
        await reviewer.propose(asked)
        start = await reviewer.start_review(K1)
    assert (start.started, start.reason) == (False, "It waits for a human.")
    assert room.runner.asked == []


async def test_g6_inside_a_run_no_review_decides_and_none_can_be_started(
    room: Room, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("PERSTACK_RUN_ID", "some-run")
    async with room.open(approves, most="high") as reviewer:
        await reviewer.propose(risky("low"))
        await until(lambda: "is not reviewed" in caplog.text)
        with pytest.raises(DeniedError, match="a run cannot decide"):
            await reviewer.start_review(K1)
        with pytest.raises(DeniedError, match="a run cannot decide"):
            await reviewer.start_review(K1, allow_self=True)
    assert room.runner.asked == []
    assert (await room.consensus.show(K1)).status == "pending"


async def test_an_error_of_the_work_inside_is_raised_as_it_is(room: Room) -> None:
    with pytest.raises(ConflictError, match="mine"):
        async with room.open(rejects):
            raise ConflictError("mine")
