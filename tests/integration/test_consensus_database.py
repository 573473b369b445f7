"""Opening the database: made whole or not at all, brought up to date once, damage named."""

from __future__ import annotations

import os
import shutil
import sqlite3
import stat
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
import sqlalchemy as sa
from anyio import to_thread

from perstack.errors import CorruptRecordError, LockedError, StorageError, UsageError
from perstack.storage.database.engine import connect
from perstack.storage.database.migrations import MIGRATIONS
from perstack.storage.database.opener import (
    has_database,
    open_consensus_store,
    open_database,
    place_of,
)
from tests.fakes.consensus import SetClock, make_checkpoint

KNOWN = len(MIGRATIONS)

pytestmark = pytest.mark.anyio


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "perstack" / "perstack.db"


async def fill(path: Path, count: int = 1) -> None:
    store = await open_consensus_store(path, clock=SetClock())
    for n in range(count):
        await store.create(make_checkpoint(f"k{n}"))
    await store.aclose()


def names(folder: Path) -> list[str]:
    return sorted(entry.name for entry in folder.iterdir())


def add_colour(connection: sa.Connection) -> None:
    connection.exec_driver_sql("ALTER TABLE consensus_checkpoints ADD COLUMN colour TEXT")


def fail_halfway(connection: sa.Connection) -> None:
    add_colour(connection)
    connection.exec_driver_sql("INSERT INTO no_such_table VALUES (1)")


async def migrate(path: Path, *more: Callable[[sa.Connection], None]) -> None:
    """Open the database with these further versions of the schema, and close it again."""

    def open_and_close() -> None:
        connect(path, busy_s=5, migrations=[*MIGRATIONS, *more]).engine.dispose()

    await to_thread.run_sync(open_and_close)


def columns(path: Path) -> list[str]:
    with closing(sqlite3.connect(path)) as raw:
        return [row[1] for row in raw.execute("PRAGMA table_info(consensus_checkpoints)")]


# ------------------------------------------------------------------ making


async def test_a_new_database_is_private_whatever_the_umask(path: Path) -> None:
    before = os.umask(0)
    try:
        await fill(path)
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert names(path.parent) == ["perstack.db"]


async def test_the_files_beside_an_open_database_are_private_too(path: Path) -> None:
    database = await open_database(path)
    await database.write(lambda connection: connection.exec_driver_sql("CREATE TABLE t (a)"))
    modes = {stat.S_IMODE(entry.stat().st_mode) for entry in path.parent.iterdir()}
    await database.aclose()
    assert modes == {0o600}


async def test_decisions_are_synchronous_and_do_not_block_readers(path: Path) -> None:
    database = await open_database(path)
    settings = await database.read(
        lambda connection: [
            connection.exec_driver_sql(f"PRAGMA {name}").scalar()
            for name in ("journal_mode", "synchronous", "foreign_keys", "busy_timeout")
        ]
    )
    await database.aclose()
    assert settings == ["wal", 2, 1, 5000]


async def test_a_draft_left_by_a_killed_process_is_replaced(path: Path) -> None:
    path.parent.mkdir()
    for suffix in (".new", ".new-wal", ".new-shm"):
        path.with_name(path.name + suffix).write_bytes(b"half a database")
    await fill(path)
    assert names(path.parent) == ["perstack.db"]


async def test_asking_whether_there_is_a_database_makes_none(tmp_path: Path) -> None:
    assert not has_database(tmp_path)
    assert names(tmp_path) == []
    await fill(tmp_path / "perstack" / "perstack.db")
    assert has_database(tmp_path)


