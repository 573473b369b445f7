"""A handle on the database: synchronous SQL in one worker thread at a time, async outside."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import count
from pathlib import Path
from typing import Final, TypeVar

import anyio
import sqlalchemy as sa
from anyio import CapacityLimiter, to_thread
from sqlalchemy import event
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import ArgumentError

from perstack.errors import ClosedError, CorruptRecordError, UsageError
from perstack.storage.database import sqlite
from perstack.storage.database.failures import translated
from perstack.storage.database.migrations import (
    MIGRATIONS,
    Migration,
    check_version,
    find_version,
    migrate,
)
from perstack.storage.database.opener import check_url

T = TypeVar("T")

_OPENINGS: Final = count()
# How long a server may be silent: in seconds, but for the last, which is in milliseconds.
_SILENCE: Final = {
    "connect_timeout": 10,
    "keepalives_idle": 15,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 30_000,
}


@dataclass(frozen=True, slots=True)
class Connected:
    """An open database. `place` names it in messages; `check` raises if it is not the same file."""

    engine: sa.Engine
    place: str
    check: Callable[[], None]
    version: Callable[[sa.Connection], str]


class Database:
    """An open database. Calls wait for each other; each is one transaction in a worker thread."""

    def __init__(self, connected: Connected) -> None:
        self._connected = connected
        self._writer = connected.engine.execution_options(write=True)
        self._limiter = CapacityLimiter(1)
        self._opening = next(_OPENINGS)
        self._commits = 0
        self._closed = False

    @property
    def place(self) -> str:
        """The file or URL, without a password."""
        return self._connected.place

    async def read(self, work: Callable[[sa.Connection], T]) -> T:
        """Return what `work` found, all of it at one moment.

        Raises:
            StorageError: the database is locked, damaged, gone or closed.
        """
        return await self._in_thread(lambda: self._session(self._connected.engine, work))

    async def write(self, work: Callable[[sa.Connection], T]) -> T:
        """Do `work` under the write lock; durable on return, undone if it raises.

        Raises:
            StorageError: as `read`; or the disk said no.
        """

        def session() -> T:
            result = self._session(self._writer, work)
            self._commits += 1
            return result

        return await self._in_thread(session)

    async def version(self) -> str:
        """Return a value that is another one whenever anything was committed."""
        theirs = await self.read(self._connected.version)
        return f"{self._opening}.{theirs}.{self._commits}"

    async def aclose(self) -> None:
        """Close; idempotent, and not to be interrupted."""
        with anyio.CancelScope(shield=True):
            await to_thread.run_sync(self._close, limiter=self._limiter)

    async def _in_thread(self, session: Callable[[], T]) -> T:
        return await to_thread.run_sync(session, limiter=self._limiter)

    def _session(self, engine: sa.Engine, work: Callable[[sa.Connection], T]) -> T:
        if self._closed:
            raise ClosedError(f"{self.place} was closed")
        with translated(self.place):
            self._connected.check()
            with engine.begin() as connection:
                return work(connection)

    def _close(self) -> None:
        self._closed = True
        self._connected.engine.dispose()


def connect(
    target: Path | str,
    *,
    busy_s: float,
    migrations: Sequence[Migration] = MIGRATIONS,
    create: bool = True,
) -> Connected:
    """Open a database (see `opener.open_database`) in the calling thread."""
    url = None if isinstance(target, Path) else _parse(check_url(target))
    if url is not None and url.get_backend_name() != "sqlite":
        return _connect_server(url, busy_s, migrations)
    path = Path(target) if url is None else Path(url.database or "")
    return _connect_file(path.absolute(), busy_s, migrations, create=create)


def _parse(target: str) -> sa.URL:
    try:
        url = sa.make_url(target)
    except (ArgumentError, ValueError) as error:
        # The text is not repeated: it may hold a password.
        raise UsageError(
            "the database's URL cannot be read", hint="write postgresql://USER@HOST/NAME"
        ) from error
    if url.get_backend_name() != "sqlite" and "@" in f"{url.host}{url.database}":
        # The rest of a password would be taken for a host, and be shown as one.
        raise UsageError("the database's URL has one @ too many", hint="write %40 in a password")
    return url


def place_of_url(target: str) -> str:
    """Return how a URL is shown: without password, and without its query, which can hold one.

    Raises:
        UsageError: it is none that can be used.
    """
    return _place(_parse(check_url(target)))


def _place(url: sa.URL) -> str:
    if url.get_backend_name() == "sqlite":
        return url.database or ""
    return url.set(query={}).render_as_string(hide_password=True)


def _connect_file(
    path: Path, busy_s: float, migrations: Sequence[Migration], *, create: bool
) -> Connected:
    with translated(str(path)):
        if not path.exists():
            if not create:
                raise sqlite.removed(path)
            sqlite.create(
                path, lambda engine: _migrate_now(engine, path, migrations), busy_s=busy_s
            )
        sqlite.check_file(path)
        place = sqlite.Place(path)
        engine = sqlite.make_engine(path, busy_s=busy_s)
        try:
            _check_and_update(engine, path, busy_s, migrations)
        except BaseException:
            engine.dispose()
            raise
    return Connected(engine, str(path), place.check, sqlite.data_version)


def _check_and_update(
    engine: sa.Engine, path: Path, busy_s: float, migrations: Sequence[Migration]
) -> None:
    with engine.begin() as connection:
        sqlite.check_contents(connection, path)
        found = find_version(connection)
    if found is None:
        raise CorruptRecordError(
            f"{path} holds no Perstack schema", hint="it belongs to something else: move it away"
        )
    if check_version(found, str(path), migrations) < len(migrations):
        with sqlite.lock_folder(path.parent, wait_s=busy_s):
            _migrate_now(engine, path, migrations)


def _migrate_now(engine: sa.Engine, path: Path, migrations: Sequence[Migration]) -> None:
    with engine.execution_options(write=True).begin() as connection:
        version = check_version(find_version(connection), str(path), migrations)
        if 0 < version < len(migrations):
            sqlite.back_up(path, version)
        migrate(connection, str(path), migrations)


def _connect_server(url: sa.URL, busy_s: float, migrations: Sequence[Migration]) -> Connected:
    place = _place(url)
    with translated(place):
        engine = sa.create_engine(
            url,
            connect_args={name: most for name, most in _SILENCE.items() if name not in url.query},
            pool_size=1,
            max_overflow=0,
            pool_pre_ping=True,
            hide_parameters=True,
        )
        event.listen(engine, "connect", partial(_bound_locks, busy_s=busy_s))
        try:
            with engine.begin() as connection:
                connection.exec_driver_sql("SELECT pg_advisory_xact_lock(7307811)")
                migrate(connection, place, migrations)
        except BaseException:
            engine.dispose()
            raise
    return Connected(engine, place, _nothing_to_check, _server_version)


def _bound_locks(connection: DBAPIConnection, _record: object, *, busy_s: float) -> None:
    """Have a lock that others hold waited for no longer than a file's would be."""
    cursor = connection.cursor()
    cursor.execute(f"SET lock_timeout = {max(1, round(busy_s * 1_000))}")
    cursor.close()
    connection.commit()


def _server_version(connection: sa.Connection) -> str:
    return str(connection.exec_driver_sql("SELECT pg_current_snapshot()::text").scalar())


def _nothing_to_check() -> None:
    """A server's database cannot be swapped under a connection."""
