"""The one seam where the database's own exceptions become ours."""

from __future__ import annotations

import sqlite3
from collections.abc import Generator
from contextlib import contextmanager
from typing import Final

from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from perstack.errors import CorruptRecordError, LockedError, StorageError

_LOCKED: Final = ("SQLITE_BUSY", "SQLITE_LOCKED", "SQLITE_PROTOCOL")
# PostgreSQL's: a lock was not had in time, two waited for each other, two changed the same.
_OVERTAKEN: Final = ("55P03", "40P01", "40001")
_DAMAGED: Final = ("SQLITE_CORRUPT", "SQLITE_NOTADB")
_UNWRITABLE: Final = ("SQLITE_READONLY", "SQLITE_CANTOPEN", "SQLITE_PERM", "SQLITE_AUTH")

DAMAGED_HINT: Final = (
    "put a backup (perstack.db.bak-*) in its place, or move it and its -wal and -shm files away"
    " to begin with an empty one; the runs' own history is not in it"
)


@contextmanager
def translated(place: str) -> Generator[None]:
    """Raise what goes wrong with the database `place` as a `StorageError` that names it."""
    try:
        yield
    except DBAPIError as error:
        raise _from_driver(place, error.orig or error) from error
    except sqlite3.Error as error:
        raise _from_driver(place, error) from error
    except SQLAlchemyError as error:
        raise StorageError(f"{place}: {str(error).splitlines()[0]}") from error
    except ModuleNotFoundError as error:
        raise StorageError(
            f"{place} needs the Python package {error.name}", hint=f"pip install {error.name}"
        ) from error
    except OSError as error:
        raise StorageError(
            f"{place} cannot be read or written: {error.strerror or error}",
            hint="check the folder's permissions and the disk",
        ) from error


def _from_driver(place: str, error: BaseException) -> StorageError:
    # The driver's message, never SQLAlchemy's: that one shows statements and their values.
    name = str(getattr(error, "sqlite_errorname", ""))
    if name.startswith(_LOCKED):
        return LockedError(
            f"{place} is locked by another process",
            hint=f"try again; if it stays locked, `fuser -v {place}` shows who holds it",
        )
    if getattr(error, "sqlstate", None) in _OVERTAKEN:
        return LockedError(
            f"{place} is locked by another process",
            hint="try again; pg_stat_activity shows who holds a lock for long",
        )
    if name.startswith(_DAMAGED):
        return CorruptRecordError(f"{place} is damaged: {error}", hint=DAMAGED_HINT)
    if name.startswith("SQLITE_FULL"):
        return StorageError(f"{place}: the disk is full", hint="free some space, then go on")
    if name.startswith(_UNWRITABLE):
        return StorageError(
            f"{place} cannot be opened or written: {error}",
            hint="check the permissions of the file and its folder",
        )
    return StorageError(f"{place}: {error}")
