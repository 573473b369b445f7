"""The history of a long job is folded in pieces, and says the same as in one."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from dataclasses import replace

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from perstack.domain.events import Delta, Event
from perstack.domain.ids import ExpertKey, JobId, RunId
from perstack.ports.history import FeedBatch
from perstack.projection.workspace import WorkspaceFold
from perstack_tui.ports.gateway import Update
from perstack_tui.state.pump import MOST_WAITING, PIECE, Pump, pieces
from tests.fakes.events import called_tools, completed, generation, make_event


def history(count: int, run: str = "run1") -> tuple[Event, ...]:
    bodies = (generation(), called_tools(7))
    return tuple(make_event(bodies[seq % 2], seq, at=1_000 + seq, run=run) for seq in range(count))


def said(run: str) -> Delta:
    return Delta(
        job_id=JobId("job1"),
        run_id=RunId(run),
        expert_key=ExpertKey("expert"),
        step_number=1,
        stream="text",
        kind="delta",
        text="Well,",
    )


@given(st.integers(0, 3 * PIECE + 1), st.integers(0, 2 * PIECE), st.booleans())
def test_pieces_are_short_and_together_are_the_batch(own: int, other: int, caught: bool) -> None:
    events = history(own) + history(other, "run2")
    batch = FeedBatch(events=events, deltas=(said("run1"), said("run2")), caught_up=caught)
    found = list(pieces(batch))
    assert all(len(piece.events) <= PIECE for piece in found)
    assert tuple(event for piece in found for event in piece.events) == events
    assert sorted(d.run_id for piece in found for d in piece.deltas) == ["run1", "run2"]
    assert [piece.caught_up for piece in found] == [False] * (len(found) - 1) + [caught]


def test_view_of_a_long_batch_is_the_same_in_pieces() -> None:
    events = (*history(PIECE + 50), *history(2 * PIECE, "run2"))
    last = make_event(completed(), 2 * PIECE, at=9_000, run="run2")
    batch = FeedBatch(events=(*events, last), deltas=(said("run2"),), caught_up=True)
    whole, pump = WorkspaceFold(), Pump(WorkspaceFold(), lambda: 0.0)
    whole.apply(batch)
    pump.offer(batch)
    pump.drain(10_000)
    whole.tick(10_000)
    assert pump.fold.view() == whole.view()
    assert pump.fold.live(RunId("run2")).text == whole.live(RunId("run2")).text == ""


def test_a_helping_ends_long_before_a_long_batch() -> None:
    seconds = iter(range(1_000))
    pump = Pump(WorkspaceFold(), lambda: float(next(seconds)))
    pump.offer(FeedBatch(events=history(3 * PIECE), caught_up=True))
    pump.drain(10_000)
    assert pump.dirty
    assert not pump.fold.view().caught_up


def test_a_short_batch_is_not_taken_apart() -> None:
    batch = replace(FeedBatch(events=history(3)), caught_up=True)
    assert list(pieces(batch)) == [batch]


@pytest.mark.anyio
async def test_what_comes_faster_than_it_is_folded_waits_and_leaving_lets_it_pass() -> None:
    pump, asked = Pump(WorkspaceFold(), lambda: 0.0), 0

    async def flood() -> AsyncGenerator[Update, None]:
        nonlocal asked
        for _ in range(3 * MOST_WAITING):
            asked += 1
            yield FeedBatch()

    with anyio.fail_after(20):
        async with anyio.create_task_group() as group:
            group.start_soon(pump.consume, flood(), lambda: None)
            await anyio.wait_all_tasks_blocked()
            assert asked == MOST_WAITING + 1
            pump.drain(10_000)
            await anyio.wait_all_tasks_blocked()
            assert asked == 2 * (MOST_WAITING + 1)
            pump.let_pass()
    assert asked == 3 * MOST_WAITING
    assert not pump.dirty


@pytest.mark.anyio
async def test_a_long_batch_counts_as_many_as_it_holds() -> None:
    pump, asked = Pump(WorkspaceFold(), lambda: 0.0), 0

    async def two() -> AsyncGenerator[Update, None]:
        nonlocal asked
        for _ in range(2):
            asked += 1
            yield FeedBatch(events=history(MOST_WAITING + 1))

    with anyio.fail_after(20):
        async with anyio.create_task_group() as group:
            group.start_soon(pump.consume, two(), lambda: None)
            await anyio.wait_all_tasks_blocked()
            assert asked == 1
            while pump.dirty:
                pump.drain(10_000)
            await anyio.wait_all_tasks_blocked()
            assert asked == 2
            pump.let_pass()
