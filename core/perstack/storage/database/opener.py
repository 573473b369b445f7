"""The light way in: what is heavy is imported in the worker thread that opens the database."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

from anyio import to_thread

from perstack.errors import UsageError

if TYPE_CHECKING:
    from perstack.ports.consensus import ConsensusStore
    from perstack.ports.memory import MemoryStore
    from perstack.ports.stores import Stores
    from perstack.ports.system import Clock, Ids
    from perstack.storage.database.engine import Database

DATABASE_NAME: Final = "perstack.db"
BUSY_S: Final = 5.0
_URLS: Final = ("postgresql://", "postgresql+psycopg://", "sqlite:////")


def database_path(workspace: Path) -> Path:
    """Return where a workspace's database is, or would be."""
    return workspace / "perstack" / DATABASE_NAME


def has_database(workspace: Path) -> bool:
    """Say whether a workspace has a database, or what is left of one."""
    path = database_path(workspace)
    try:
        return path.exists() or path.with_name(path.name + "-wal").exists()
    except OSError:
        # Opening it will say what is the matter.
        return True


def check_url(text: str) -> str:
    """Return the URL of a database if it is one that can be used. Loads no database library.

    Raises:
        UsageError: it is neither PostgreSQL's nor that of a file with its whole path; the text is
            not repeated, since it may hold a password.
    """
    if text.startswith(_URLS):
        return text
    raise UsageError(
        "the database's URL is neither PostgreSQL's nor that of an SQLite file",
        hint="write postgresql://USER@HOST/NAME, or sqlite:////FOLDER/FILE with its whole path",
    )


def place_of(target: Path | str) -> str:
    """Return where a database is, as it may be shown: a URL without password and query.

    Raises:
        UsageError: it is no URL that can be used.
    """
    if isinstance(target, Path):
        return str(target)
    from perstack.storage.database.engine import place_of_url

    return place_of_url(target)


async def open_database(target: Path | str, *, busy_s: float = BUSY_S) -> Database:
    """Open a database, making it if there is none, and bring its schema up to date.

    `target` is a file for SQLite, or a URL. A lock that others hold is waited for `busy_s` seconds,
    here and in everything done with the database later.

    Raises:
        LockedError: it stayed locked.
        CorruptRecordError: the file is damaged, no database, or not one of ours.
        StorageError: its schema is newer than this program, or it cannot be read or written.
    """
    return await to_thread.run_sync(partial(_open_database, target, busy_s))


async def open_stores(
    target: Path | str, *, clock: Clock, ids: Ids, busy_s: float = BUSY_S, create: bool = True
) -> Stores:
    """Open a database's tables; closing the stores closes the database. `ids` gives UUIDs.

    With `create` False a file that is not there was removed, and none is made.

    Raises:
        StorageError: as `open_database`; or the file was removed.
    """
    return await to_thread.run_sync(partial(_open_stores, target, clock, ids, busy_s, create))


async def open_memory_store(
    target: Path | str, *, clock: Clock, ids: Ids, busy_s: float = BUSY_S, create: bool = True
) -> MemoryStore:
    """Open a database's memory over a connection of its own; closing the store closes that.

    `ids` gives UUIDs. With `create` False a file that is not there was removed, and none is made.

    Raises:
        StorageError: as `open_database`; or the file was removed.
    """
    return await to_thread.run_sync(partial(_open_memory, target, clock, ids, busy_s, create))


async def open_consensus_store(
    target: Path | str, *, clock: Clock, busy_s: float = BUSY_S
) -> ConsensusStore:
    """Open a database's consensus checkpoints; closing the store closes the database.

    Raises:
        StorageError: as `open_database`.
    """
    return await to_thread.run_sync(partial(_open_store, target, clock, busy_s))


def _open_database(target: Path | str, busy_s: float, create: bool = True) -> Database:
    from perstack.storage.database.engine import Database, connect

    return Database(connect(target, busy_s=busy_s, create=create))


def _open_stores(target: Path | str, clock: Clock, ids: Ids, busy_s: float, create: bool) -> Stores:
    from perstack.storage.database.stores import SqlStores

    return SqlStores(_open_database(target, busy_s, create), clock=clock, ids=ids)


def _open_memory(
    target: Path | str, clock: Clock, ids: Ids, busy_s: float, create: bool
) -> MemoryStore:
    from perstack.storage.database.memory.store import SqlMemoryStore

    return SqlMemoryStore(_open_database(target, busy_s, create), clock=clock, ids=ids)


def _open_store(target: Path | str, clock: Clock, busy_s: float) -> ConsensusStore:
    from perstack.storage.database.consensus import SqlConsensusStore

    return SqlConsensusStore(_open_database(target, busy_s), clock=clock)
