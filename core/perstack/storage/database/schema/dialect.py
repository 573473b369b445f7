"""Statements that both databases take, but for the names of two types."""

from __future__ import annotations

from collections.abc import Iterable

import sqlalchemy as sa


def is_sqlite(connection: sa.Connection) -> bool:
    """Tell whether the database is SQLite rather than PostgreSQL."""
    return connection.dialect.name == "sqlite"


def execute(connection: sa.Connection, statements: Iterable[str]) -> None:
    """Run `statements`, with `%NUMBER%` (a key that counts by itself) and `%BLOB%` filled in."""
    sqlite = is_sqlite(connection)
    number = (
        "INTEGER PRIMARY KEY AUTOINCREMENT"
        if sqlite
        else "BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY"
    )
    for statement in statements:
        filled = statement.replace("%NUMBER%", number).replace("%BLOB%", _blob(sqlite))
        connection.exec_driver_sql(filled)


def _blob(sqlite: bool) -> str:
    return "BLOB" if sqlite else "BYTEA"
