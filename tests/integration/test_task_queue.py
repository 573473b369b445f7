"""The contract of `TaskQueueStore`, over every database, and what the queue announces."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from pathlib import Path

import anyio
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from perstack.domain.ids import AgentId, TaskId
from perstack.domain.tasks import MAX_ATTEMPTS, QueueStatus
from perstack.errors import ConflictError, NotFoundError, UsageError
from perstack.ports.stores import Stores
from perstack.ports.system import Uuids
from perstack.ports.tasks import TaskFilter
from perstack.services.handle import Handle
from perstack.services.task_queue import TaskQueue
from perstack.storage.database.opener import open_stores
from tests.fakes.consensus import NOW_MS, SetClock
from tests.fakes.postgres import PostgresServer
from tests.fakes.tasks import Heard, make_task, open_emptied

pytestmark = pytest.mark.anyio

T1, T2 = TaskId("t1"), TaskId("t2")
ANA = AgentId("ana")


@pytest.fixture(scope="module", params=["sqlite", "postgres"])
def database(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Path | str:
    """Give one database of each kind for all tests of this module: making tables takes long."""
    if request.param == "sqlite":
        return tmp_path_factory.mktemp("queue") / "perstack.db"
    server: PostgresServer = request.getfixturevalue("postgres")
    return server.emptied()


@pytest.fixture
async def stores(database: Path | str) -> AsyncGenerator[Stores]:
    opened = await open_emptied(database)
    yield opened
    await opened.aclose()


@pytest.fixture
def clock() -> SetClock:
    return SetClock()


@pytest.fixture
def heard() -> Heard:
    return Heard()


@pytest.fixture
def queue(stores: Stores, clock: SetClock, heard: Heard) -> TaskQueue:
    return queue_over(stores, clock, heard)


def queue_over(stores: Stores, clock: SetClock, heard: Heard) -> TaskQueue:
    async def opened() -> Stores:
        return stores

    return TaskQueue(Handle(opened), clock=clock, emit=heard.emit)


async def fill(stores: Stores, queue: TaskQueue, priorities: Sequence[int]) -> None:
    for n, priority in enumerate(priorities):
        await stores.tasks.add(make_task(f"t{n}", agent_type="coder" if n % 2 else "tester"))
        await queue.enqueue(TaskId(f"t{n}"), priority)


async def drain(queue: TaskQueue, agent_type: str | None = None) -> list[str]:
    found: list[str] = []
    while (taken := await queue.dequeue(agent_type)) is not None:
        found.append(taken.task.id)
    return found


async def test_agentstack_row_70_the_highest_priority_comes_first_and_equal_ones_in_order(
    stores: Stores, queue: TaskQueue
) -> None:
    await fill(stores, queue, [3, 9, 5, 9])
    assert [one.priority for one in await queue.peek()] == [9, 9, 5, 3]
    assert await drain(queue) == ["t1", "t3", "t2", "t0"]


async def test_agentstack_row_71_a_type_that_nobody_queued_leaves_the_queue_as_it_is(
    stores: Stores, queue: TaskQueue
) -> None:
    await fill(stores, queue, [3, 9])
    assert await queue.dequeue("architect") is None
    assert await queue.status() == QueueStatus(queued=2, processing=0, total=2)
    assert await drain(queue, "tester") == ["t0"]


async def test_agentstack_row_72_a_task_that_is_given_back_is_a_priority_lower_and_nobodys(
    stores: Stores, queue: TaskQueue
) -> None:
    await fill(stores, queue, [5])
    await queue.dequeue()
    assert await queue.assign(TaskId("t0"), ANA)
    back = await queue.requeue(TaskId("t0"), "not like this")
    assert (back.status, back.priority, back.agent_id) == ("pending", 4, None)
    assert back.feedback == "not like this"
    (waiting,) = await queue.peek()
    assert (waiting.priority, waiting.state, waiting.claimed_by) == (4, "queued", None)


async def test_agentstack_row_73_what_was_not_dequeued_cannot_be_assigned(
    stores: Stores, queue: TaskQueue, heard: Heard
) -> None:
    await fill(stores, queue, [5])
    assert not await queue.assign(TaskId("t0"), ANA)
    assert not await queue.assign(TaskId("nobody"), ANA)
    await queue.dequeue(claimed_by="host:1")
    assert await queue.assign(TaskId("t0"), ANA)
    assert not await queue.assign(TaskId("t0"), AgentId("ben"))
    task = await stores.tasks.get(TaskId("t0"))
    assert (task.status, task.agent_id, task.attempts) == ("running", ANA, 1)
    assert heard.names == ["task:added", "task:assigned"]


async def test_agentstack_row_74_the_queue_is_said_to_be_empty_once(
    stores: Stores, queue: TaskQueue, heard: Heard
) -> None:
    await fill(stores, queue, [5, 5])
    await stores.tasks.add(make_task("unqueued"))
    await drain(queue)
    await queue.complete(TaskId("t0"), "done")
    await queue.complete(TaskId("unqueued"))
    assert "queue:empty" not in heard.names
    await queue.complete(TaskId("t1"), status="failed")
    assert heard.names[2:] == ["task:completed", "task:completed", "task:failed", "queue:empty"]
    assert await queue.is_empty()


async def test_priorities_are_one_to_ten(stores: Stores, queue: TaskQueue) -> None:
    await stores.tasks.add(make_task())
    for priority in (0, 11, -1):
        with pytest.raises(UsageError, match="priority must be 1 to 10"):
            await queue.enqueue(T1, priority)
    assert (await queue.enqueue(T1)).priority == 5


async def test_only_a_pending_task_is_queued_and_only_once(
    stores: Stores, queue: TaskQueue
) -> None:
    await stores.tasks.add(make_task())
    await queue.enqueue(T1)
    with pytest.raises(ConflictError, match="already in the queue"):
        await queue.enqueue(T1)
    await queue.complete(T1)
    with pytest.raises(ConflictError, match="already completed"):
        await queue.enqueue(T1)
    with pytest.raises(NotFoundError):
        await queue.enqueue(T2)


async def test_the_priority_never_goes_below_one_and_the_third_failure_is_the_last(
    stores: Stores, queue: TaskQueue, heard: Heard
) -> None:
    await stores.tasks.add(make_task())
    await queue.enqueue(T1, 2)
    seen: list[tuple[str, int | None]] = []
    for _ in range(MAX_ATTEMPTS):
        assert await queue.dequeue() is not None
        back = await queue.requeue(T1)
        seen.append((back.status, back.priority))
    assert seen == [("pending", 1), ("pending", 1), ("failed", 1)]
    assert (await stores.tasks.get(T1)).feedback == "Gave up after 3 attempts."
    assert await queue.is_empty()
    assert heard.names[-1] == "task:failed"
    again = await queue.requeue(T1)
    assert again.status == "failed"


async def test_a_failed_task_can_be_put_back_and_a_waiting_or_completed_one_cannot(
    stores: Stores, queue: TaskQueue
) -> None:
    await stores.tasks.add(make_task())
    with pytest.raises(ConflictError, match="nothing to requeue"):
        await queue.requeue(T1)
    await queue.complete(T1, "half", status="failed")
    back = await queue.requeue(T1)
    assert (back.status, back.priority, back.completed_at, back.output) == (
        "pending",
        4,
        None,
        "half",
    )
    with pytest.raises(ConflictError):
        await queue.requeue(T1)
    await queue.complete(T1, "whole")
    with pytest.raises(ConflictError, match="Task is completed"):
        await queue.requeue(T1)


async def test_a_task_that_is_assigned_past_the_queue_leaves_it_and_counts_one_attempt(
    stores: Stores, queue: TaskQueue
) -> None:
    await fill(stores, queue, [5])
    await stores.tasks.start(TaskId("t0"), ANA, now_ms=NOW_MS)
    assert await queue.dequeue() is None
    assert [one.task.attempts for one in await queue.processing()] == [1]


async def test_what_a_dead_process_took_is_put_back(
    stores: Stores, queue: TaskQueue, clock: SetClock
) -> None:
    await fill(stores, queue, [5, 5])
    await queue.dequeue(claimed_by="dead:1")
    clock.move(30_000)
    await queue.dequeue(claimed_by="living:2")
    clock.move(31_000)
    assert [one.id for one in await queue.recover()] == ["t0"]
    assert [one.task.id for one in await queue.processing()] == ["t1"]


async def test_what_is_given_away_before_it_can_be_put_back_stays_where_it_is(
    stores: Stores, queue: TaskQueue, clock: SetClock
) -> None:
    await fill(stores, queue, [5])
    await queue.dequeue(claimed_by="slow:1")
    clock.move(61_000)
    before = clock.now_ms() - 60_000
    assert await stores.task_queue.stale(claimed_before=before) == ["t0"]
    assert await queue.assign(TaskId("t0"), ANA)
    for _ in range(2):
        with pytest.raises(ConflictError, match="has somebody who does it"):
            await stores.task_queue.requeue(
                TaskId("t0"), None, claimed_before=before, now_ms=clock.now_ms()
            )
        # Nor is it when somebody put it back already, and it was taken up anew.
        if (await stores.tasks.get(TaskId("t0"))).status == "running":
            await queue.requeue(TaskId("t0"))
            await queue.dequeue(claimed_by="another:2")
    assert [one.claimed_by for one in await queue.processing()] == ["another:2"]


async def test_clearing_empties_the_queue_and_keeps_the_tasks(
    stores: Stores, queue: TaskQueue
) -> None:
    await fill(stores, queue, [5, 5])
    await queue.dequeue()
    assert await queue.clear() == 2
    assert await queue.is_empty()
    assert await queue.length() == 0
    assert (await stores.tasks.get(TaskId("t0"))).status == "pending"


async def test_many_that_dequeue_at_once_never_get_the_same_task(
    database: Path | str, stores: Stores, queue: TaskQueue
) -> None:
    await fill(stores, queue, [1 + n % 10 for n in range(24)])
    found: list[str] = []

    async def work() -> None:
        own = await open_stores(database, clock=SetClock(), ids=Uuids())
        found.extend(await drain(queue_over(own, SetClock(), Heard())))
        await own.aclose()

    async with anyio.create_task_group() as group:
        for _ in range(6):
            group.start_soon(work)
    assert sorted(found) == sorted(f"t{n}" for n in range(24))


async def test_those_who_take_and_those_who_end_tasks_never_wait_for_each_other(
    database: Path | str, stores: Stores, queue: TaskQueue
) -> None:
    names = [f"t{n}" for n in range(20)]
    await fill(stores, queue, [5] * len(names))

    async def take() -> None:
        own = await open_stores(database, clock=SetClock(), ids=Uuids())
        await drain(queue_over(own, SetClock(), Heard()))
        await own.aclose()

    async def end(mine: Sequence[str]) -> None:
        own = await open_stores(database, clock=SetClock(), ids=Uuids())
        for name in mine:
            await queue_over(own, SetClock(), Heard()).complete(TaskId(name))
        await own.aclose()

    async with anyio.create_task_group() as group:
        for n in range(3):
            group.start_soon(take)
            group.start_soon(end, names[n::3])
    assert await queue.is_empty()
    assert (await stores.tasks.count(TaskFilter())).completed == len(names)


async def test_of_many_that_complete_at_once_one_finds_the_queue_empty(
    database: Path | str, stores: Stores, queue: TaskQueue
) -> None:
    heard = Heard()
    await fill(stores, queue, [5] * 8)

    async def work(name: str) -> None:
        own = await open_stores(database, clock=SetClock(), ids=Uuids())
        await queue_over(own, SetClock(), heard).complete(TaskId(name))
        await own.aclose()

    async with anyio.create_task_group() as group:
        for n in range(8):
            group.start_soon(work, f"t{n}")
    assert heard.names.count("queue:empty") == 1


@settings(
    max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.lists(st.tuples(st.integers(1, 10), st.booleans()), max_size=12))
async def test_the_order_is_that_of_a_sorted_list_whatever_comes_and_goes(
    tmp_path: Path, moves: list[tuple[int, bool]]
) -> None:
    stores = await open_emptied(tmp_path / "a.db")
    queue = queue_over(stores, SetClock(), Heard())
    model: list[tuple[int, int]] = []
    for n, (priority, takes) in enumerate(moves):
        await stores.tasks.add(make_task(f"t{n}"))
        await queue.enqueue(TaskId(f"t{n}"), priority)
        model.append((-priority, n))
        model.sort()
        if takes:
            taken = await queue.dequeue()
            assert taken is not None
            assert taken.task.id == f"t{model.pop(0)[1]}"
    assert await drain(queue) == [f"t{n}" for _, n in model]
    await stores.aclose()
