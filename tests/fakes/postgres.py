"""A real PostgreSQL server in a folder of its own, reached by a socket file alone."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Final

import sqlalchemy as sa

_NAMES: Final = count(1)
_DEBIAN: Final = Path("/usr/lib/postgresql")
_OPTIONS: Final = "-c listen_addresses='' -c fsync=off -c max_connections=60 -c shared_buffers=16MB"


class PostgresServer:
    """A running server with a database that is emptied for each test, and more if wanted."""

    def __init__(self, socket_folder: Path) -> None:
        self._folder = socket_folder
        self._url = self._url_of("postgres")
        self._admin = sa.create_engine(self._url, isolation_level="AUTOCOMMIT")

    def new_database(self) -> str:
        """Make an empty database of one's own, for all tests of a module, and return its URL."""
        name = f"test_{next(_NAMES)}"
        with self._admin.connect() as connection:
            connection.exec_driver_sql(f"CREATE DATABASE {name}")
        return self._url_of(name)

    def emptied(self) -> str:
        """Return the URL of the database, empty, with nobody else connected.

        Making and dropping a database for each test takes seconds on a busy machine.
        """
        with self._admin.connect() as connection:
            connection.exec_driver_sql(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
            connection.exec_driver_sql("DROP SCHEMA public CASCADE")
            connection.exec_driver_sql("CREATE SCHEMA public")
        return self._url

    def close(self) -> None:
        self._admin.dispose()

    def _url_of(self, name: str) -> str:
        return f"postgresql+psycopg://perstack@/{name}?host={self._folder}"


def missing_postgres() -> str | None:
    """Say why no server can be started here, None when one can."""
    return None if _program("initdb") and _program("pg_ctl") else "PostgreSQL is not installed"


@contextmanager
def postgres_server() -> Generator[PostgresServer]:
    """Start a server and stop it; as root it runs as the user nobody, since it refuses root."""
    with tempfile.TemporaryDirectory(prefix="pg", ignore_cleanup_errors=True) as name:
        home = Path(name)
        data = home / "data"
        user = _other_user()
        if user is not None:
            os.chown(home, user, -1)
        _run(user, "initdb", "-D", data, "-U", "perstack", "-A", "trust", "-N", "-E", "UTF8")
        options = f"{_OPTIONS} -c unix_socket_directories='{home}'"
        _run(user, "pg_ctl", "-D", data, "-w", "-l", home / "log", "-o", options, "start")
        server = PostgresServer(home)
        try:
            yield server
        finally:
            server.close()
            _run(user, "pg_ctl", "-D", data, "-m", "immediate", "-w", "stop")


def _other_user() -> int | None:
    return pwd.getpwnam("nobody").pw_uid if os.getuid() == 0 else None


def _program(name: str) -> str | None:
    newest_first = sorted(_DEBIAN.glob(f"*/bin/{name}"), reverse=True)
    return str(newest_first[0]) if newest_first else shutil.which(name)


def _run(user: int | None, program: str, *args: str | Path) -> None:
    subprocess.run(
        [_program(program) or program, *args],
        check=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        user=user,
        cwd="/",
        timeout=50,
    )
