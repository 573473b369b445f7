"""A handle over a real database: what was removed is not made anew, who was overtaken asks on."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from pathlib import Path

import anyio
import pytest

from perstack.errors import CorruptRecordError, StorageError
from perstack.ports.stores import Stores
from perstack.ports.system import Uuids
from perstack.ports.tasks import TaskFilter
from perstack.services.handle import Handle
from perstack.storage.database.opener import database_path, open_stores
from perstack.wiring import Tables, open_tables
from tests.fakes.consensus import SetClock
from tests.fakes.tasks import make_task

pytestmark = pytest.mark.anyio


@pytest.fixture
async def tables(tmp_path: Path) -> AsyncGenerator[Tables]:
    opened = open_tables(tmp_path)
    yield opened
    await opened.aclose()


async def count(tables: Tables) -> int:
    return (await tables.stores.ask(lambda stores: stores.tasks.count(TaskFilter()))).total


async def test_a_database_that_was_removed_is_never_made_anew(
    tables: Tables, tmp_path: Path
) -> None:
    path = database_path(tmp_path)
    await tables.stores.ask(lambda stores: stores.tasks.add(make_task()))
    await tables.memory.ask(lambda store: store.version())
    kept = path.rename(tmp_path / "kept.db")
    for _ in range(3):
        with pytest.raises(StorageError, match="was removed") as caught:
            await count(tables)
        with pytest.raises(StorageError, match="was removed"):
            await tables.memory.ask(lambda store: store.version())
        assert caught.value.hint is not None
    assert not path.exists()
    kept.rename(path)
    assert await count(tables) == 1


async def test_a_server_is_opened_again_all_the_same(database_target: Path | str) -> None:
    async def open_() -> Stores:
        return await open_stores(database_target, clock=SetClock(), ids=Uuids())

    async def open_again() -> Stores:
        return await open_stores(database_target, clock=SetClock(), ids=Uuids(), create=False)

    handle = Handle(open_, open_again=open_again)
    await handle.ask(lambda stores: stores.tasks.add(make_task("again")))
    await handle.aclose()
    assert await handle.ask(lambda stores: stores.tasks.delete(make_task("again").id))
    await handle.aclose()


async def test_one_question_s_failure_is_not_another_s(tables: Tables) -> None:
    asked, failed = anyio.Event(), anyio.Event()
    found: list[int] = []

    async def fails(stores: Stores) -> None:
        await asked.wait()
        raise CorruptRecordError("a damaged row")

    async def slow(stores: Stores) -> int:
        asked.set()
        await failed.wait()
        return (await stores.tasks.count(TaskFilter())).total

    async def ask() -> None:
        found.append(await tables.stores.ask(slow))

    with anyio.fail_after(20):
        async with anyio.create_task_group() as group:
            group.start_soon(ask)
            with pytest.raises(CorruptRecordError):
                await tables.stores.ask(fails)
            failed.set()
    assert found == [0]


async def test_a_question_that_the_end_overtakes_opens_nothing_again(tables: Tables) -> None:
    asked: list[Stores] = []

    async def late(stores: Stores) -> int:
        asked.append(stores)
        if len(asked) == 1:
            await tables.stores.aclose()
        return (await stores.tasks.count(TaskFilter())).total

    with pytest.raises(StorageError, match="was closed"):
        await tables.stores.ask(late)
    assert len(asked) == 1
