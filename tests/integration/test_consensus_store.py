"""The contract of `ConsensusStore`, over every database that is at hand."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncGenerator
from pathlib import Path

import anyio
import pytest

from perstack.domain.ids import ConsensusId, RunId
from perstack.errors import ConflictError, CorruptRecordError, NotFoundError, UsageError
from perstack.ports.consensus import ConsensusStore
from perstack.storage.database.opener import open_consensus_store
from tests.fakes.consensus import NOW_MS, SetClock, make_checkpoint, make_decision

pytestmark = pytest.mark.anyio

K1 = ConsensusId("k1")


@pytest.fixture
def clock() -> SetClock:
    return SetClock()


@pytest.fixture
async def store(database_target: Path | str, clock: SetClock) -> AsyncGenerator[ConsensusStore]:
    opened = await open_consensus_store(database_target, clock=clock)
    yield opened
    await opened.aclose()


async def test_what_was_created_is_read_back_the_same(store: ConsensusStore) -> None:
    checkpoint = make_checkpoint(subtasks=3, expires_at=NOW_MS + 5_000)
    await store.create(checkpoint)
    assert await store.get(K1) == checkpoint


@pytest.mark.parametrize(
    "text", ["\ud800 lone", "nul \0", "\x1b]52;c;x\x07", "\u202eabc", "x" * 10**6]
)
async def test_any_text_survives_in_a_subtask(store: ConsensusStore, text: str) -> None:
    checkpoint = make_checkpoint(text=text)
    await store.create(checkpoint)
    assert (await store.get(K1)).proposed_subtasks[0].input == text


async def test_text_that_no_database_takes_is_made_harmless_in_the_reason(
    store: ConsensusStore,
) -> None:
    await store.create(make_checkpoint().model_copy(update={"reason": "a\ud800b\0c"}))
    assert (await store.get(K1)).reason.replace("\ufffd", "") == "abc"


async def test_creating_the_same_again_does_nothing(store: ConsensusStore) -> None:
    await store.create(make_checkpoint())
    await store.create(make_checkpoint(created_at=NOW_MS + 9))
    assert (await store.get(K1)).created_at == NOW_MS
    assert [entry.event for entry in await store.audit(K1)] == ["created"]


async def test_creating_another_question_under_the_same_id_conflicts(store: ConsensusStore) -> None:
    await store.create(make_checkpoint())
    with pytest.raises(ConflictError, match="k1 exists with other content"):
        await store.create(make_checkpoint(text="deploy something else"))


async def test_an_unknown_id_is_not_found(store: ConsensusStore) -> None:
    with pytest.raises(NotFoundError, match="Checkpoint not found"):
        await store.get(K1)
    with pytest.raises(NotFoundError):
        await store.decide(K1, make_decision(), now_ms=NOW_MS)


@pytest.mark.parametrize("name", ["' OR 1=1 --", "\ud800", "a\0b", "%", "x" * 5_000])
async def test_a_malformed_id_is_not_found(store: ConsensusStore, name: str) -> None:
    await store.create(make_checkpoint())
    with pytest.raises(NotFoundError):
        await store.get(ConsensusId(name))
    assert await store.find_ids(name) == []


async def test_lists_are_newest_first_and_filtered(store: ConsensusStore, clock: SetClock) -> None:
    for n in range(4):
        await store.create(make_checkpoint(f"k{n}", created_at=NOW_MS + n, run=f"run{n % 2}"))
    await store.decide(ConsensusId("k2"), make_decision(), now_ms=clock.now_ms())
    assert [one.id for one in await store.list()] == ["k3", "k2", "k1", "k0"]
    assert [one.id for one in await store.list(statuses=["pending"], limit=2)] == ["k3", "k1"]
    assert [one.id for one in await store.list(statuses=["approved", "rejected"])] == ["k2"]
    assert [one.id for one in await store.find_by_run(RunId("run0"))] == ["k2", "k0"]


async def test_ids_are_found_by_their_beginning(store: ConsensusStore) -> None:
    for name in ("abcd1", "abcd2", "abxx", "abcd3"):
        await store.create(make_checkpoint(name))
    assert await store.find_ids("abx") == ["abxx"]
    assert len(await store.find_ids("abcd")) == 2
    assert await store.find_ids("zz") == []


async def test_approving_records_who_when_and_what(store: ConsensusStore, clock: SetClock) -> None:
    await store.create(make_checkpoint())
    clock.move(4_000)
    decided = await store.decide(K1, make_decision(), now_ms=clock.now_ms())
    assert decided == await store.get(K1)
    assert (decided.status, decided.decided_at) == ("approved", NOW_MS + 4_000)
    assert decided.decision == make_decision()


async def test_a_partial_approval_is_audited_part_by_part(store: ConsensusStore) -> None:
    await store.create(make_checkpoint(subtasks=3))
    decided = await store.decide(K1, make_decision(rejected=("s3", "s1", "s3")), now_ms=NOW_MS)
    assert decided.decision is not None
    assert decided.decision.rejected_subtask_ids == ("s3", "s1")
    events = [(entry.event, entry.actor, entry.details) for entry in await store.audit(K1)]
    assert events == [
        ("created", "release-captain", {"riskLevel": "high", "subtaskCount": 3}),
        ("subtask_rejected", "ana", {"subtaskId": "s3"}),
        ("subtask_rejected", "ana", {"subtaskId": "s1"}),
        ("approved", "ana", {"feedback": None}),
    ]


async def test_rejecting_keeps_the_feedback(store: ConsensusStore) -> None:
    await store.create(make_checkpoint(subtasks=2))
    decision = make_decision(approved=False).model_copy(update={"feedback": "not today \udc80"})
    assert (await store.decide(K1, decision, now_ms=NOW_MS)).status == "rejected"
    read = (await store.get(K1)).decision
    assert read is not None
    assert read.feedback == "not today \udc80"


async def test_approving_while_rejecting_everything_is_refused(store: ConsensusStore) -> None:
    await store.create(make_checkpoint(subtasks=2))
    with pytest.raises(UsageError, match="nothing would be kept") as caught:
        await store.decide(K1, make_decision(rejected=("s1", "s2")), now_ms=NOW_MS)
    assert caught.value.hint == "perstack consensus reject k1"
    assert (await store.get(K1)).status == "pending"


@pytest.mark.parametrize("approved", [True, False])
async def test_an_unknown_subtask_is_refused(store: ConsensusStore, approved: bool) -> None:
    await store.create(make_checkpoint(subtasks=2))
    decision = make_decision(approved=approved, rejected=("s9",))
    with pytest.raises(UsageError, match="no subtask 's9'"):
        await store.decide(K1, decision, now_ms=NOW_MS)
    assert (await store.get(K1)).status == "pending"


async def test_the_second_decision_conflicts_and_changes_nothing(
    store: ConsensusStore, clock: SetClock
) -> None:
    await store.create(make_checkpoint())
    await store.decide(K1, make_decision(), now_ms=clock.now_ms())
    clock.move(4_000)
    with pytest.raises(ConflictError, match="k1 was already approved by ana, 4 s ago"):
        await store.decide(K1, make_decision(approved=False, by="ben"), now_ms=clock.now_ms())
    assert (await store.get(K1)).decision == make_decision()
    assert len(await store.audit(K1)) == 2


async def test_nothing_is_decided_from_the_moment_of_expiry_on(
    store: ConsensusStore, clock: SetClock
) -> None:
    await store.create(make_checkpoint(expires_at=NOW_MS + 5_000))
    clock.move(5_000)
    with pytest.raises(ConflictError, match="k1 expired 0 s ago"):
        await store.decide(K1, make_decision(), now_ms=clock.now_ms())
    clock.move(150_000)
    with pytest.raises(ConflictError, match="k1 expired 2 min ago"):
        await store.decide(K1, make_decision(), now_ms=clock.now_ms())


async def test_a_millisecond_before_expiry_is_in_time(
    store: ConsensusStore, clock: SetClock
) -> None:
    await store.create(make_checkpoint(expires_at=NOW_MS + 5_000))
    clock.move(4_999)
    assert (await store.decide(K1, make_decision(), now_ms=clock.now_ms())).status == "approved"


async def test_a_decision_that_waited_past_the_expiry_is_refused(
    store: ConsensusStore, clock: SetClock
) -> None:
    await store.create(make_checkpoint(expires_at=NOW_MS + 5_000))
    early = clock.now_ms()
    clock.move(5_001)
    with pytest.raises(ConflictError, match="expired"):
        await store.decide(K1, make_decision(), now_ms=early)


async def test_only_overdue_checkpoints_expire(store: ConsensusStore, clock: SetClock) -> None:
    await store.create(make_checkpoint("due", expires_at=NOW_MS + 1))
    await store.create(make_checkpoint("later", expires_at=NOW_MS + 2))
    await store.create(make_checkpoint("never"))
    clock.move(1)
    settled = await store.expire_due(now_ms=clock.now_ms(), auto_reject=False)
    assert [(one.id, one.status, one.decided_at) for one in settled] == [
        ("due", "expired", NOW_MS + 1)
    ]
    assert list(settled) == [await store.get(ConsensusId("due"))]
    assert await store.expire_due(now_ms=clock.now_ms(), auto_reject=False) == ()
    assert [one.id for one in await store.list(statuses=["pending"])] == ["never", "later"]
    assert [entry.event for entry in await store.audit(ConsensusId("due"))] == [
        "created",
        "expired",
    ]


async def test_with_automatic_rejection_expiry_rejects(
    store: ConsensusStore, clock: SetClock
) -> None:
    await store.create(make_checkpoint(expires_at=NOW_MS))
    (settled,) = await store.expire_due(now_ms=clock.now_ms(), auto_reject=True)
    assert settled.status == "rejected"
    assert settled.decision is not None
    assert (settled.decision.reviewed_by, settled.decision.approved) == ("system", False)
    events = [entry.event for entry in await store.audit(K1)]
    assert events == ["created", "expired", "rejected"]


async def test_the_version_changes_with_every_change_and_only_then(
    store: ConsensusStore, database_target: Path | str, clock: SetClock
) -> None:
    seen = await store.version()
    assert await store.version() == seen
    await store.create(make_checkpoint())
    own = await store.version()
    assert own != seen
    other = await open_consensus_store(database_target, clock=clock)
    assert await other.version() != own
    await other.decide(K1, make_decision(), now_ms=NOW_MS)
    assert await store.version() != own
    await other.aclose()


async def test_another_handle_sees_a_change_at_once(
    store: ConsensusStore, database_target: Path | str, clock: SetClock
) -> None:
    other = await open_consensus_store(database_target, clock=clock)
    await store.create(make_checkpoint())
    assert (await other.get(K1)).status == "pending"
    await store.decide(K1, make_decision(), now_ms=NOW_MS)
    assert (await other.get(K1)).status == "approved"
    await other.aclose()


async def test_calls_from_many_tasks_all_succeed(store: ConsensusStore) -> None:
    async with anyio.create_task_group() as group:
        for n in range(30):
            group.start_soon(store.create, make_checkpoint(f"k{n}"))
    assert len(await store.list()) == 30


async def test_a_damaged_row_is_named(tmp_path: Path, clock: SetClock) -> None:
    path = tmp_path / "a.db"
    store = await open_consensus_store(path, clock=clock)
    await store.create(make_checkpoint())
    with sqlite3.connect(path) as raw:
        raw.execute("UPDATE consensus_checkpoints SET proposed_subtasks = '{'")
    raw.close()
    with pytest.raises(CorruptRecordError, match="checkpoint 'k1' is damaged"):
        await store.get(K1)
    await store.aclose()
