"""What only SQLite needs: files that appear whole, checks before trust, pragmas, backups."""

from __future__ import annotations

import fcntl
import os
import sqlite3
import stat
import threading
import time
from collections import Counter
from collections.abc import Callable, Generator
from contextlib import closing, contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Final

import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.pool import ConnectionPoolEntry

from perstack.errors import CorruptRecordError, LockedError, StorageError
from perstack.storage.database.failures import DAMAGED_HINT

_MAGIC: Final = b"SQLite format 3\x00"
_HEADER_BYTES: Final = 100
_QUICK_CHECK_BYTES: Final = 4 << 20
_NAP_S: Final = 0.002
_FILE: Final = "perstack_file"
# The files that this process has open, by device and inode, and how often.
_OPEN: Final[Counter[tuple[int, int]]] = Counter()
_READING: Final = threading.Lock()
_PRAGMAS: Final = (
    "PRAGMA journal_mode=WAL",
    "PRAGMA synchronous=FULL",
    "PRAGMA foreign_keys=ON",
    "PRAGMA trusted_schema=OFF",
    "PRAGMA journal_size_limit=4194304",
)


def make_engine(path: Path, *, busy_s: float) -> sa.Engine:
    """Return an engine with one connection; `write=True` executions begin with the write lock."""
    engine = sa.create_engine(
        sa.URL.create("sqlite", database=str(path)),
        connect_args={"timeout": busy_s, "check_same_thread": False},
        pool_size=1,
        max_overflow=0,
        hide_parameters=True,
    )
    event.listen(engine, "connect", partial(_connected, path))
    event.listen(engine, "close", _closed)
    event.listen(engine, "begin", partial(_begin, busy_s=busy_s))
    return engine


def _connected(path: Path, connection: sqlite3.Connection, record: ConnectionPoolEntry) -> None:
    """Note that the file is open before SQLite takes its first lock on it."""
    file = _identity(path)
    with _READING:
        _OPEN[file] += 1
    try:
        _prepare(connection)
    except BaseException:
        _forget(file)
        raise
    record.info[_FILE] = file


def _closed(_connection: object, record: ConnectionPoolEntry) -> None:
    if (file := record.info.pop(_FILE, None)) is not None:
        _forget(file)


def _forget(file: tuple[int, int]) -> None:
    with _READING:
        _OPEN[file] -= 1
        if not _OPEN[file]:
            del _OPEN[file]


def _prepare(connection: sqlite3.Connection) -> None:
    connection.isolation_level = None
    for pragma in _PRAGMAS:
        connection.execute(pragma).close()


def _begin(connection: sa.Connection, *, busy_s: float) -> None:
    driver = connection.connection.dbapi_connection
    if not isinstance(driver, sqlite3.Connection) or not _writes(connection):
        connection.exec_driver_sql("BEGIN")
        return
    driver.execute("PRAGMA busy_timeout=0").close()
    try:
        _take_write_lock(driver, time.monotonic() + busy_s)
    finally:
        driver.execute(f"PRAGMA busy_timeout={round(busy_s * 1000)}").close()


def _writes(connection: sa.Connection) -> bool:
    return bool(connection.get_execution_options().get("write"))


def _take_write_lock(driver: sqlite3.Connection, deadline: float) -> None:
    """Begin with the write lock: who reads first and writes later fails instead of waiting.

    SQLite's own wait sleeps up to 100 ms at a time, so that with ten writers some wait seconds for
    a lock that was free for most of them.
    """
    while True:
        try:
            driver.execute("BEGIN IMMEDIATE").close()
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                raise
            time.sleep(_NAP_S)
        else:
            return


def create(path: Path, fill: Callable[[sa.Engine], None], *, busy_s: float) -> None:
    """Make the database under another name and give it its own once it is whole and on disk.

    So an empty file is never one that is just being made: it is always damage. Of several
    processes one makes it.
    """
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with lock_folder(path.parent, wait_s=busy_s):
        if path.exists():
            return
        if _beside(path, "-wal").exists():
            raise CorruptRecordError(
                f"{path} is gone, but its -wal file is there", hint=DAMAGED_HINT
            )
        draft = _beside(path, ".new")
        for leftover in (draft, _beside(draft, "-wal"), _beside(draft, "-shm")):
            leftover.unlink(missing_ok=True)
        os.close(os.open(draft, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600))
        draft.chmod(0o600)
        engine = make_engine(draft, busy_s=busy_s)
        try:
            fill(engine)
        finally:
            engine.dispose()
        _publish(draft, path)


