"""The coordinator over the real queue of a real database, its Experts played."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncGenerator
from dataclasses import replace
from itertools import count
from pathlib import Path

import anyio
import pytest

from perstack.domain.ids import TaskId
from perstack.domain.tasks import Task
from perstack.errors import ConflictError, UsageError
from perstack.ports.experts import ExpertAnswer, ExpertRequest
from perstack.ports.stores import Stores
from perstack.ports.system import SystemClock, Uuids
from perstack.services.bus import Message, MessageBus
from perstack.services.coordinator import CoordinatorParts, HierarchicalCoordinator
from perstack.services.handle import Handle
from perstack.services.task_queue import TaskQueue
from perstack.storage.database.opener import open_stores
from tests.fakes.consensus import NOW_MS, until
from tests.fakes.crew import FakeCrew
from tests.fakes.runner import Answering, FakeRunner, key_of, make_answer

pytestmark = pytest.mark.anyio


class Bench:
    """A queue, and what a coordinator needs to do its tasks."""

    def __init__(self, stores: Handle[Stores], answer: Answering, *, crew: FakeCrew | None) -> None:
        self.stores = stores
        self.told: list[Message] = []
        bus = MessageBus()
        bus.subscribe_all(self.told.append)
        self.queue = TaskQueue(stores, clock=SystemClock(), emit=bus.emitter("queue"))
        self.runner = FakeRunner(answer)
        self.crew = crew or FakeCrew()
        self.parts = CoordinatorParts(self.queue, self.crew, self.runner, bus, Uuids())

    async def add(self, name: str, agent_type: str = "coder", text: str | None = "do it") -> TaskId:
        task = Task(id=TaskId(name), agent_type=agent_type, input=text, created_at=NOW_MS)
        await self.stores.ask(lambda stores: stores.tasks.add(task))
        return task.id

    async def task(self, name: str) -> Task:
        return await self.stores.ask(lambda stores: stores.tasks.get(TaskId(name)))

    async def until_empty(self) -> None:
        with anyio.fail_after(15):
            for _ in count():
                if await self.queue.is_empty():
                    return
                await anyio.sleep(0.01)


@pytest.fixture
async def stores(tmp_path: Path) -> AsyncGenerator[Handle[Stores]]:
    handle: Handle[Stores] = Handle(
        lambda: open_stores(tmp_path / "perstack.db", clock=SystemClock(), ids=Uuids())
    )
    yield handle
    await handle.aclose()


def text_of(request: ExpertRequest) -> ExpertAnswer:
    return make_answer(f"{key_of(request)} did {request.query}")


async def test_tasks_are_done_by_workers_of_their_type_and_all_are_let_go(
    stores: Handle[Stores],
) -> None:
    bench = Bench(stores, text_of, crew=None)
    async with HierarchicalCoordinator.open(bench.parts, max_workers=2) as coordinator:
        for number, kind in enumerate(["coder", "tester", "coder", "reviewer"]):
            await coordinator.submit_task(await bench.add(f"t{number}", kind, f"n{number}"), 8)
        await bench.until_empty()
        status = await coordinator.status()
        assert 1 <= len(status.workers) <= 2
        assert (status.coordinator.type, status.coordinator.status) == ("coordinator", "running")
        assert len(bench.crew.here) == len(status.workers) + 1
    assert bench.crew.here == {}
    assert (await bench.task("t3")).output == "reviewer did n3"
    assert (await bench.task("t3")).agent_id in {one.agent_id for one in bench.runner.asked}
    told = Counter(message.type for message in bench.told)
    assert (told["task:assign"], told["task:added"]) == (4, 4)
    assert told["queue:empty"] >= 1


async def test_an_idle_worker_of_another_type_does_not_block_the_queue(
    stores: Handle[Stores],
) -> None:
    bench = Bench(stores, text_of, crew=None)
    async with HierarchicalCoordinator.open(bench.parts, max_workers=1) as coordinator:
        for name, kind in (("t1", "coder"), ("t2", "tester"), ("t3", "tester")):
            await coordinator.submit_task(await bench.add(name, kind))
            await bench.until_empty()
        (worker,) = (await coordinator.status()).workers
        assert (worker.type, worker.status) == ("tester", "idle")
    kinds = [kind for kind, _, _ in bench.crew.taken]
    assert kinds == ["coordinator", "coder", "tester"]


async def test_never_more_tasks_at_a_time_than_workers(stores: Handle[Stores]) -> None:
    now, most = 0, 0

    async def answer(_: ExpertRequest) -> ExpertAnswer:
        nonlocal now, most
        now += 1
        most = max(most, now)
        for _turn in range(20):
            await anyio.lowlevel.checkpoint()
        now -= 1
        return make_answer("done")

    bench = Bench(stores, answer, crew=None)
    async with HierarchicalCoordinator.open(bench.parts, max_workers=3) as coordinator:
        for number in range(9):
            kind = "coder" if number % 2 else "tester"
            await coordinator.submit_task(await bench.add(f"t{number}", kind))
        await bench.until_empty()
    assert 1 <= most <= 3
    assert len(bench.runner.asked) == 9


async def test_a_task_that_fails_is_tried_three_times_and_told_why(
    stores: Handle[Stores],
) -> None:
    def answer(_: ExpertRequest) -> ExpertAnswer:
        return make_answer(ending="failed", error="no vendor")

    bench = Bench(stores, answer, crew=None)
    async with HierarchicalCoordinator.open(bench.parts) as coordinator:
        await coordinator.submit_task(await bench.add("t1"))
        await coordinator.submit_task(await bench.add("empty", text=" "))
        await bench.until_empty()
    task = await bench.task("t1")
    assert (task.status, task.attempts) == ("failed", 3)
    assert len(bench.runner.asked) == 3
    assert bench.runner.asked[1].context == "The last attempt: the Expert coder failed: no vendor"
    assert (await bench.task("empty")).status == "failed"


async def test_a_worker_that_breaks_ends_its_task_and_no_other(
    stores: Handle[Stores], caplog: pytest.LogCaptureFixture
) -> None:
    def answer(request: ExpertRequest) -> ExpertAnswer:
        if request.query == "break":
            raise ZeroDivisionError("secret")
        return text_of(request)

    bench = Bench(stores, answer, crew=None)
    async with HierarchicalCoordinator.open(bench.parts, max_workers=1) as coordinator:
        await coordinator.submit_task(await bench.add("t1", text="break"))
        await coordinator.submit_task(await bench.add("t2"))
        await bench.until_empty()
    broken = await bench.task("t1")
    assert (broken.status, broken.feedback) == ("failed", "ZeroDivisionError")
    assert (await bench.task("t2")).status == "completed"
    assert "broke its worker" in caplog.text


async def test_what_is_not_done_at_the_end_goes_back_to_the_queue(
    stores: Handle[Stores],
) -> None:
    async def hangs(_: ExpertRequest) -> ExpertAnswer:
        await anyio.sleep_forever()
        raise AssertionError

    bench = Bench(stores, hangs, crew=None)
    after: list[str] = []
    async with HierarchicalCoordinator.open(bench.parts) as coordinator:
        await coordinator.submit_task(await bench.add("t1"))
        await until(lambda: len(bench.runner.asked) == 1)
        await coordinator.shutdown(closing_s=0.01)
        with pytest.raises(ConflictError, match="shut down"):
            await coordinator.submit_task(await bench.add("t2"))
        after.append("the block goes on")
    assert after
    assert (bench.runner.cancelled, bench.crew.here) == (1, {})
    task = await bench.task("t1")
    assert (task.status, task.feedback) == ("pending", "The coordinator was shut down.")
    assert (await bench.queue.status()).queued == 1


async def test_tasks_of_a_worker_that_is_gone_are_taken_up_again(stores: Handle[Stores]) -> None:
    bench = Bench(stores, text_of, crew=None)
    await bench.queue.enqueue(await bench.add("t1"))
    assert await bench.queue.dequeue(claimed_by="a dead coordinator")
    dead = await bench.crew.take_on("coder", name="dead", owner="x")
    assert await bench.queue.assign(TaskId("t1"), dead)
    await bench.crew.let_go(dead)
    async with HierarchicalCoordinator.open(bench.parts):
        await bench.until_empty()
    assert (await bench.task("t1")).output == "coder did do it"


class WatchedQueue(TaskQueue):
    """Remembers what was asked to be put back, once that is answered."""

    def __init__(self, stores: Handle[Stores]) -> None:
        super().__init__(stores, clock=SystemClock())
        self.put_back: list[str | None] = []

    async def requeue(
        self, task_id: TaskId, feedback: str | None = None, *, attempt: int | None = None
    ) -> Task:
        try:
            return await super().requeue(task_id, feedback, attempt=attempt)
        finally:
            self.put_back.append(feedback)


async def test_a_worker_that_ends_late_does_not_take_its_task_from_the_next_one(
    stores: Handle[Stores],
) -> None:
    queue, at_work = WatchedQueue(stores), anyio.Event()

    async def answer(_: ExpertRequest) -> ExpertAnswer:
        if len(bench.runner.asked) == 1:
            # A person stopped it, so that any coordinator puts its task back before it has ended.
            await queue.requeue(TaskId("t1"), "Its worker is gone.")
            await at_work.wait()
            return make_answer(ending="stopped")
        at_work.set()
        await until(lambda: len(queue.put_back) == 2)
        return make_answer("done")

    bench = Bench(stores, answer, crew=None)
    parts = replace(bench.parts, queue=queue)
    async with HierarchicalCoordinator.open(parts, max_workers=2) as coordinator:
        await coordinator.submit_task(await bench.add("t1"))
        await bench.until_empty()
    task = await bench.task("t1")
    assert (task.status, task.output, task.attempts) == ("completed", "done", 2)
    assert len(bench.runner.asked) == 2


async def test_idle_workers_that_a_person_stopped_are_not_asked(stores: Handle[Stores]) -> None:
    both = anyio.Event()

    async def answer(request: ExpertRequest) -> ExpertAnswer:
        if len(bench.runner.asked) == 2:
            both.set()
        await both.wait()
        return text_of(request)

    bench = Bench(stores, answer, crew=None)
    async with HierarchicalCoordinator.open(bench.parts, max_workers=2) as coordinator:
        for name in ("t1", "t2"):
            await coordinator.submit_task(await bench.add(name))
        await bench.until_empty()
        stopped = [worker.id for worker in (await coordinator.status()).workers]
        assert len(stopped) == 2
        for worker in stopped:
            await bench.crew.let_go(worker)
        await coordinator.submit_task(await bench.add("t3"))
        await bench.until_empty()
        assert bench.runner.asked[-1].agent_id not in stopped


async def test_two_coordinators_share_the_queue_and_do_each_task_once(
    stores: Handle[Stores],
) -> None:
    bench = Bench(stores, text_of, crew=None)
    for number in range(12):
        await bench.queue.enqueue(await bench.add(f"t{number}", text=f"n{number}"))
    async with (
        HierarchicalCoordinator.open(bench.parts, max_workers=2),
        HierarchicalCoordinator.open(bench.parts, max_workers=2),
    ):
        await bench.until_empty()
    assert Counter(one.query for one in bench.runner.asked) == {f"n{n}": 1 for n in range(12)}


async def test_an_error_of_the_caller_shuts_it_down_and_comes_through(
    stores: Handle[Stores],
) -> None:
    bench = Bench(stores, text_of, crew=None)
    with pytest.raises(KeyError):
        async with HierarchicalCoordinator.open(bench.parts):
            raise KeyError("mine")
    assert bench.crew.here == {}
    for wrong in (0, 21):
        with pytest.raises(UsageError, match="maxWorkers"):
            async with HierarchicalCoordinator.open(bench.parts, max_workers=wrong):
                pass
