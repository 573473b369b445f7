"""Waiting for a decision and taking one, over real databases."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing, closing
from pathlib import Path

import anyio
import pytest

from perstack.domain.consensus import ConsensusCheckpoint
from perstack.domain.ids import ConsensusId, SubtaskId
from perstack.errors import (
    ConflictError,
    CorruptRecordError,
    DeniedError,
    NotFoundError,
    StorageError,
    UsageError,
)
from perstack.ports.consensus import Gate
from perstack.ports.stores import Stores
from perstack.ports.system import Uuids
from perstack.services.consensus import ConsensusService, Inbox
from perstack.services.handle import Handle
from perstack.services.whoami import whoami
from perstack.storage.database.opener import database_path, open_stores
from tests.fakes.consensus import NOW_MS, SetClock, make_checkpoint

pytestmark = pytest.mark.anyio

K1 = ConsensusId("k1")
Make = Callable[..., ConsensusService]


@pytest.fixture
def clock() -> SetClock:
    return SetClock()


@pytest.fixture
async def make_service(tmp_path: Path, clock: SetClock) -> AsyncGenerator[Make]:
    made: list[ConsensusService] = []

    def make(*, auto_reject: bool = False, busy_s: float = 5.0) -> ConsensusService:
        def open_() -> Awaitable[Stores]:
            return open_stores(database_path(tmp_path), clock=clock, ids=Uuids(), busy_s=busy_s)

        service = ConsensusService(
            Handle(open_), clock=clock, workspace=tmp_path, auto_reject=auto_reject
        )
        made.append(service)
        return service

    yield make
    for service in made:
        await service.aclose()


class Waiter:
    """Waits in a task; `found` is set once the wait is over."""

    def __init__(self, service: ConsensusService, *, poll_s: float) -> None:
        self.found: ConsensusCheckpoint | None = None
        self._service = service
        self._poll_s = poll_s

    async def __call__(self) -> None:
        self.found = await self._service.wait(K1, poll_s=self._poll_s)


async def test_a_decision_of_this_process_ends_the_wait_without_polling(
    make_service: Make,
) -> None:
    service = make_service()
    await service.propose(make_checkpoint())
    waiter = Waiter(service, poll_s=3_600)
    with anyio.fail_after(20):
        async with anyio.create_task_group() as group:
            group.start_soon(waiter)
            await anyio.wait_all_tasks_blocked()
            await service.decide(K1, approved=True)
    assert waiter.found is not None
    assert waiter.found.status == "approved"


async def test_a_decision_of_another_process_ends_the_wait(make_service: Make) -> None:
    here, there = make_service(), make_service()
    await here.propose(make_checkpoint())
    waiter = Waiter(here, poll_s=0.01)
    with anyio.fail_after(20):
        async with anyio.create_task_group() as group:
            group.start_soon(waiter)
            await anyio.wait_all_tasks_blocked()
            await there.decide(K1, approved=False, feedback=" not today ")
    assert waiter.found is not None
    assert waiter.found.decision is not None
    assert waiter.found.decision.feedback == "not today"


@pytest.mark.parametrize(("auto_reject", "status"), [(False, "expired"), (True, "rejected")])
async def test_who_waits_sees_to_the_expiry(
    make_service: Make, clock: SetClock, auto_reject: bool, status: str
) -> None:
    service = make_service(auto_reject=auto_reject)
    await service.propose(make_checkpoint(expires_at=NOW_MS + 1_000))
    waiter = Waiter(service, poll_s=0.01)
    with anyio.fail_after(20):
        async with anyio.create_task_group() as group:
            group.start_soon(waiter)
            await anyio.wait_all_tasks_blocked()
            clock.move(1_000)
    assert waiter.found is not None
    assert waiter.found.status == status
    assert waiter.found == await service.show(K1)


async def test_a_wait_for_what_was_decided_long_ago_returns(make_service: Make) -> None:
    service = make_service()
    await service.propose(make_checkpoint())
    await service.decide(K1, approved=True)
    with anyio.fail_after(20):
        assert (await make_service().wait(K1)).status == "approved"


async def test_a_wait_for_what_was_never_proposed_is_refused(make_service: Make) -> None:
    with pytest.raises(NotFoundError):
        await make_service().wait(K1)


async def test_a_wait_outlasts_a_locked_database(
    make_service: Make, clock: SetClock, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    service = make_service(busy_s=0.01)
    await service.propose(make_checkpoint(expires_at=NOW_MS + 1))
    clock.move(1)
    waiter = Waiter(service, poll_s=0.01)
    with (
        anyio.fail_after(20),
        closing(sqlite3.connect(database_path(tmp_path), isolation_level=None)) as raw,
    ):
        raw.execute("BEGIN IMMEDIATE")
        async with anyio.create_task_group() as group:
            group.start_soon(waiter)
            while "locked by another process" not in caplog.text:
                await anyio.wait_all_tasks_blocked()
            assert waiter.found is None
            raw.execute("ROLLBACK")
    assert waiter.found is not None
    assert waiter.found.status == "expired"


async def test_a_wait_on_a_damaged_database_fails(make_service: Make, tmp_path: Path) -> None:
    service = make_service()
    await service.propose(make_checkpoint())
    await service.aclose()
    database_path(tmp_path).write_bytes(b"")
    with anyio.fail_after(20), pytest.raises(CorruptRecordError):
        await service.wait(K1)


async def test_a_service_goes_on_once_the_database_was_put_back(
    make_service: Make, tmp_path: Path
) -> None:
    service = make_service()
    await service.propose(make_checkpoint())
    path = database_path(tmp_path)
    path.rename(tmp_path / "elsewhere.db")
    with pytest.raises(StorageError, match="was removed"):
        await service.show(K1)
    (tmp_path / "elsewhere.db").rename(path)
    assert (await service.show(K1)).id == K1


async def test_many_waits_at_once_all_end(make_service: Make) -> None:
    here, there = make_service(), make_service()
    names = [ConsensusId(f"k{n}") for n in range(40)]
    found: list[str] = []

    async def wait(name: ConsensusId) -> None:
        found.append((await here.wait(name, poll_s=0.01)).id)

    for name in names:
        await here.propose(make_checkpoint(name))
    with anyio.fail_after(30):
        async with anyio.create_task_group() as group:
            for name in names:
                group.start_soon(wait, name)
            for name in names:
                await there.decide(name, approved=True)
    assert sorted(found) == sorted(names)


async def test_the_service_is_the_engine_s_gate_and_proposing_twice_is_one_checkpoint(
    make_service: Make,
) -> None:
    service = make_service()
    gate: Gate = service
    await gate.propose(make_checkpoint())
    await gate.propose(make_checkpoint())
    assert len(await service.list()) == 1


async def test_the_decider_is_the_user_of_the_process(
    make_service: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("USER", "somebody-else")
    monkeypatch.setenv("LOGNAME", "somebody-else")
    service = make_service()
    await service.propose(make_checkpoint())
    decision = (await service.decide(K1, approved=True)).decision
    assert decision is not None
    assert decision.reviewed_by == whoami()
    assert decision.reviewer_type == "human"
    assert "@" in whoami()
    assert "somebody-else" not in whoami()


async def test_a_partial_approval_names_what_is_left_out(make_service: Make) -> None:
    service = make_service()
    await service.propose(make_checkpoint(subtasks=3))
    decided = await service.decide(
        K1, approved=True, rejected_subtask_ids=[SubtaskId("s2")], reviewed_by="ana"
    )
    assert decided.decision is not None
    assert decided.decision.rejected_subtask_ids == ("s2",)


@pytest.mark.parametrize("mark", ["PERSTACK_RUN_ID", "PERSTACK_JOB_ID"])
async def test_a_process_of_a_run_cannot_decide(
    make_service: Make, monkeypatch: pytest.MonkeyPatch, mark: str
) -> None:
    service = make_service()
    await service.propose(make_checkpoint())
    monkeypatch.setenv(mark, "run1")
    with pytest.raises(DeniedError, match=f"cannot decide a consensus checkpoint: {mark} is set"):
        await service.decide(K1, approved=True, reviewed_by="ana", allow_self=True)
    assert (await service.show(K1)).status == "pending"


async def test_an_id_is_found_by_four_of_its_characters(make_service: Make) -> None:
    service = make_service()
    for name in ("abcd1", "abcd12", "abxx3"):
        await service.propose(make_checkpoint(name))
    assert await service.find("abxx") == "abxx3"
    assert await service.find(" abxx3 ") == "abxx3"
    assert await service.find("abcd12") == "abcd12"
    with pytest.raises(UsageError, match="several consensus checkpoints begin with 'abcd'"):
        await service.find("abcd")


async def test_an_id_that_begins_another_is_still_found_whole(make_service: Make) -> None:
    service = make_service()
    for name in ("abcd12", "abcd13", "abcd1"):
        await service.propose(make_checkpoint(name))
    assert await service.find("abcd1") == "abcd1"


@pytest.mark.parametrize("text", ["", "abx", "zzzz", "../../x", "a%", "\udc80abc", "x" * 5_000])
async def test_what_is_no_id_is_not_found(make_service: Make, text: str) -> None:
    service = make_service()
    await service.propose(make_checkpoint("abxx3"))
    with pytest.raises(NotFoundError):
        await service.find(text)


async def test_the_inbox_is_yielded_at_once_and_after_each_change(
    make_service: Make, clock: SetClock
) -> None:
    here, there = make_service(), make_service()
    await here.propose(make_checkpoint("k1", expires_at=NOW_MS + 1_000))
    with anyio.fail_after(20):
        async with aclosing(here.watch(poll_s=0.01)) as inboxes:
            assert shape(await anext(inboxes)) == (["k1"], [])
            await there.propose(make_checkpoint("k2", created_at=NOW_MS + 1))
            assert shape(await anext(inboxes)) == (["k2", "k1"], [])
            await there.decide(ConsensusId("k2"), approved=True)
            assert shape(await anext(inboxes)) == (["k1"], ["k2"])
            clock.move(1_000)
            assert shape(await anext(inboxes)) == ([], ["k2", "k1"])


def shape(inbox: Inbox) -> tuple[list[str], list[str]]:
    return [one.id for one in inbox.pending], [one.id for one in inbox.decided]


async def test_a_late_decision_is_a_conflict(make_service: Make, clock: SetClock) -> None:
    service = make_service()
    await service.propose(make_checkpoint(expires_at=NOW_MS + 1_000))
    clock.move(13_000)
    with pytest.raises(ConflictError, match="expired 12 s ago"):
        await service.decide(K1, approved=True)
