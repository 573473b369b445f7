"""Versions of Experts, their tags and whom they delegate to, within one transaction."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Final

import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError

from perstack.domain.registry import (
    LATEST,
    Definition,
    ExpertQuery,
    RegistryKey,
    Status,
    parse_key,
)
from perstack.domain.semantic_versions import order_of
from perstack.errors import ConflictError, CorruptRecordError, UsageError
from perstack.ports.registry_ledger import Delegation, VersionRecord
from perstack.storage.database.registry_search import page_query
from perstack.storage.database.registry_tables import (
    DAMAGED,
    DELEGATES,
    NAMES,
    RECORD,
    TAGS,
    VERSIONS,
    definition_in,
    record_of,
)
from perstack.storage.database.text import safe_text

_MOST_DELEGATING: Final = 1_000


class SqlVersionLedger:
    """The part of `ports.registry_ledger.Ledger` that says what is published."""

    def __init__(self, connection: sa.Connection) -> None:
        self._connection = connection

    def versions(self, name: str) -> Sequence[VersionRecord]:
        """Return all versions of a name, the highest first."""
        of_name = VERSIONS.c.name == safe_text(name)
        return self._records(
            sa.select(*RECORD).where(of_name).order_by(VERSIONS.c.precedence.desc())
        )

    def find(self, key: RegistryKey) -> VersionRecord | None:
        """Return the version that a key leads to."""
        if key.version is not None:
            wanted = (VERSIONS.c.name == key.name) & (VERSIONS.c.version == key.version)
        elif key.wanted_tag == LATEST:
            latest = sa.select(NAMES.c.latest_id).where(NAMES.c.name == key.name)
            wanted = VERSIONS.c.id == latest.scalar_subquery()
        else:
            tagged = sa.select(TAGS.c.version_id).where(
                TAGS.c.name == key.name, TAGS.c.tag == key.wanted_tag
            )
            wanted = VERSIONS.c.id == tagged.scalar_subquery()
        found = self._records(sa.select(*RECORD).where(wanted, VERSIONS.c.unpublished_at.is_(None)))
        return found[0] if found else None

    def definition(self, record: VersionRecord) -> Definition:
        """Return what was published."""
        query = sa.select(VERSIONS.c.definition).where(VERSIONS.c.id == record.id)
        return definition_in(str(self._connection.execute(query).scalar_one()), record)

    def put(self, record: VersionRecord, definition: Definition) -> None:
        """Write a version, in place of what unpublishing left of it."""
        self._connection.execute(
            VERSIONS.delete().where(
                VERSIONS.c.name == record.name,
                VERSIONS.c.version == record.version,
                VERSIONS.c.unpublished_at.is_not(None),
            )
        )
        values = {column.name: getattr(record, column.name) for column in RECORD}
        insert = VERSIONS.insert().values(
            **values,
            precedence=order_of(record.version),
            definition=definition.content.decode(),
            words=safe_text(f"{definition.name}\n{definition.description or ''}".casefold()),
        )
        try:
            self._connection.execute(insert)
        except IntegrityError as error:
            raise ConflictError(f"{record.key} is already published") from error
        self._put_delegates(record, definition)

    def set_tags(self, record: VersionRecord, tags: Iterable[str], *, now_ms: int) -> None:
        """Make these the version's tags; they are taken from other versions of the name."""
        wanted = sorted(set(tags))
        self._connection.execute(
            TAGS.delete().where(
                TAGS.c.name == record.name,
                (TAGS.c.version_id == record.id) | TAGS.c.tag.in_(wanted),
            )
        )
        if wanted:
            rows = [{"name": record.name, "tag": tag, "version_id": record.id} for tag in wanted]
            self._connection.execute(TAGS.insert(), rows)
        self._change(record, updated_at=now_ms)

    def set_status(self, record: VersionRecord, status: Status, *, now_ms: int) -> None:
        """Write the status."""
        self._change(record, status=status, updated_at=now_ms)

    def set_latest(self, name: str, version: str | None) -> None:
        """Write which version `latest` is at."""
        of_version = sa.select(VERSIONS.c.id).where(
            VERSIONS.c.name == name, VERSIONS.c.version == version
        )
        value = None if version is None else of_version.scalar_subquery()
        self._connection.execute(NAMES.update().where(NAMES.c.name == name).values(latest_id=value))

    def unpublish(self, record: VersionRecord, *, now_ms: int) -> None:
        """Remove a version with its tags; what stays is that it was there, and its integrity."""
        self._connection.execute(TAGS.delete().where(TAGS.c.version_id == record.id))
        self._connection.execute(DELEGATES.delete().where(DELEGATES.c.version_id == record.id))
        self._change(record, definition="", words="", unpublished_at=now_ms, updated_at=now_ms)

    def delegating_to(self, name: str) -> Sequence[Delegation]:
        """Return which versions of other names delegate to this one."""
        query = (
            sa.select(DELEGATES.c.version_id, DELEGATES.c.delegate)
            .join(VERSIONS, VERSIONS.c.id == DELEGATES.c.version_id)
            .where(DELEGATES.c.name == safe_text(name), VERSIONS.c.name != safe_text(name))
            .order_by(VERSIONS.c.number, DELEGATES.c.delegate)
            .limit(_MOST_DELEGATING)
        )
        found = [(str(by), str(to)) for by, to in self._connection.execute(query)]
        wanted = sa.select(*RECORD).where(VERSIONS.c.id.in_([by for by, _ in found]))
        by_id = {record.id: record for record in self._records(wanted)}
        return [Delegation(by_id[by], _stored_key(to)) for by, to in found]

    def search(self, query: ExpertQuery) -> tuple[Sequence[VersionRecord], int]:
        """Return a page of what has a `latest` version, in that one, and how many there are."""
        page, count = page_query(query)
        total = self._connection.execute(count).scalar_one()
        return self._records(page), int(total)

    def _records(self, query: sa.Select[tuple[object, ...]]) -> list[VersionRecord]:
        """Return the versions that a query of `RECORD` finds, with their tags."""
        rows = self._connection.execute(query).mappings().all()
        tags, latest = self._tags(rows), self._latest(rows)
        return [
            record_of(row, tags[str(row["id"])], latest_id=latest.get(str(row["name"])))
            for row in rows
        ]

    def _tags(self, rows: Sequence[sa.RowMapping]) -> defaultdict[str, list[str]]:
        found: defaultdict[str, list[str]] = defaultdict(list)
        query = sa.select(TAGS.c.version_id, TAGS.c.tag).where(TAGS.c.name.in_(_names(rows)))
        for version_id, tag in self._connection.execute(query):
            found[str(version_id)].append(str(tag))
        return found

    def _latest(self, rows: Sequence[sa.RowMapping]) -> dict[str, str | None]:
        query = sa.select(NAMES.c.name, NAMES.c.latest_id).where(NAMES.c.name.in_(_names(rows)))
        return {str(name): latest for name, latest in self._connection.execute(query)}

    def _put_delegates(self, record: VersionRecord, definition: Definition) -> None:
        rows = [
            {"version_id": record.id, "delegate": each, "name": parse_key(each).name}
            for each in sorted(set(definition.delegates))
        ]
        if rows:
            self._connection.execute(DELEGATES.insert(), rows)

    def _change(self, record: VersionRecord, **values: str | int) -> None:
        change = VERSIONS.update().where(VERSIONS.c.id == record.id).values(values)
        self._connection.execute(change)


def _names(rows: Sequence[sa.RowMapping]) -> list[str]:
    return sorted({str(row["name"]) for row in rows})


def _stored_key(text: str) -> RegistryKey:
    try:
        return parse_key(text)
    except UsageError as error:
        raise CorruptRecordError(DAMAGED.format("delegate")) from error
