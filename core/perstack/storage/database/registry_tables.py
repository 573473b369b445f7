"""The tables of a registry, and what their rows mean."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import sqlalchemy as sa
from pydantic import ValidationError

from perstack.domain.registry import Definition
from perstack.domain.registry_hosting import ApiKey, Organisation
from perstack.errors import CorruptRecordError
from perstack.ports.registry_ledger import VersionRecord

_METADATA: Final = sa.MetaData()
ORGANISATIONS: Final = sa.Table(
    "registry_organisations",
    _METADATA,
    sa.Column("number", sa.BigInteger, primary_key=True),
    sa.Column("id", sa.Text),
    sa.Column("name", sa.Text),
    sa.Column("created_at", sa.BigInteger),
)
KEYS: Final = sa.Table(
    "registry_keys",
    _METADATA,
    sa.Column("number", sa.BigInteger, primary_key=True),
    sa.Column("digest", sa.Text),
    sa.Column("prefix", sa.Text),
    sa.Column("organisation_id", sa.Text),
    sa.Column("scopes", sa.Text),
    sa.Column("created_at", sa.BigInteger),
    sa.Column("expires_at", sa.BigInteger),
    sa.Column("revoked_at", sa.BigInteger),
    sa.Column("last_used_at", sa.BigInteger),
)
NAMES: Final = sa.Table(
    "registry_names",
    _METADATA,
    sa.Column("number", sa.BigInteger, primary_key=True),
    sa.Column("name", sa.Text),
    sa.Column("organisation_id", sa.Text),
    sa.Column("latest_id", sa.Text),
)
VERSIONS: Final = sa.Table(
    "registry_versions",
    _METADATA,
    sa.Column("number", sa.BigInteger, primary_key=True),
    sa.Column("id", sa.Text),
    sa.Column("name", sa.Text),
    sa.Column("version", sa.Text),
    sa.Column("precedence", sa.LargeBinary),
    sa.Column("integrity", sa.Text),
    sa.Column("size", sa.BigInteger),
    sa.Column("definition", sa.Text),
    sa.Column("words", sa.Text),
    sa.Column("status", sa.Text),
    sa.Column("created_at", sa.BigInteger),
    sa.Column("updated_at", sa.BigInteger),
    sa.Column("unpublished_at", sa.BigInteger),
)
TAGS: Final = sa.Table(
    "registry_tags",
    _METADATA,
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("tag", sa.Text, primary_key=True),
    sa.Column("version_id", sa.Text),
)
DELEGATES: Final = sa.Table(
    "registry_delegates",
    _METADATA,
    sa.Column("version_id", sa.Text, primary_key=True),
    sa.Column("delegate", sa.Text, primary_key=True),
    sa.Column("name", sa.Text),
)

# All of a version but its definition, which may be large, and what is only searched in.
RECORD: Final = tuple(
    column
    for column in VERSIONS.c
    if column.name not in ("number", "precedence", "definition", "words")
)
DAMAGED: Final = "a stored {} of the registry is damaged"


def organisation_of(row: sa.RowMapping) -> Organisation:
    """Return the organisation of a row."""
    return Organisation(id=row["id"], name=row["name"], created_at=row["created_at"])


def key_of(row: sa.RowMapping) -> ApiKey:
    """Return the key of a row.

    Raises:
        CorruptRecordError: it holds scopes that there are not.
    """
    values = {name: row[name] for name in ApiKey.model_fields if name != "scopes"}
    try:
        return ApiKey.model_validate({**values, "scopes": tuple(str(row["scopes"]).split(","))})
    except ValidationError as error:
        raise CorruptRecordError(DAMAGED.format("key")) from error


def record_of(row: sa.RowMapping, tags: Iterable[str], *, latest_id: str | None) -> VersionRecord:
    """Return the version of a row; `latest_id` is the one that `latest` is at."""
    return VersionRecord(
        **{column.name: row[column.name] for column in RECORD},
        tags=tuple(sorted(tags)),
        is_latest=row["id"] == latest_id,
    )


def definition_in(text: str, record: VersionRecord) -> Definition:
    """Return the definition of a row, whose integrity was recorded when it was published.

    Raises:
        CorruptRecordError: it is another.
    """
    try:
        found = Definition.model_validate_json(text)
    except ValidationError as error:
        raise CorruptRecordError(DAMAGED.format("definition")) from error
    if found.integrity != record.integrity:
        raise CorruptRecordError(DAMAGED.format("definition"))
    return found
