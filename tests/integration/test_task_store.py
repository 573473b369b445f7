"""The contract of `TaskStore` and `DriftStore`, over every database that is at hand."""

from __future__ import annotations

import sqlite3
import struct
from collections.abc import AsyncGenerator
from pathlib import Path

import anyio
import pytest

from perstack.domain.drift import DriftEvent, DriftMetrics
from perstack.domain.ids import AgentId, JobId, RunId, SessionId, TaskId
from perstack.domain.tasks import Task, TaskCounts
from perstack.errors import ConflictError, CorruptRecordError, NotFoundError
from perstack.ports.stores import Stores
from perstack.ports.system import Uuids
from perstack.ports.tasks import Mark, TaskFilter, TaskStore
from perstack.storage.database.opener import open_stores
from tests.fakes.consensus import NOW_MS, SetClock
from tests.fakes.postgres import PostgresServer
from tests.fakes.tasks import make_task, open_emptied

pytestmark = pytest.mark.anyio

T1, T2, T3 = TaskId("t1"), TaskId("t2"), TaskId("t3")
ANA = AgentId("ana")


@pytest.fixture(scope="module", params=["sqlite", "postgres"])
def database(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Path | str:
    """Give one database of each kind for all tests of this module: making tables takes long."""
    if request.param == "sqlite":
        return tmp_path_factory.mktemp("tasks") / "perstack.db"
    server: PostgresServer = request.getfixturevalue("postgres")
    return server.emptied()


@pytest.fixture
async def stores(database: Path | str) -> AsyncGenerator[Stores]:
    opened = await open_emptied(database)
    yield opened
    await opened.aclose()


@pytest.fixture
def tasks(stores: Stores) -> TaskStore:
    return stores.tasks


def make_event(name: str = "e1", *, at: int = NOW_MS, score: float | None = 0.97) -> DriftEvent:
    return DriftEvent(
        id=name,
        task_id=T2,
        task_type="coder",
        ancestor_task_id=T1,
        similarity_score=score,
        threshold=0.95,
        action_taken="warned",
        task_input="write it again",
        created_at=at,
    )


def vector(*numbers: float) -> bytes:
    return struct.pack(f"<{len(numbers)}f", *numbers)


async def test_what_was_added_is_read_back_the_same(tasks: TaskStore) -> None:
    task = make_task(session="s1").model_copy(
        update={"risk_level": "high", "job_id": JobId("j"), "run_id": RunId("r"), "feedback": "no"}
    )
    assert await tasks.add(task) == task
    assert await tasks.get(T1) == task
    assert await tasks.find(T2) is None


async def test_any_text_is_taken_and_harmless(tasks: TaskStore) -> None:
    for n, text in enumerate(("\ud800 lone", "nul \0", "\x1b]52;c;x\x07", "x" * 10**6, "", "'--")):
        await tasks.add(make_task(f"t{n}", text=text))
        found = (await tasks.get(TaskId(f"t{n}"))).input or ""
        assert found.replace("\ufffd", "") == text.replace("\0", "").replace("\ud800", "")


@pytest.mark.parametrize("name", ["' OR 1=1 --", "\ud800", "a\0b", "x" * 5_000])
async def test_a_malformed_id_is_not_found(tasks: TaskStore, name: str) -> None:
    await tasks.add(make_task())
    odd = TaskId(name)
    with pytest.raises(NotFoundError, match="Task not found"):
        await tasks.get(odd)
    with pytest.raises(NotFoundError):
        await tasks.start(odd, ANA, now_ms=NOW_MS)
    with pytest.raises(NotFoundError):
        await tasks.finish(odd, "completed", None, now_ms=NOW_MS)
    assert not await tasks.delete(odd)
    assert await tasks.relationships(odd) == []


async def test_an_unknown_parent_is_said_and_nothing_is_written(tasks: TaskStore) -> None:
    with pytest.raises(NotFoundError, match="Parent task not found"):
        await tasks.add(make_task("t2", parent="t1"))
    assert await tasks.list(TaskFilter()) == []


async def test_the_same_id_twice_conflicts(tasks: TaskStore) -> None:
    await tasks.add(make_task())
    with pytest.raises(ConflictError, match="exists already"):
        await tasks.add(make_task(text="another"))


async def test_depth_is_counted_from_the_root_and_the_parent_is_related(tasks: TaskStore) -> None:
    await tasks.add(make_task("t1"))
    assert (await tasks.add(make_task("t2", parent="t1"))).depth == 1
    assert (await tasks.add(make_task("t3", parent="t2"))).depth == 2
    assert await tasks.depth_below(T3) == 3
    assert await tasks.depth_below(None) == 0
    assert await tasks.depth_below(TaskId("nobody")) == 0
    (up,) = await tasks.relationships(T3, "incoming")
    assert (up.from_task_id, up.to_task_id, up.relationship_type) == (T2, T3, "parent_of")
    both = await tasks.relationships(T2)
    assert [one.to_task_id for one in both] == [T3, T2]
    assert [one.to_task_id for one in await tasks.relationships(T2, "outgoing")] == [T3]


async def test_relationships_keep_their_metadata_and_need_both_tasks(tasks: TaskStore) -> None:
    await tasks.add(make_task("t1"))
    await tasks.add(make_task("t2"))
    made = await tasks.relate(T1, T2, "depends_on", metadata={"why": "\ud800"}, now_ms=NOW_MS)
    assert await tasks.relationships(T1) == [made]
    with pytest.raises(NotFoundError):
        await tasks.relate(T1, T3, "depends_on", now_ms=NOW_MS)


async def test_relating_the_same_at_once_gives_one_relationship(tasks: TaskStore) -> None:
    await tasks.add(make_task("t1"))
    await tasks.add(make_task("t2"))
    found: set[str] = set()

    async def relate() -> None:
        found.add((await tasks.relate(T1, T2, "supersedes", now_ms=NOW_MS)).id)

    async with anyio.create_task_group() as group:
        for _ in range(10):
            group.start_soon(relate)
    assert len(found) == 1


async def test_the_task_of_a_run_waits_while_nobody_drives_it(tasks: TaskStore) -> None:
    await tasks.record(make_task().model_copy(update={"status": "running", "attempts": 1}))
    assert await tasks.release(T1)
    assert not await tasks.release(T1)
    assert (await tasks.count(TaskFilter())) == TaskCounts(total=1, pending=1)
    assert await tasks.take_up(T1)
    assert not await tasks.take_up(T1)
    again = await tasks.get(T1)
    assert (again.status, again.attempts) == ("running", 2)
    await tasks.finish(T1, "failed", "no", now_ms=NOW_MS)
    assert not await tasks.release(T1)
    assert await tasks.take_up(T1)
    assert (await tasks.get(T1)).completed_at is None
    await tasks.finish(T1, "completed", "yes", now_ms=NOW_MS)
    assert not await tasks.take_up(T1)
    assert not await tasks.release(T1)
    assert (await tasks.get(T1)).status == "completed"


async def test_what_is_in_the_queue_is_moved_by_the_queue_alone(stores: Stores) -> None:
    tasks = stores.tasks
    await tasks.add(make_task())
    await stores.task_queue.enqueue(T1, 5, now_ms=NOW_MS)
    assert not await tasks.take_up(T1)
    await stores.task_queue.claim(None, claimed_by=None, now_ms=NOW_MS)
    await stores.task_queue.assign(T1, ANA, now_ms=NOW_MS)
    assert not await tasks.release(T1)
    assert (await tasks.get(T1)).status == "running"


@pytest.mark.parametrize("name", ["' OR 1=1 --", "\ud800", "a\0b", "x" * 5_000])
async def test_a_task_that_is_not_there_is_neither_let_go_nor_taken_up(
    tasks: TaskStore, name: str
) -> None:
    assert not await tasks.release(TaskId(name))
    assert not await tasks.take_up(TaskId(name))


async def test_lists_are_newest_first_and_filtered(tasks: TaskStore) -> None:
    for n in range(1, 5):
        agent_type = "coder" if n % 2 else "tester"
        await tasks.add(make_task(f"t{n}", agent_type=agent_type, session=f"s{n % 2}"))
    await tasks.start(T1, ANA, now_ms=NOW_MS)
    await tasks.finish(T1, "completed", "done", now_ms=NOW_MS)

    async def ids(wanted: TaskFilter, limit: int = 10, offset: int = 0) -> list[str]:
        return [one.id for one in await tasks.list(wanted, limit=limit, offset=offset)]

    assert await ids(TaskFilter()) == ["t4", "t3", "t2", "t1"]
    assert await ids(TaskFilter(), limit=2, offset=1) == ["t3", "t2"]
    assert await ids(TaskFilter(session_id=SessionId("s1"))) == ["t3", "t1"]
    assert await ids(TaskFilter(statuses=["completed", "failed"])) == ["t1"]
    assert await ids(TaskFilter(agent_type="tester")) == ["t4", "t2"]
    assert await ids(TaskFilter(agent_id=ANA)) == ["t1"]
    counts = await tasks.count(TaskFilter(session_id=SessionId("s1")))
    assert counts == TaskCounts(total=2, pending=1, completed=1)
    assert await tasks.count(TaskFilter(session_id=SessionId("none"))) == TaskCounts()


async def test_a_task_is_assigned_once(tasks: TaskStore) -> None:
    await tasks.add(make_task())
    running = await tasks.start(T1, ANA, now_ms=NOW_MS + 5)
    assert (running.status, running.agent_id, running.attempts) == ("running", "ana", 1)
    assert running.started_at == NOW_MS + 5
    with pytest.raises(ConflictError, match="Task is already running"):
        await tasks.start(T1, AgentId("ben"), now_ms=NOW_MS)
    assert (await tasks.get(T1)).agent_id == "ana"


async def test_of_eight_that_assign_at_once_one_wins(
    database: Path | str, tasks: TaskStore
) -> None:
    await tasks.add(make_task())
    won: list[str] = []

    async def assign(name: str) -> None:
        other = await open_stores(database, clock=SetClock(), ids=Uuids())
        try:
            won.append((await other.tasks.start(T1, AgentId(name), now_ms=NOW_MS)).agent_id or "")
        except ConflictError:
            pass
        finally:
            await other.aclose()

    async with anyio.create_task_group() as group:
        for n in range(8):
            group.start_soon(assign, f"agent{n}")
    assert won == [(await tasks.get(T1)).agent_id]


async def test_an_ended_task_stays_as_it_ended(tasks: TaskStore) -> None:
    await tasks.add(make_task())
    await tasks.finish(T1, "completed", "the result", now_ms=NOW_MS + 1)
    with pytest.raises(ConflictError, match="Task is already completed"):
        await tasks.finish(T1, "failed", None, now_ms=NOW_MS + 2)
    kept = await tasks.get(T1)
    assert (kept.status, kept.output, kept.completed_at) == ("completed", "the result", NOW_MS + 1)


async def test_ending_without_an_output_keeps_what_there_is(tasks: TaskStore) -> None:
    await tasks.record(make_task().model_copy(update={"output": "half"}))
    assert (await tasks.finish(T1, "failed", None, now_ms=NOW_MS)).task.output == "half"


async def test_deleting_takes_vectors_and_relationships_and_keeps_events(stores: Stores) -> None:
    tasks, drift = stores.tasks, stores.drift
    await tasks.add(make_task("t1"))
    await tasks.add(make_task("t2", parent="t1"), mark=Mark("m", vector(1, 0)), event=make_event())
    with pytest.raises(ConflictError, match="Task has subtasks"):
        await tasks.delete(T1)
    assert await tasks.delete(T2)
    assert await tasks.relationships(T1) == []
    assert [one.id for one in await drift.events()] == ["e1"]
    assert await tasks.delete(T1)
    assert not await tasks.delete(T1)


async def test_the_task_of_a_run_is_written_once_and_taken_up_after_it_failed(
    tasks: TaskStore,
) -> None:
    task = make_task().model_copy(update={"status": "running", "attempts": 1, "depth": 3})
    assert (await tasks.record(task)).new
    again = await tasks.record(task.model_copy(update={"input": "something else"}))
    assert (again.new, again.task) == (False, task)
    await tasks.finish(T1, "failed", "why", now_ms=NOW_MS)
    resumed = (await tasks.record(task)).task
    assert (resumed.status, resumed.attempts, resumed.completed_at) == ("running", 2, None)
    await tasks.finish(T1, "completed", "yes", now_ms=NOW_MS)
    assert (await tasks.record(task)).task.status == "completed"


async def test_a_run_whose_parent_has_no_task_gets_one_without_a_parent(tasks: TaskStore) -> None:
    recorded = await tasks.record(make_task("t2", parent="unknown"))
    assert recorded.task.parent_task_id is None


async def test_ancestors_come_nearest_first_with_their_vectors(stores: Stores) -> None:
    tasks, drift = stores.tasks, stores.drift
    await tasks.add(make_task("t1"), mark=Mark("m", vector(1, 0)))
    await tasks.add(make_task("t2", parent="t1"), mark=Mark("m"))
    await tasks.add(make_task("t3", parent="t2"))
    found = await drift.ancestors(T3, levels=3, model="m", limit=10)
    assert [(one.task_id, one.depth, one.state) for one in found] == [
        ("t3", 1, None),
        ("t2", 2, "pending"),
        ("t1", 3, "ready"),
    ]
    assert found[2].vector == vector(1, 0)
    other = await drift.ancestors(T3, levels=3, model="another", limit=10)
    assert [one.state for one in other] == [None, None, None]
    assert len(await drift.ancestors(T3, levels=2, model="m", limit=10)) == 2
    assert len(await drift.ancestors(T3, levels=3, model="m", limit=2)) == 2
    with pytest.raises(NotFoundError, match="Parent task not found"):
        await drift.ancestors(TaskId("nobody"), levels=3, model="m", limit=10)


async def test_vectors_are_promised_kept_replaced_and_given_up(stores: Stores) -> None:
    tasks, drift = stores.tasks, stores.drift
    await tasks.add(make_task("t1"), mark=Mark("m"))
    await tasks.add(make_task("t2"), mark=Mark("m"))

    async def state(task_id: TaskId) -> tuple[str | None, bytes | None]:
        (found,) = await drift.ancestors(task_id, levels=1, model="m", limit=10)
        return found.state, found.vector

    assert await state(T1) == ("pending", None)
    await drift.save([(T1, vector(1, 0)), (TaskId("gone"), vector(1))], model="m", now_ms=NOW_MS)
    assert await state(T1) == ("ready", vector(1, 0))
    await drift.save([(T1, vector(0, 1))], model="m", now_ms=NOW_MS)
    assert await state(T1) == ("ready", vector(0, 1))
    await drift.give_up([T1, T2], model="m")
    assert await state(T1) == ("ready", vector(0, 1))
    assert await state(T2) == ("failed", None)


async def test_events_are_newest_first_and_summed_since_a_time(stores: Stores) -> None:
    drift = stores.drift
    await drift.log(make_event("e1", at=NOW_MS, score=0.5))
    await drift.log(make_event("e2", at=NOW_MS + 10, score=1.0))
    unseen = make_event("e3", at=NOW_MS + 20, score=None)
    await drift.log(unseen.model_copy(update={"action_taken": "allowed", "verdict": "pending"}))
    assert [one.id for one in await drift.events(limit=2)] == ["e3", "e2"]
    assert (await drift.events())[-1] == make_event("e1", at=NOW_MS, score=0.5)
    assert await drift.metrics() == DriftMetrics(
        total_events=3, allowed_count=1, warned_count=2, pending_count=1, average_similarity=0.75
    )
    assert (await drift.metrics(since_ms=NOW_MS + 10)).total_events == 2


async def test_a_damaged_row_is_named(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    stores = await open_stores(path, clock=SetClock(), ids=Uuids())
    await stores.tasks.add(make_task())
    with sqlite3.connect(path) as raw:
        raw.execute("UPDATE tasks SET created_at = 'soon'")
    raw.close()
    with pytest.raises(CorruptRecordError, match="stored task 't1' is damaged"):
        await stores.tasks.get(T1)
    await stores.aclose()


async def test_a_task_in_json_has_the_seeds_names_and_times(tasks: TaskStore) -> None:
    task = await tasks.add(make_task(created_at=1_704_067_200_000))
    shown = task.model_dump(mode="json", exclude_none=True)
    assert shown["agentType"] == "coder"
    assert shown["createdAt"] == "2024-01-01T00:00:00.000Z"
    assert Task.model_validate(shown) == task
