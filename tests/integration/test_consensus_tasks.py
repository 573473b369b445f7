"""Tasks that wait for consensus: what the store makes of a decision, over every database."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncGenerator
from contextlib import closing
from functools import partial
from pathlib import Path

import anyio
import pytest
from anyio import to_thread

from perstack.domain.consensus import Review, Verdict
from perstack.domain.ids import ConsensusId, ExpertKey, TaskId
from perstack.domain.tasks import Task
from perstack.errors import ConflictError, NotFoundError, StorageError
from perstack.ports.consensus import ReviewClaim
from perstack.ports.stores import Stores
from perstack.ports.system import Uuids
from perstack.storage.database.engine import connect
from perstack.storage.database.migrations import MIGRATIONS
from perstack.storage.database.opener import open_consensus_store, open_stores
from tests.fakes.consensus import (
    NOW_MS,
    SetClock,
    make_checkpoint,
    make_decision,
    make_proposal,
)

pytestmark = pytest.mark.anyio

K1 = ConsensusId("k1")
DONE = Review(
    reviewer=ExpertKey("adversarial"),
    verdict=Verdict(approved=True, feedback="fine \ud800\0"),
    structured=True,
    started_at=NOW_MS,
    finished_at=NOW_MS + 5,
)
FAILED = DONE.model_copy(update={"verdict": None, "structured": False, "error": "no answer"})

OLD_SUBTASKS = (
    '[{"id":"s1","agent_type":"devops","input":"deploy","estimated_risk_level":"high",'
    '"tool_call_id":"c1","tool_name":"devops"}]'
)


@pytest.fixture
def clock() -> SetClock:
    return SetClock()


@pytest.fixture
async def stores(database_target: Path | str, clock: SetClock) -> AsyncGenerator[Stores]:
    opened = await open_stores(database_target, clock=clock, ids=Uuids())
    yield opened
    await opened.aclose()


async def add_parent(stores: Stores, name: str = "p1") -> None:
    await stores.tasks.add(Task(id=TaskId(name), agent_type="coordinator", created_at=NOW_MS))


def claim_by(holder: str, until_ms: int = NOW_MS + 10_000) -> ReviewClaim:
    return ReviewClaim(holder, until_ms, "adversarial", "some-model")


async def test_a_proposal_without_a_run_is_read_back_the_same(stores: Stores) -> None:
    proposal = make_proposal()
    await stores.consensus.create(proposal)
    assert await stores.consensus.get(K1) == proposal


async def test_approving_makes_the_approved_subtasks_tasks(stores: Stores, clock: SetClock) -> None:
    await add_parent(stores)
    await stores.consensus.create(make_proposal(subtasks=3))
    clock.move(70)
    decision = make_decision(rejected=("k1-s2",))
    await stores.consensus.decide(K1, decision, now_ms=clock.now_ms())
    made = [await stores.tasks.find(TaskId(f"k1-s{n}")) for n in (1, 2, 3)]
    assert made[1] is None
    for number, task in ((1, made[0]), (3, made[2])):
        assert task is not None
        assert (task.id, task.status, task.depth) == (f"k1-s{number}", "pending", 1)
        assert (task.agent_type, task.input) == ("devops", "deploy the docs to production")
        assert (task.parent_task_id, task.session_id) == ("p1", "session1")
        assert (task.consensus_checkpoint_id, task.risk_level) == ("k1", "high")
        assert task.created_at == NOW_MS + 70
    related = await stores.tasks.relationships(TaskId("p1"), "outgoing")
    assert {one.to_task_id for one in related} == {"k1-s1", "k1-s3"}


async def test_rejecting_and_expiring_make_none(stores: Stores, clock: SetClock) -> None:
    await add_parent(stores)
    await stores.consensus.create(make_proposal("k1"))
    await stores.consensus.create(make_proposal("k2", expires_at=NOW_MS + 5))
    await stores.consensus.decide(K1, make_decision(approved=False), now_ms=NOW_MS)
    clock.move(5)
    with pytest.raises(ConflictError):
        await stores.consensus.decide(ConsensusId("k2"), make_decision(), now_ms=NOW_MS)
    await stores.consensus.expire_due(now_ms=clock.now_ms(), auto_reject=True)
    for name in ("k1-s1", "k1-s2", "k2-s1", "k2-s2"):
        assert await stores.tasks.find(TaskId(name)) is None


async def test_an_approval_that_cannot_make_its_tasks_is_none(stores: Stores) -> None:
    taken = Task(id=TaskId("k1-s2"), agent_type="coder", created_at=NOW_MS)
    await stores.tasks.add(taken)
    await stores.consensus.create(make_proposal(parent=None))
    with pytest.raises(StorageError):
        await stores.consensus.decide(K1, make_decision(), now_ms=NOW_MS)
    assert (await stores.consensus.get(K1)).status == "pending"
    assert await stores.tasks.find(TaskId("k1-s1")) is None
    assert [entry.event for entry in await stores.consensus.audit(K1)] == ["created"]


async def test_a_parent_that_is_gone_leaves_a_task_without_one(stores: Stores) -> None:
    await stores.consensus.create(make_proposal(parent="gone", subtasks=1))
    await stores.consensus.decide(K1, make_decision(), now_ms=NOW_MS)
    assert (await stores.tasks.get(TaskId("k1-s1"))).parent_task_id is None


async def test_what_a_run_waits_with_makes_no_tasks(stores: Stores) -> None:
    await stores.consensus.create(make_checkpoint())
    await stores.consensus.decide(K1, make_decision(), now_ms=NOW_MS)
    assert await stores.tasks.find(TaskId("s1")) is None


async def test_pages_are_oldest_first_with_the_total(stores: Stores) -> None:
    for n in range(3):
        await stores.consensus.create(make_checkpoint(f"k{n}", created_at=NOW_MS - n))
    await stores.consensus.create(make_checkpoint("done"))
    await stores.consensus.decide(ConsensusId("done"), make_decision(), now_ms=NOW_MS)
    first = await stores.consensus.page(statuses=["pending"], limit=2, offset=0)
    assert ([one.id for one in first.checkpoints], first.total) == (["k2", "k1"], 3)
    rest = await stores.consensus.page(statuses=["pending"], limit=2, offset=2)
    assert ([one.id for one in rest.checkpoints], rest.total) == (["k0"], 3)


async def test_of_many_that_claim_a_review_one_gets_it(stores: Stores) -> None:
    await stores.consensus.create(make_checkpoint())
    got: list[str] = []

    async def claim(holder: str) -> None:
        taken = await stores.consensus.claim_review(K1, claim_by(holder), now_ms=NOW_MS)
        if taken is not None:
            got.append(holder)

    async with anyio.create_task_group() as group:
        for n in range(8):
            group.start_soon(claim, f"h{n}")
    assert len(got) == 1
    started = (await stores.consensus.audit(K1))[1:]
    assert [(one.event, one.actor, one.actor_type) for one in started] == [
        ("review_started", "adversarial", "agent")
    ]
    assert started[0].details == {"strategy": "human", "model": "some-model"}


async def test_a_claim_that_is_not_renewed_is_taken_over(stores: Stores) -> None:
    store = stores.consensus
    await store.create(make_checkpoint())
    assert await store.claim_review(K1, claim_by("dead"), now_ms=NOW_MS)
    assert await store.claim_review(K1, claim_by("b"), now_ms=NOW_MS + 9_999) is None
    assert await store.renew_review(K1, "dead", until_ms=NOW_MS + 20_000)
    assert await store.claim_review(K1, claim_by("b"), now_ms=NOW_MS + 10_000) is None
    assert await store.claim_review(K1, claim_by("b"), now_ms=NOW_MS + 20_000)
    assert not await store.renew_review(K1, "dead", until_ms=NOW_MS + 90_000)
    assert not await store.finish_review(K1, "dead", DONE)
    assert await store.finish_review(K1, "b", DONE)


async def test_a_review_is_kept_and_audited_and_is_the_only_one(stores: Stores) -> None:
    store = stores.consensus
    await store.create(make_checkpoint())
    await store.claim_review(K1, claim_by("a"), now_ms=NOW_MS)
    assert await store.finish_review(K1, "a", DONE)
    found = await store.get(K1)
    assert (found.review, found.status) == (DONE, "pending")
    said = (await store.audit(K1))[-1]
    assert (said.event, said.details["approved"]) == ("reviewed", True)
    assert await store.claim_review(K1, claim_by("b"), now_ms=NOW_MS + 99_999) is None


async def test_a_review_that_failed_may_be_made_again(stores: Stores) -> None:
    store = stores.consensus
    await store.create(make_checkpoint())
    await store.claim_review(K1, claim_by("a"), now_ms=NOW_MS)
    await store.finish_review(K1, "a", FAILED)
    assert (await store.audit(K1))[-1].details == {"error": "no answer"}
    assert await store.claim_review(K1, claim_by("b"), now_ms=NOW_MS)


async def test_what_is_decided_is_not_reviewed_any_more(stores: Stores) -> None:
    store = stores.consensus
    await store.create(make_checkpoint())
    await store.claim_review(K1, claim_by("a"), now_ms=NOW_MS)
    await store.decide(K1, make_decision(), now_ms=NOW_MS)
    assert not await store.renew_review(K1, "a", until_ms=NOW_MS + 1)
    assert not await store.finish_review(K1, "a", DONE)
    assert await store.claim_review(K1, claim_by("b"), now_ms=NOW_MS + 99_999) is None
    with pytest.raises(NotFoundError):
        await store.claim_review(ConsensusId("none"), claim_by("b"), now_ms=NOW_MS)


async def test_checkpoints_of_the_first_schema_are_read_and_decided(tmp_path: Path) -> None:
    path = tmp_path / "perstack.db"
    old = await to_thread.run_sync(partial(connect, path, busy_s=5, migrations=MIGRATIONS[:1]))
    old.engine.dispose()
    with closing(sqlite3.connect(path)) as raw, raw:
        raw.execute(
            "INSERT INTO consensus_checkpoints VALUES ('k1', 'job1', 'run1', 'lead', 'run1', NULL,"
            " 1, 'why', ?, 'high', 'pending', 'human', NULL, ?, NULL, NULL)",
            (OLD_SUBTASKS, NOW_MS),
        )
    store = await open_consensus_store(path, clock=SetClock())
    found = await store.get(K1)
    assert (found.job_id, found.run_id, found.session_id, found.review) == (
        "job1",
        "run1",
        None,
        None,
    )
    (subtask,) = found.proposed_subtasks
    assert (subtask.tool_call_id, subtask.digest) == ("c1", None)
    assert (await store.decide(K1, make_decision(), now_ms=NOW_MS)).status == "approved"
    await store.aclose()