def _publish(draft: Path, path: Path) -> None:
    _sync(draft)
    draft.replace(path)
    _sync(path.parent)


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextmanager
def lock_folder(folder: Path, *, wait_s: float) -> Generator[None]:
    """Hold a lock on the folder itself, so that there is no lock file to leave behind.

    Raises:
        LockedError: another process held it for `wait_s` seconds.
    """
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        _take(handle, folder, time.monotonic() + wait_s)
        yield
    finally:
        os.close(handle)


def _take(handle: int, folder: Path, deadline: float) -> None:
    while True:
        with suppress(BlockingIOError):
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        if time.monotonic() > deadline:
            raise LockedError(
                f"another process is preparing the database in {folder}", hint="try again"
            )
        time.sleep(0.01)


def check_file(path: Path) -> None:
    """Refuse a file that is no database, or less than one, before SQLite touches it.

    Raises:
        CorruptRecordError: it is empty, cut off, or something else.
    """
    found = path.stat()
    if not stat.S_ISREG(found.st_mode):
        raise StorageError(f"{path} is not a file")
    if found.st_size < _HEADER_BYTES:
        raise CorruptRecordError(
            f"{path} is damaged: it is cut off at {found.st_size} bytes", hint=DAMAGED_HINT
        )
    header = _read_header(path)
    if header is None:
        return
    if not header.startswith(_MAGIC):
        raise CorruptRecordError(f"{path} is not a database", hint=DAMAGED_HINT)
    # With frames still in the -wal file the first page may promise pages that lie there.
    if found.st_size < _promised_bytes(header) and not _has_wal(path):
        raise CorruptRecordError(
            f"{path} is damaged: {found.st_size} of {_promised_bytes(header)} bytes are there",
            hint=DAMAGED_HINT,
        )


def _read_header(path: Path) -> bytes | None:
    """Return how the file begins, None while this process has it open.

    Closing it here would let go of all locks that SQLite holds on it for this process, and another
    process that closes it then takes itself for the last one and removes the -wal file in use.
    """
    with _READING:
        if _identity(path) in _OPEN:
            return None
        with path.open("rb") as file:
            return file.read(_HEADER_BYTES)


def _promised_bytes(header: bytes) -> int:
    page = int.from_bytes(header[16:18], "big")
    return (65536 if page == 1 else page) * int.from_bytes(header[28:32], "big")


def _has_wal(path: Path) -> bool:
    wal = _beside(path, "-wal")
    return wal.exists() and wal.stat().st_size > 0


def check_contents(connection: sa.Connection, path: Path) -> None:
    """Refuse damage that SQLite can see, and code that a planted file would bring along.

    Raises:
        CorruptRecordError: the file is damaged, or holds triggers or views, which we never make
            and which could decide a gate by themselves.
    """
    if path.stat().st_size <= _QUICK_CHECK_BYTES:
        verdict: object = connection.exec_driver_sql("PRAGMA quick_check(1)").scalar()
        if verdict != "ok":
            raise CorruptRecordError(f"{path} is damaged: {verdict}", hint=DAMAGED_HINT)
    planted: object = connection.exec_driver_sql(
        "SELECT count(*) FROM sqlite_schema WHERE type IN ('trigger', 'view')"
    ).scalar()
    if planted:
        raise CorruptRecordError(
            f"{path} holds triggers or views, which Perstack never makes",
            hint="do not use this file: move it away",
        )


def back_up(path: Path, version: int) -> Path:
    """Copy what is committed to `<file>.bak-<version>` and return that path."""
    target = _beside(path, f".bak-{version}")
    draft = _beside(target, ".new")
    draft.unlink(missing_ok=True)
    os.close(os.open(draft, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600))
    with closing(sqlite3.connect(path)) as source, closing(sqlite3.connect(draft)) as copy:
        source.backup(copy)
    _publish(draft, target)
    return target


def data_version(connection: sa.Connection) -> str:
    """Return a number that changes when another connection commits."""
    return str(connection.exec_driver_sql("PRAGMA data_version").scalar())


def removed(path: Path) -> StorageError:
    """Return the error of a file that was there once and is gone."""
    return StorageError(
        f"{path} was removed while it was open",
        hint="put it back; decisions made now would be lost",
    )


class Place:
    """The very file that was opened: a path can come to mean another one."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._opened = _identity(path)

    def check(self) -> None:
        """Raise if the file was removed or replaced.

        Raises:
            StorageError: what is open is no longer what others see.
        """
        try:
            same = _identity(self._path) == self._opened
        except FileNotFoundError:
            raise removed(self._path) from None
        if not same:
            raise StorageError(
                f"{self._path} was replaced while it was open", hint="try again to use the new one"
            )


def _identity(path: Path) -> tuple[int, int]:
    found = path.stat()
    return found.st_dev, found.st_ino


def _beside(path: Path, suffix: str) -> Path:
    return path.with_name(path.name + suffix)
