"""Sessions over a real database, and what their end takes with it."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from pathlib import Path

import anyio
import pytest

from perstack.domain.hooks import HookContext
from perstack.domain.ids import SessionId, TaskId
from perstack.domain.moments import iso8601
from perstack.domain.tasks import Task
from perstack.errors import LockedError, NotFoundError, UsageError
from perstack.ports.stores import Stores
from perstack.ports.system import Uuids
from perstack.services.handle import Handle
from perstack.services.sessions import SessionService
from perstack.storage.database.opener import open_stores
from tests.fakes.consensus import NOW_MS, SetClock

pytestmark = pytest.mark.anyio


class Surroundings:
    """Notes what a session's end asks for. `failing` makes it go wrong."""

    def __init__(self) -> None:
        self.done: list[str] = []
        self.failing = False

    async def execute(self, context: HookContext) -> HookContext:
        self.done.append(f"{context.event} {context.session_id}")
        return context

    async def stop_agents(self, session_id: SessionId) -> None:
        self.done.append(f"stop {session_id}")
        if self.failing:
            raise LockedError("the database is locked")

    async def forget_memory(self, session_id: SessionId) -> None:
        self.done.append(f"forget {session_id}")
        if self.failing:
            await anyio.sleep_forever()


@pytest.fixture
def clock() -> SetClock:
    return SetClock()


@pytest.fixture
async def stores(database_target: Path | str, clock: SetClock) -> AsyncGenerator[Handle[Stores]]:
    handle: Handle[Stores] = Handle(lambda: open_stores(database_target, clock=clock, ids=Uuids()))
    yield handle
    await handle.aclose()


@pytest.fixture
def around() -> Surroundings:
    return Surroundings()


@pytest.fixture
def sessions(stores: Handle[Stores], clock: SetClock, around: Surroundings) -> SessionService:
    return SessionService(
        stores,
        clock=clock,
        ids=Uuids(),
        hooks=around,
        stop_agents=around.stop_agents,
        forget_memory=around.forget_memory,
        bound_s=0.05,
    )


async def test_a_session_begins_active_and_is_read_back(sessions: SessionService) -> None:
    begun = await sessions.start({"goal": "ship it \ud800\0"})
    assert (begun.status, begun.started_at) == ("active", NOW_MS)
    assert await sessions.get(begun.id) == begun
    shown = begun.model_dump(mode="json", by_alias=True)
    assert list(shown) == ["id", "status", "startedAt", "metadata"]
    assert shown["startedAt"] == iso8601(NOW_MS)


async def test_several_are_active_and_the_last_begun_is_the_one(
    sessions: SessionService, clock: SetClock
) -> None:
    assert await sessions.active() is None
    first = await sessions.start()
    clock.move(5)
    second = await sessions.start()
    third = await sessions.start()
    assert await sessions.active() == third
    await sessions.end(third.id)
    assert await sessions.active() == second
    assert [one.id for one in await sessions.list()] == [third.id, second.id, first.id]
    assert [one.id for one in await sessions.list(status="active", limit=1, offset=1)] == [first.id]


async def test_ending_without_an_id_ends_the_active_one(
    sessions: SessionService, clock: SetClock
) -> None:
    begun = await sessions.start()
    clock.move(1_000)
    ended = await sessions.end()
    assert (ended.id, ended.status, ended.ended_at) == (begun.id, "ended", NOW_MS + 1_000)
    with pytest.raises(NotFoundError, match="Session not found or already ended"):
        await sessions.end()


async def test_a_session_that_was_broken_off_says_so(sessions: SessionService) -> None:
    begun = await sessions.start()
    assert (await sessions.end(begun.id, failed=True)).status == "error"


@pytest.mark.parametrize("name", ["nope", "' OR 1=1 --", "\ud800", "a\0b", "x" * 5_000])
async def test_an_unknown_session_is_not_found(sessions: SessionService, name: str) -> None:
    await sessions.start()
    for question in (sessions.get, sessions.status, sessions.end):
        with pytest.raises(NotFoundError, match="Session not found"):
            await question(SessionId(name))


async def test_without_an_active_session_there_is_no_status(sessions: SessionService) -> None:
    with pytest.raises(NotFoundError, match="No active session"):
        await sessions.status()


async def test_a_status_counts_the_sessions_tasks(
    sessions: SessionService, stores: Handle[Stores]
) -> None:
    begun, other = await sessions.start(), await sessions.start()
    for n, owner in enumerate((begun, begun, other)):
        task = Task(id=TaskId(f"t{n}"), session_id=owner.id, agent_type="coder", created_at=NOW_MS)
        await stores.ask(lambda s, task=task: s.tasks.add(task))
    report = await sessions.status(begun.id)
    shown = report.model_dump(mode="json", by_alias=True)
    assert shown["tasks"] == {
        "total": 2,
        "pending": 2,
        "running": 0,
        "completed": 0,
        "failed": 0,
    }


async def test_the_end_stops_its_agents_and_empties_its_memory_in_order(
    sessions: SessionService, around: Surroundings
) -> None:
    begun = await sessions.start()
    await sessions.end()
    assert around.done == [
        f"session-start {begun.id}",
        f"stop {begun.id}",
        f"session-end {begun.id}",
        f"forget {begun.id}",
    ]


async def test_a_session_ends_even_if_what_follows_fails(
    sessions: SessionService, around: Surroundings, caplog: pytest.LogCaptureFixture
) -> None:
    around.failing = True
    await sessions.start()
    assert (await sessions.end()).status == "ended"
    assert "stopping its agents failed: the database is locked" in caplog.text
    assert "forgetting its memory was given up after 0.05 s" in caplog.text


async def test_of_many_who_end_a_session_one_does(
    sessions: SessionService, around: Surroundings
) -> None:
    begun = await sessions.start()
    lost = 0

    async def end() -> None:
        nonlocal lost
        try:
            await sessions.end(begun.id)
        except NotFoundError:
            lost += 1

    async with anyio.create_task_group() as group:
        for _ in range(20):
            group.start_soon(end)
    assert lost == 19
    assert len([what for what in around.done if what.startswith("session-end")]) == 1


async def test_bounds_are_checked(sessions: SessionService) -> None:
    with pytest.raises(UsageError, match="metadata must have at most"):
        await sessions.start({"x": "y" * 70_000})
    with pytest.raises(UsageError, match="limit must be 1 to 1,000"):
        await sessions.list(limit=0)
    with pytest.raises(UsageError, match="Invalid status 'open'"):
        await sessions.list(status="open")
