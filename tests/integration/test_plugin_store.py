"""The contract of `PluginStore`, over every database that is at hand."""

from __future__ import annotations

from pathlib import Path

import pytest

from perstack.domain.plugins import PluginRecord
from perstack.errors import CorruptRecordError
from perstack.ports.system import Uuids
from perstack.storage.database.opener import open_database, open_stores
from tests.fakes.consensus import NOW_MS, SetClock

pytestmark = pytest.mark.anyio


def record(name: str, *, enabled: bool = True, at: int = NOW_MS) -> PluginRecord:
    return PluginRecord(
        name=name,
        version="1.0.0",
        source="folder",
        enabled=enabled,
        digest="ab" * 32,
        location="/somewhere/é",
        config={"key": "${KEY}", "more": [None, "\0\ud800"]},
        installed_at=at,
        updated_at=at,
    )


async def test_what_was_decided_is_kept_replaced_and_forgotten(
    database_target: Path | str,
) -> None:
    opened = await open_stores(database_target, clock=SetClock(), ids=Uuids())
    store = opened.plugins
    for name in ("b", "a"):
        await store.save(record(name))
    assert await store.find("a") == record("a")
    assert [one.name for one in await store.list()] == ["a", "b"]
    await store.save(record("a", enabled=False, at=NOW_MS + 9))
    found = await store.find("a")
    assert found is not None
    assert (found.enabled, found.installed_at, found.updated_at) == (False, NOW_MS, NOW_MS + 9)
    assert await store.delete("a")
    assert not await store.delete("a")
    assert await store.find("' OR 1=1 --\0") is None
    await opened.aclose()


async def test_a_damaged_record_is_named(tmp_path: Path) -> None:
    target = tmp_path / "x.db"
    opened = await open_stores(target, clock=SetClock(), ids=Uuids())
    await opened.plugins.save(record("a"))
    damaging = await open_database(target)
    await damaging.write(
        lambda connection: connection.exec_driver_sql("UPDATE plugins SET config = '['")
    )
    await damaging.aclose()
    with pytest.raises(CorruptRecordError, match="plugin 'a' is damaged"):
        await opened.plugins.list()
    await opened.aclose()