def test_importing_the_opener_loads_no_sqlalchemy() -> None:
    code = (
        "import sys, perstack.storage.database.opener, perstack.services.consensus,"
        " perstack.services.notify, perstack.cli.consensus;"
        "print([m for m in ('sqlalchemy', 'psutil', 'httpx2', 'rich') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


async def test_a_url_is_opened_like_a_path(path: Path) -> None:
    await fill(path)
    database = await open_database(f"sqlite:///{path}")
    assert database.place == str(path)
    await database.aclose()


@pytest.mark.parametrize(
    "url",
    [
        "postgresql+://ana:hunter2@@:x/",
        "postgresql://ana:hunter2@db:port/name",
        "postgresql://ana:x@hunter2@db/name",
        "mysql://ana:hunter2@db/name",
        "file:///hunter2.db",
        "sqlite://hunter2",
        "sqlite:///hunter2.db",
        "hunter2",
    ],
)
async def test_a_url_of_no_database_that_can_be_used_is_refused_and_not_repeated(url: str) -> None:
    with pytest.raises(UsageError) as caught:
        await open_database(url)
    assert "hunter2" not in str(caught.value) + str(caught.value.hint)
    assert caught.value.hint


def test_a_server_is_shown_without_what_may_be_secret() -> None:
    url = "postgresql+psycopg://ana:hunter2@db:5433/name?password=hunter3"
    assert place_of(url) == "postgresql+psycopg://ana:***@db:5433/name"


# ------------------------------------------------------------------ damage


@pytest.mark.parametrize("size", [0, 1, 15, 99, 100, 512, 4096, 5000, 12_288])
async def test_a_truncated_database_is_refused_and_left_alone(path: Path, size: int) -> None:
    await fill(path, 50)
    os.truncate(path, size)
    before = path.read_bytes()
    with pytest.raises(CorruptRecordError, match="is damaged") as caught:
        await open_consensus_store(path, clock=SetClock())
    assert str(path) in caught.value.message
    assert caught.value.hint is not None
    assert "backup" in caught.value.hint
    assert path.read_bytes() == before


async def test_a_database_emptied_beside_its_wal_is_refused(path: Path) -> None:
    store = await open_consensus_store(path, clock=SetClock())
    await store.create(make_checkpoint())
    os.truncate(path, 0)
    with pytest.raises(CorruptRecordError, match="cut off at 0 bytes"):
        await open_consensus_store(path, clock=SetClock())
    await store.aclose()


async def test_a_removed_database_whose_wal_is_left_is_not_made_anew(path: Path) -> None:
    path.parent.mkdir()
    path.with_name("perstack.db-wal").write_bytes(b"x" * 100)
    with pytest.raises(CorruptRecordError, match="is gone, but its -wal file is there"):
        await open_consensus_store(path, clock=SetClock())
    assert names(path.parent) == ["perstack.db-wal"]


async def test_a_file_of_another_kind_is_refused(path: Path) -> None:
    path.parent.mkdir()
    path.write_text("hello " * 100)
    with pytest.raises(CorruptRecordError, match="is not a database"):
        await open_consensus_store(path, clock=SetClock())


async def test_a_database_of_another_program_is_refused(path: Path) -> None:
    path.parent.mkdir()
    with closing(sqlite3.connect(path)) as raw:
        raw.execute("CREATE TABLE cookies (a)")
    with pytest.raises(CorruptRecordError, match="holds no Perstack schema"):
        await open_consensus_store(path, clock=SetClock())


async def test_zeroed_pages_are_found_on_opening(path: Path) -> None:
    await fill(path, 50)
    with path.open("r+b") as file:
        file.seek(2 * 4096)
        file.write(bytes(4 * 4096))
    with pytest.raises(CorruptRecordError, match="is damaged"):
        await open_consensus_store(path, clock=SetClock())


async def test_a_planted_trigger_that_would_approve_is_refused(path: Path) -> None:
    await fill(path)
    with closing(sqlite3.connect(path)) as raw:
        raw.execute(
            "CREATE TRIGGER yes AFTER INSERT ON consensus_checkpoints BEGIN"
            " UPDATE consensus_checkpoints SET status = 'approved'; END"
        )
    with pytest.raises(CorruptRecordError, match="triggers or views"):
        await open_consensus_store(path, clock=SetClock())


async def test_a_folder_in_its_place_is_refused(path: Path) -> None:
    path.mkdir(parents=True)
    with pytest.raises(StorageError, match=r"perstack\.db"):
        await open_consensus_store(path, clock=SetClock())


async def test_a_workspace_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "perstack").write_text("a file where the folder should be")
    with pytest.raises(StorageError, match=r"perstack\.db cannot be read or written"):
        await open_consensus_store(tmp_path / "perstack" / "perstack.db", clock=SetClock())


