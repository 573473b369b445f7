"""G16: a child that follows its parent at once, an embedder that is slow, down or wrong."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import anyio
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from perstack.domain.coordination import DriftSettings
from perstack.domain.drift import DriftResult
from perstack.domain.ids import ExpertKey, JobId, RunId, TaskId
from perstack.domain.tasks import RelationshipType
from perstack.ports.stores import Stores
from perstack.ports.tasks import Ancestor, Mark
from perstack.services.task_creation import NewTask
from perstack.services.task_vectors import MAX_EMBEDDED_CHARS, Timing
from tests.fakes.consensus import NOW_MS, until
from tests.fakes.tasks import Desk, FakeEmbedder, make_task, open_desk, open_emptied

pytestmark = pytest.mark.anyio

WARN = DriftSettings(enabled=True, threshold=0.9)
PREVENT = WARN.model_copy(update={"behavior": "prevent"})
AT_ONCE = Timing(wait_s=0.05, embed_s=0.05, poll_s=0.01, close_s=0.05)


async def parent_of(desk: Desk, text: str = "write the parser") -> TaskId:
    made = await desk.tasks.create(NewTask("coder", text))
    assert made.task is not None
    return made.task.id


async def state_of(desk: Desk, task_id: TaskId, model: str = "fake:words") -> Ancestor:
    found = await desk.handle.ask(
        lambda stores: stores.drift.ancestors(task_id, levels=1, model=model, limit=1)
    )
    return found[0]


async def look_on(desk: Desk, task_id: TaskId) -> None:
    """Give others the time of some reads of the same connection, which takes one at a time."""
    for _ in range(8):
        await state_of(desk, task_id)


async def test_creating_does_not_wait_for_the_embedder_and_the_childs_check_does(
    tmp_path: Path,
) -> None:
    embedder = FakeEmbedder()
    async with open_desk(tmp_path / "a.db", drift=WARN, embedder=embedder) as desk:
        embedder.close_gate()
        parent = await parent_of(desk)
        assert (await state_of(desk, parent)).state == "pending"
        found: list[DriftResult] = []

        async def check() -> None:
            found.append(await desk.tasks.judge(parent, "coder", "write the parser"))

        async with anyio.create_task_group() as group:
            await until(lambda: embedder.waiting == 1)
            group.start_soon(check)
            await look_on(desk, parent)
            assert embedder.asked == ["write the parser"]
            assert found == []
            embedder.gate.set()
    assert (found[0].is_drift, found[0].most_similar_task_id) == (True, parent)
    assert embedder.asked == ["write the parser"]


async def test_in_sync_mode_creating_waits_for_the_vector(tmp_path: Path) -> None:
    embedder = FakeEmbedder()
    sync = WARN.model_copy(update={"async_embedding": False})
    async with open_desk(tmp_path / "a.db", drift=sync, embedder=embedder) as desk:
        parent = await parent_of(desk)
        assert (await state_of(desk, parent)).state == "ready"


async def test_in_sync_mode_the_record_of_a_run_waits_for_no_embedder(tmp_path: Path) -> None:
    embedder = FakeEmbedder()
    embedder.close_gate()
    sync = WARN.model_copy(update={"async_embedding": False})
    async with open_desk(tmp_path / "a.db", drift=sync, embedder=embedder) as desk:
        with anyio.fail_after(20):
            run = await desk.tasks.delegated(
                RunId("r"), ExpertKey("coder"), "write it", parent_run_id=None, job_id=JobId("j")
            )
        assert (await state_of(desk, run.id)).state == "pending"
        embedder.gate.set()
        found = await desk.tasks.judge(run.id, "coder", "write it")
    assert (found.is_drift, found.most_similar_task_id) == (True, run.id)


async def test_a_vector_that_another_process_promised_is_waited_for(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    theirs, ours = FakeEmbedder(), FakeEmbedder()
    async with (
        open_desk(path, drift=WARN, embedder=theirs) as other,
        open_desk(path, drift=WARN, embedder=ours) as desk,
    ):
        theirs.close_gate()
        parent = await parent_of(other)
        async with anyio.create_task_group() as group:

            async def check() -> None:
                found = await desk.tasks.judge(parent, "coder", "write the parser")
                assert (found.verdict, found.is_drift) == ("judged", True)

            await until(lambda: theirs.waiting == 1)
            group.start_soon(check)
            await look_on(desk, parent)
            assert ours.asked == []
            theirs.gate.set()
    assert ours.asked == ["write the parser"]


async def test_a_vector_that_a_dead_process_promised_is_made_by_who_needs_it(
    tmp_path: Path,
) -> None:
    embedder = FakeEmbedder()
    async with open_desk(tmp_path / "a.db", drift=WARN, embedder=embedder) as desk:
        parent = TaskId("t1")
        await desk.handle.ask(
            lambda stores: stores.tasks.add(make_task("t1"), mark=Mark(embedder.name))
        )
        desk.clock.move(10_000)
        found = await desk.tasks.judge(parent, "coder", "write the parser")
        assert (await state_of(desk, parent)).state == "ready"
    assert (found.verdict, found.is_drift) == ("judged", True)


async def test_tasks_of_before_drift_was_switched_on_are_compared_all_the_same(
    tmp_path: Path,
) -> None:
    async with open_desk(tmp_path / "a.db") as desk:
        parent = await parent_of(desk)
    async with open_desk(tmp_path / "a.db", drift=WARN, embedder=FakeEmbedder()) as desk:
        found = await desk.tasks.judge(parent, "coder", "write the parser")
    assert found.is_drift


async def test_vectors_of_another_embedder_are_never_compared_but_made_anew(
    tmp_path: Path,
) -> None:
    one, other = FakeEmbedder(name="fake:one"), FakeEmbedder(name="fake:other")
    async with open_desk(tmp_path / "a.db", drift=WARN, embedder=one) as desk:
        parent = await parent_of(desk)
    async with open_desk(tmp_path / "a.db", drift=WARN, embedder=other) as desk:
        found = await desk.tasks.judge(parent, "coder", "write the parser")
    assert found.is_drift
    assert other.asked == ["write the parser"]


@pytest.mark.parametrize(("behaviour", "action"), [(WARN, "allowed"), (PREVENT, "prevented")])
async def test_with_the_embedder_down_the_verdict_is_pending_and_open_only_for_a_warning(
    tmp_path: Path, behaviour: DriftSettings, action: str
) -> None:
    embedder = FakeEmbedder()
    embedder.fails = True
    async with open_desk(tmp_path / "a.db", drift=behaviour, embedder=embedder) as desk:
        parent = await parent_of(desk)
        made = await desk.tasks.create(NewTask("coder", "a child", parent_task_id=parent))
        report = await desk.drift.report()
        assert (await state_of(desk, parent)).state == "failed"
        embedder.fails = False
        again = await desk.tasks.judge(parent, "coder", "write the parser")
    assert made.success == (action == "allowed")
    assert made.drift is not None
    assert (made.drift.action, made.drift.verdict) == (action, "pending")
    assert made.drift.reason == "the embedder is down"
    if not made.success:
        assert made.error == "Task creation prevented: the embedder is down"
    (event,) = report.recent_events
    assert (event.verdict, event.similarity_score, report.metrics.pending_count) == (
        "pending",
        None,
        1,
    )
    assert again.is_drift


async def test_an_embedder_that_hangs_is_not_waited_for_without_end(tmp_path: Path) -> None:
    embedder = FakeEmbedder()
    embedder.close_gate()
    async with open_desk(tmp_path / "a.db", drift=WARN, embedder=embedder, timing=AT_ONCE) as desk:
        parent = await parent_of(desk)
        found = await desk.tasks.judge(parent, "coder", "write the parser")
    assert (found.verdict, found.reason) == ("pending", "the embedder is too slow")


async def test_closing_leaves_over_what_is_under_way(tmp_path: Path) -> None:
    embedder = FakeEmbedder()
    embedder.close_gate()
    slow = Timing(close_s=0.05)
    async with open_desk(tmp_path / "a.db", drift=WARN, embedder=embedder, timing=slow) as desk:
        parent = await parent_of(desk)
        await parent_of(desk, "another")
    async with open_desk(tmp_path / "a.db", drift=WARN, embedder=FakeEmbedder()) as desk:
        assert (await state_of(desk, parent)).state == "failed"
        assert (await desk.tasks.judge(parent, "coder", "write the parser")).is_drift


class Broken(FakeEmbedder):
    """Gives what no embedder should."""

    def __init__(self, rows: NDArray[np.float32]) -> None:
        super().__init__()
        self._rows = rows

    async def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        return self._rows


@pytest.mark.parametrize(
    "rows",
    [
        np.zeros((1, 2), dtype=np.float32),
        np.full((2, 64), np.nan, dtype=np.float32),
        np.zeros(64, dtype=np.float32),
    ],
)
async def test_what_is_no_vector_is_never_taken_for_one(
    tmp_path: Path, rows: NDArray[np.float32]
) -> None:
    async with open_desk(tmp_path / "a.db", drift=WARN, embedder=Broken(rows)) as desk:
        parent = await parent_of(desk)
        found = await desk.tasks.judge(parent, "coder", "a child")
    assert found.verdict == "pending"
    assert found.action == "allowed"


async def test_a_very_long_input_is_cut_before_it_is_embedded(tmp_path: Path) -> None:
    embedder = FakeEmbedder()
    async with open_desk(tmp_path / "a.db", drift=WARN, embedder=embedder) as desk:
        await parent_of(desk, "word " * 100_000)
    assert [len(text) for text in embedder.asked] == [MAX_EMBEDDED_CHARS]


async def test_an_unknown_parent_of_a_delegation_is_pending_and_not_an_error(
    tmp_path: Path,
) -> None:
    async with open_desk(tmp_path / "a.db", drift=WARN, embedder=FakeEmbedder()) as desk:
        found = await desk.tasks.judge(TaskId(RunId("nobody")), "coder", "a child")
    assert (found.verdict, found.action) == ("pending", "allowed")


@pytest.mark.parametrize(("rule", "action"), [(WARN, "allowed"), (PREVENT, "prevented")])
async def test_tables_that_cannot_be_asked_leave_it_pending_and_prevent_where_that_is_wanted(
    tmp_path: Path, rule: DriftSettings, action: str
) -> None:
    async with open_desk(tmp_path / "a.db", drift=rule, embedder=FakeEmbedder()) as desk:
        parent = await parent_of(desk)
        await desk.drift.settled()  # The vector on its way would open the database again.
        await desk.handle.aclose()
        (tmp_path / "a.db").write_bytes(b"no database at all " * 100)
        found = await desk.tasks.judge(parent, "coder", "write the parser")
    assert (found.verdict, found.action) == ("pending", action)
    assert "a.db" in (found.reason or "")


async def test_every_check_is_written_down_with_the_task_that_came_of_it(tmp_path: Path) -> None:
    async with open_desk(tmp_path / "a.db", drift=PREVENT, embedder=FakeEmbedder()) as desk:
        parent = await parent_of(desk, "one two")
        child = await desk.tasks.create(NewTask("coder", "three four", parent_task_id=parent))
        await desk.tasks.create(NewTask("coder", "one two", parent_task_id=parent))
        report = await desk.drift.report()
        later = await desk.drift.report(since_ms=desk.clock.now_ms() + 1)
    assert child.task is not None
    assert [(one.task_id, one.action_taken) for one in report.recent_events] == [
        (None, "prevented"),
        (child.task.id, "allowed"),
    ]
    assert (report.metrics.allowed_count, report.metrics.prevented_count) == (1, 1)
    assert later.metrics.total_events == 0


async def test_many_tasks_at_once_all_get_their_vectors_in_few_calls(tmp_path: Path) -> None:
    embedder = FakeEmbedder()
    async with open_desk(tmp_path / "a.db", drift=WARN, embedder=embedder) as desk:
        embedder.close_gate()
        ids: list[TaskId] = []

        async def create(n: int) -> None:
            ids.append(await parent_of(desk, f"task number {n}"))

        async with anyio.create_task_group() as group:
            for n in range(80):
                group.start_soon(create, n)
        embedder.gate.set()
        await desk.drift.settled()
        states = {(await state_of(desk, one)).state for one in ids}
    assert states == {"ready"}
    assert len(embedder.asked) == 80


# ------------------------------------------------------------- random graphs

Edge = tuple[int, int, RelationshipType]
KINDS: tuple[RelationshipType, ...] = ("parent_of", "derived_from", "depends_on", "supersedes")
EDGES = st.lists(
    st.tuples(
        st.integers(0, 7),
        st.integers(0, 7),
        st.sampled_from(KINDS),
    ).filter(lambda edge: edge[0] != edge[1]),
    max_size=16,
)


def reachable(start: int, levels: int, edges: Sequence[Edge]) -> dict[int, int]:
    """The depth of each node above `start`, by the definition rather than by a search."""
    found = {start: 1}
    for depth in range(2, levels + 1):
        above = {
            a
            for a, b, kind in edges
            if kind in ("parent_of", "derived_from") and found.get(b) == depth - 1
        }
        found.update({one: depth for one in above if one not in found})
    return found


async def graph(stores: Stores, edges: Sequence[Edge]) -> None:
    for n in range(8):
        await stores.tasks.add(make_task(f"t{n}", text=f"w{n}"))
    for a, b, kind in edges:
        await stores.tasks.relate(TaskId(f"t{a}"), TaskId(f"t{b}"), kind, now_ms=NOW_MS)


QUESTIONS = (EDGES, st.integers(0, 7), st.integers(1, 5), st.integers(0, 7))


@settings(
    max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(*QUESTIONS)
async def test_in_any_graph_the_ancestors_within_reach_are_examined_and_no_others(
    tmp_path: Path, edges: list[Edge], start: int, levels: int, repeated: int
) -> None:
    await check_graph(tmp_path, edges, start, levels, repeated)


@pytest.mark.long
@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(*QUESTIONS)
async def test_in_many_graphs_the_ancestors_within_reach_are_examined_and_no_others(
    tmp_path: Path, edges: list[Edge], start: int, levels: int, repeated: int
) -> None:
    await check_graph(tmp_path, edges, start, levels, repeated)


async def check_graph(
    tmp_path: Path, edges: Sequence[Edge], start: int, levels: int, repeated: int
) -> None:
    path = tmp_path / "a.db"
    stores = await open_emptied(path)
    await graph(stores, edges)
    await stores.aclose()
    embedder = FakeEmbedder()
    reach = WARN.model_copy(update={"ancestor_depth": levels})
    async with open_desk(path, drift=reach, embedder=embedder) as desk:
        found = await desk.tasks.judge(TaskId(f"t{start}"), "coder", f"w{repeated}")
    expected = reachable(start, levels, edges)
    assert found.checked_ancestors == len(expected)
    assert found.is_drift == (repeated in expected)
