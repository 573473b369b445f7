"""The contracts of `ReviewStore` and `WorkflowStore`, over every database that is at hand."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncGenerator
from pathlib import Path

import anyio
import pytest

from perstack.domain.ids import SessionId
from perstack.domain.reviews import LoopId, Review, ReviewIssue, after_review, with_code
from perstack.domain.workflows import Finding, PhaseResult, WorkflowRunId, make_report
from perstack.errors import ConflictError, CorruptRecordError, NotFoundError
from perstack.ports.reviews import Lease
from perstack.ports.stores import Stores
from perstack.ports.system import Uuids
from perstack.storage.database.opener import open_stores
from tests.fakes.consensus import NOW_MS, SetClock
from tests.fakes.reviewing import make_loop, make_review, make_workflow_run

pytestmark = pytest.mark.anyio

L1 = LoopId("loop1")
W1 = WorkflowRunId("w1")
WILD = ["\ud800 lone", "nul \0", "\x1b]52;c;x\x07", "\u202eabc", "x" * 10**6]


def lease(driver: str = "me", *, now: int = NOW_MS) -> Lease:
    return Lease(driver, now, now - 10_000)


@pytest.fixture
async def stores(database_target: Path | str) -> AsyncGenerator[Stores]:
    opened = await open_stores(database_target, clock=SetClock(), ids=Uuids())
    yield opened
    await opened.aclose()


async def add_driven(stores: Stores) -> None:
    """Add a loop and a run, both driven by `me`."""
    await stores.reviews.add(make_loop())
    assert await stores.reviews.claim(L1, lease())
    await stores.workflows.add(make_workflow_run())
    assert await stores.workflows.claim(W1, lease())


async def test_a_loop_is_read_back_the_same_with_its_reviews(stores: Stores) -> None:
    loop = with_code(make_loop(), "print(1)", None)
    await stores.reviews.add(loop)
    assert await stores.reviews.claim(L1, lease())
    review = make_review("REJECT", issues=2)
    fixing = after_review(loop, review, now_ms=NOW_MS)
    assert await stores.reviews.advance(fixing, lease(), expected="reviewing", review=review)
    assert await stores.reviews.get(L1) == fixing


async def test_any_text_survives_in_a_review(stores: Stores) -> None:
    reviews = tuple(
        make_review("REJECT").model_copy(
            update={
                "issues": (ReviewIssue(id="i1", severity="LOW", title=text, impact=text),),
                "summary": text,
            }
        )
        for text in WILD
    )
    await stores.reviews.add(make_loop(reviews=reviews))
    assert (await stores.reviews.get(L1)).reviews == reviews


async def test_code_that_no_database_takes_is_made_harmless(stores: Stores) -> None:
    await stores.reviews.add(with_code(make_loop(), "a\ud800b\0c", None))
    code = (await stores.reviews.get(L1)).current_code
    assert code is not None
    assert code.replace("\ufffd", "") == "abc"


async def test_unknown_and_malformed_ids_are_not_found(stores: Stores) -> None:
    for name in ("nope", "' OR 1=1 --", "\ud800", "a\0b", "x" * 5_000):
        with pytest.raises(NotFoundError, match="Review loop not found"):
            await stores.reviews.get(LoopId(name))
        with pytest.raises(NotFoundError, match="Workflow run not found"):
            await stores.workflows.get(WorkflowRunId(name))
        assert not await stores.reviews.abort(LoopId(name), now_ms=NOW_MS)
        assert not await stores.workflows.claim(WorkflowRunId(name), lease())


async def test_an_id_is_used_once(stores: Stores) -> None:
    await stores.reviews.add(make_loop())
    with pytest.raises(ConflictError):
        await stores.reviews.add(make_loop())
    await stores.workflows.add(make_workflow_run())
    with pytest.raises(ConflictError):
        await stores.workflows.add(make_workflow_run())


async def test_loops_are_listed_newest_first_by_status_and_session(stores: Stores) -> None:
    for number in range(3):
        session = SessionId("s") if number == 1 else None
        loop = make_loop(f"l{number}").model_copy(update={"session_id": session})
        await stores.reviews.add(loop)
    await stores.reviews.abort(LoopId("l2"), now_ms=NOW_MS)
    store = stores.reviews
    assert [one.id for one in await store.list()] == ["l2", "l1", "l0"]
    assert [one.id for one in await store.list(limit=1)] == ["l2"]
    assert [one.id for one in await store.list(statuses=["pending"])] == ["l1", "l0"]
    assert [one.id for one in await store.list(session_id=SessionId("s"))] == ["l1"]


async def test_a_loop_moves_once_and_only_for_its_driver(stores: Stores) -> None:
    await add_driven(stores)
    coding = make_loop().model_copy(update={"status": "coding"})
    assert not await stores.reviews.advance(coding, lease("you"), expected="pending")
    assert await stores.reviews.advance(coding, lease(), expected="pending")
    assert not await stores.reviews.advance(coding, lease(), expected="pending")


async def test_an_aborted_loop_stays_aborted(stores: Stores) -> None:
    await add_driven(stores)
    assert await stores.reviews.abort(L1, now_ms=NOW_MS + 5)
    assert not await stores.reviews.abort(L1, now_ms=NOW_MS + 6)
    coding = make_loop().model_copy(update={"status": "coding"})
    assert not await stores.reviews.advance(coding, lease(), expected="pending")
    assert not await stores.reviews.beat(L1, lease())
    assert not await stores.reviews.claim(L1, lease("you", now=NOW_MS + 10**6))
    found = await stores.reviews.get(L1)
    assert (found.status, found.completed_at) == ("aborted", NOW_MS + 5)


async def test_a_loop_is_taken_over_when_its_driver_is_silent_or_let_go(stores: Stores) -> None:
    await add_driven(stores)
    assert await stores.reviews.beat(L1, lease(now=NOW_MS + 9_000))
    assert not await stores.reviews.claim(L1, lease("you", now=NOW_MS + 19_000))
    assert await stores.reviews.claim(L1, lease("you", now=NOW_MS + 19_001))
    assert not await stores.reviews.beat(L1, lease(now=NOW_MS + 19_002))
    await stores.reviews.release(L1, lease())
    assert not await stores.reviews.claim(L1, lease("third", now=NOW_MS + 19_003))
    await stores.reviews.release(L1, lease("you"))
    assert await stores.reviews.claim(L1, lease("third", now=NOW_MS + 19_003))


async def test_of_many_that_take_over_one_does(stores: Stores, database_target: Path | str) -> None:
    await stores.reviews.add(make_loop())
    assert await stores.reviews.claim(L1, lease(now=0))
    taken: list[bool] = []

    async def take(number: int) -> None:
        mine = await open_stores(database_target, clock=SetClock(), ids=Uuids())
        taken.append(await mine.reviews.claim(L1, lease(f"p{number}")))
        await mine.aclose()

    async with anyio.create_task_group() as tasks:
        for number in range(6):
            tasks.start_soon(take, number)
    assert sorted(taken) == [False] * 5 + [True]


async def test_results_of_phases_are_kept_in_order_with_any_text(stores: Stores) -> None:
    await add_driven(stores)
    results = [
        PhaseResult(
            phase="analysis",
            success=False,
            findings=(Finding(claim=text, contradiction=text, severity="high", evidence=(text,)),),
            artifacts={"text": text},
            duration=7,
        )
        for text in WILD
    ]
    for number, result in enumerate(results):
        assert await stores.workflows.add_result(W1, number, result, lease())
    assert (await stores.workflows.get(W1)).results == tuple(results)


async def test_a_report_ends_a_run_once(stores: Stores) -> None:
    await add_driven(stores)
    result = PhaseResult(phase="inventory", success=True)
    await stores.workflows.add_result(W1, 0, result, lease())
    report = make_report(await stores.workflows.get(W1), now_ms=NOW_MS + 50)
    ended = lease(now=NOW_MS + 50)
    assert await stores.workflows.finish(W1, ended, report=report, error=None)
    assert not await stores.workflows.finish(W1, ended, report=None, error="late")
    assert not await stores.workflows.add_result(W1, 1, result, ended)
    assert not await stores.workflows.abort(W1, now_ms=NOW_MS)
    found = await stores.workflows.get(W1)
    assert (found.status, found.report, found.completed_at) == ("completed", report, NOW_MS + 50)
    assert [one.id for one in await stores.workflows.list()] == [W1]


async def test_a_run_that_another_took_over_is_not_written_to(stores: Stores) -> None:
    await add_driven(stores)
    await stores.workflows.release(W1, lease())
    assert await stores.workflows.claim(W1, lease("you"))
    result = PhaseResult(phase="inventory", success=True)
    assert not await stores.workflows.beat(W1, lease())
    assert not await stores.workflows.add_result(W1, 0, result, lease())
    assert not await stores.workflows.finish(W1, lease(), report=None, error="x")
    assert (await stores.workflows.get(W1)).results == ()


@pytest.mark.parametrize(
    "damage",
    [
        "UPDATE review_results SET review = '{'",
        "UPDATE review_results SET review = '[1]'",
        "UPDATE review_loops SET max_iterations = 'many'",
    ],
)
async def test_a_damaged_row_is_said_to_be_damaged(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "perstack.db"
    opened = await open_stores(path, clock=SetClock(), ids=Uuids())
    loop: Review = make_review("REJECT")
    await opened.reviews.add(make_loop(reviews=(loop,)))
    with sqlite3.connect(path) as connection:
        connection.execute(damage)
    connection.close()
    with pytest.raises(CorruptRecordError, match="loop1"):
        await opened.reviews.get(L1)
    await opened.aclose()
