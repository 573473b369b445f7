"""What changed in any table since a moment: the same over SQLite and PostgreSQL."""

from __future__ import annotations

from pathlib import Path

import pytest

from perstack.domain.sessions import Session
from perstack.ports.glimpses import Marks
from perstack.ports.reviews import Lease
from perstack.ports.system import SystemClock, Uuids
from perstack.storage.database.opener import open_stores
from tests.fakes.consensus import NOW_MS, make_checkpoint
from tests.fakes.reviewing import make_workflow_run

pytestmark = pytest.mark.anyio


async def test_what_is_new_or_changed_is_found_and_nothing_else(
    database_target: Path | str,
) -> None:
    stores = await open_stores(database_target, clock=SystemClock(), ids=Uuids())
    try:
        assert not await stores.glimpses.numbers()
        session = Session(id=Uuids().new(), started_at=NOW_MS)  # pyright: ignore[reportArgumentType]
        run = make_workflow_run()
        await stores.sessions.add(session)
        await stores.workflows.add(run)
        await stores.consensus.create(make_checkpoint(expires_at=NOW_MS + 5))
        found = await stores.glimpses.since(Marks(NOW_MS, NOW_MS))
        assert [one.kind for one in found] == ["session", "workflow", "consensus"]
        assert await stores.glimpses.next_expiry() == NOW_MS + 5

        later = Marks(NOW_MS + 1, NOW_MS + 1, await stores.glimpses.numbers())
        assert [one.kind for one in await stores.glimpses.since(later)] == ["workflow"]
        await stores.sessions.end(session.id, now_ms=NOW_MS + 1)
        lease = Lease("driver", NOW_MS, NOW_MS - 1)
        await stores.workflows.claim(run.id, lease)
        await stores.workflows.finish(run.id, lease, report=None, error="no")
        assert [one.kind for one in await stores.glimpses.since(later)] == ["session"]
        known = Marks(NOW_MS + 9, NOW_MS + 9, later.numbers, {run.id: 0})
        assert [one.kind for one in await stores.glimpses.since(known)] == ["workflow"]
    finally:
        await stores.aclose()