@pytest.mark.parametrize("replaced", [True, False])
async def test_a_file_swapped_while_open_is_noticed(
    path: Path, tmp_path: Path, replaced: bool
) -> None:
    await fill(path)
    shutil.copy(path, tmp_path / "copy.db")
    store = await open_consensus_store(path, clock=SetClock())
    path.unlink()
    if replaced:
        (tmp_path / "copy.db").rename(path)
    with pytest.raises(StorageError, match="was replaced" if replaced else "was removed"):
        await store.create(make_checkpoint("k9"))
    await store.aclose()


async def test_a_lock_that_outlasts_the_bound_is_an_error_with_a_hint(path: Path) -> None:
    store = await open_consensus_store(path, clock=SetClock(), busy_s=0.05)
    with closing(sqlite3.connect(path, isolation_level=None)) as raw:
        raw.execute("BEGIN IMMEDIATE")
        with pytest.raises(LockedError, match="is locked by another process") as caught:
            await store.create(make_checkpoint("secret-id"))
    assert caught.value.hint is not None
    assert "secret-id" not in str(caught.value)
    await store.create(make_checkpoint())
    await store.aclose()


async def test_a_full_disk_is_named_and_nothing_is_lost(path: Path) -> None:
    await fill(path)
    database = await open_database(path)

    def grow(connection: sa.Connection) -> None:
        connection.exec_driver_sql("CREATE TABLE big (a)")
        connection.exec_driver_sql("INSERT INTO big VALUES (zeroblob(10000000))")

    await database.read(lambda c: c.exec_driver_sql("PRAGMA max_page_count = 100").scalar())
    with pytest.raises(StorageError, match="the disk is full"):
        await database.write(grow)
    await database.aclose()
    store = await open_consensus_store(path, clock=SetClock())
    assert len(await store.list()) == 1
    await store.aclose()


async def test_a_closed_database_says_so(path: Path) -> None:
    store = await open_consensus_store(path, clock=SetClock())
    await store.aclose()
    await store.aclose()
    with pytest.raises(StorageError, match="was closed"):
        await store.list()


# -------------------------------------------------------------- migrations


async def test_a_newer_schema_is_refused_and_left_alone(path: Path) -> None:
    await fill(path)
    await migrate(path, add_colour)
    before = path.read_bytes()
    with pytest.raises(StorageError, match=rf"newer Perstack \(schema {KNOWN + 1}; .* {KNOWN}\)"):
        await open_consensus_store(path, clock=SetClock())
    assert path.read_bytes() == before


async def test_an_old_schema_is_migrated_after_a_backup(path: Path) -> None:
    await fill(path, 3)
    await migrate(path, add_colour)
    backup = path.with_name(f"perstack.db.bak-{KNOWN}")
    assert "colour" in columns(path)
    assert "colour" not in columns(backup)
    assert stat.S_IMODE(backup.stat().st_mode) == 0o600
    store = await open_consensus_store(backup, clock=SetClock())
    assert len(await store.list()) == 3
    await store.aclose()


async def test_a_migration_that_fails_leaves_the_old_schema(path: Path) -> None:
    await fill(path)
    with pytest.raises(StorageError, match="no such table"):
        await migrate(path, fail_halfway)
    assert "colour" not in columns(path)
    await migrate(path, add_colour)
    assert "colour" in columns(path)


async def test_a_failed_first_migration_leaves_no_database(path: Path) -> None:
    with pytest.raises(StorageError, match="no such table"):
        await migrate(path, fail_halfway)
    assert not path.exists()
    await fill(path)
