"""Driving what only one process may drive, when the database is not to be had for a while."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import anyio
import pytest

from perstack.domain.reviews import ReviewLoop
from perstack.errors import LockedError
from perstack.ports.experts import ExpertAnswer, ExpertRequest
from perstack.ports.stores import Stores
from perstack.ports.system import SystemClock, Uuids
from perstack.services import leases
from perstack.services.bus import MessageBus
from perstack.services.handle import Handle
from perstack.services.reviews.service import ReviewLoops
from perstack.storage.database.opener import open_stores
from tests.fakes.crew import FakeCrew
from tests.fakes.review_workers import review
from tests.fakes.runner import FakeRunner, key_of

pytestmark = pytest.mark.anyio


async def test_a_review_is_not_lost_to_a_database_that_is_locked_for_a_while(
    tmp_path: Path,
) -> None:
    path = tmp_path / "perstack.db"
    stores: Handle[Stores] = Handle(
        lambda: open_stores(path, clock=SystemClock(), ids=Uuids(), busy_s=0.05)
    )
    await stores.ask(lambda opened: opened.version())
    others = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    reviewed = anyio.Event()

    async def answer(request: ExpertRequest) -> ExpertAnswer:
        if key_of(request) == "adversarial":
            others.execute("BEGIN IMMEDIATE")
            reviewed.set()
        return await review(request)

    loops = ReviewLoops(
        stores,
        runner=FakeRunner(answer),
        crew=FakeCrew(),
        bus=MessageBus(),
        clock=SystemClock(),
        ids=Uuids(),
    )
    ended: list[ReviewLoop] = []

    async def drive() -> None:
        ended.append(await loops.start("add"))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(drive)
        await reviewed.wait()
        with pytest.raises(LockedError):
            await loops.create("another")
        assert ended == []
        others.execute("COMMIT")
    others.close()
    assert [loop.status for loop in ended] == ["approved"]
    await stores.aclose()


async def test_a_database_that_stays_locked_is_said_to_be(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(leases, "LOCKED_S", 0.0)

    async def locked() -> None:
        raise LockedError("locked")

    with pytest.raises(LockedError):
        await leases.patiently(locked)
