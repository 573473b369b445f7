"""What people decided about plugins, in the database."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import partial
from typing import Final

import sqlalchemy as sa
from pydantic import ValidationError

from perstack.domain.plugins import PluginRecord
from perstack.errors import CorruptRecordError
from perstack.storage.database.engine import Database
from perstack.storage.database.text import json_text, safe_text

_PLUGINS: Final = sa.Table(
    "plugins",
    sa.MetaData(),
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("version", sa.Text),
    sa.Column("source", sa.Text),
    sa.Column("enabled", sa.Integer),
    sa.Column("digest", sa.Text),
    sa.Column("location", sa.Text),
    sa.Column("config", sa.Text),
    sa.Column("installed_at", sa.BigInteger),
    sa.Column("updated_at", sa.BigInteger),
)
# Both databases know this form.
_UPSERT: Final = sa.text(
    "INSERT INTO plugins (name, version, source, enabled, digest, location, config,"
    " installed_at, updated_at) VALUES (:name, :version, :source, :enabled, :digest, :location,"
    " :config, :installed_at, :updated_at) ON CONFLICT (name) DO UPDATE SET"
    " version = excluded.version, source = excluded.source, enabled = excluded.enabled,"
    " digest = excluded.digest, location = excluded.location, config = excluded.config,"
    " updated_at = excluded.updated_at"
)


class SqlPluginStore:
    """Implements `ports.plugins.PluginStore`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def list(self) -> Sequence[PluginRecord]:
        """Return all records, by name."""
        return await self._database.read(_list)

    async def find(self, name: str) -> PluginRecord | None:
        """Return a plugin's record."""
        return await self._database.read(partial(_find, name=name))

    async def save(self, record: PluginRecord) -> None:
        """Write a plugin's record."""
        await self._database.write(partial(_save, record=record))

    async def delete(self, name: str) -> bool:
        """Forget a plugin."""
        delete = _PLUGINS.delete().where(_PLUGINS.c.name == safe_text(name))
        return await self._database.write(
            lambda connection: connection.execute(delete).rowcount == 1
        )


def _list(connection: sa.Connection) -> Sequence[PluginRecord]:
    query = sa.select(_PLUGINS).order_by(_PLUGINS.c.name)
    return [_from_row(row) for row in connection.execute(query).mappings()]


def _find(connection: sa.Connection, *, name: str) -> PluginRecord | None:
    query = sa.select(_PLUGINS).where(_PLUGINS.c.name == safe_text(name))
    row = connection.execute(query).mappings().one_or_none()
    return None if row is None else _from_row(row)


def _save(connection: sa.Connection, *, record: PluginRecord) -> None:
    row: dict[str, object] = {
        "name": safe_text(record.name),
        "version": safe_text(record.version),
        "source": record.source,
        "enabled": int(record.enabled),
        "digest": record.digest,
        "location": None if record.location is None else safe_text(record.location),
        "config": json_text(record.config),
        "installed_at": record.installed_at,
        "updated_at": record.updated_at,
    }
    connection.execute(_UPSERT, row)


def _from_row(row: sa.RowMapping) -> PluginRecord:
    values = {str(name): value for name, value in row.items()}
    try:
        values["config"] = json.loads(str(row["config"]))
        values["enabled"] = bool(row["enabled"])
        return PluginRecord.model_validate(values)
    except (ValueError, ValidationError) as error:
        raise CorruptRecordError(
            f"the stored plugin {str(row['name'])[:40]!a} is damaged"
        ) from error
