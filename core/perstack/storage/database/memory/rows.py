"""Memory rows as models and back, and a scope as conditions."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from types import MappingProxyType
from typing import Final, Literal

import sqlalchemy as sa
from pydantic import JsonValue, TypeAdapter, ValidationError

from perstack.domain.ids import AgentId, MemoryId
from perstack.domain.memory import (
    PREVIEW_CHARS,
    SESSION_PREFIX,
    MemoryEntry,
    MemoryLink,
    MemoryOrigin,
    MemorySummary,
    MemoryVersion,
    Scope,
    preview,
)
from perstack.errors import CorruptRecordError
from perstack.storage.database.memory.tables import ENTRIES, LINKS, TAGS, VECTORS
from perstack.storage.database.text import json_text, safe_text

_METADATA: Final = TypeAdapter[dict[str, JsonValue]](dict[str, JsonValue])
_E: Final = ENTRIES.c
_TAGS_OF: Final = (
    sa.select(TAGS.c.entry, TAGS.c.tag)
    .where(TAGS.c.entry.in_(sa.bindparam("numbers", expanding=True)))
    .order_by(TAGS.c.tag)
)
EVERYTHING: Final = Scope()


@dataclass(frozen=True, slots=True)
class Shape:
    """Which conditions a scope has, without their values: statements are built once for each."""

    namespace: bool
    isolated: bool
    agent: bool
    shared: bool


def shape_of(scope: Scope) -> Shape:
    """Return the shape of a scope."""
    return Shape(
        namespace=scope.namespace is not None,
        isolated=scope.isolated,
        agent=scope.agent_id is not None,
        shared=scope.include_shared,
    )


def limits(
    shape: Shape,
    filled: Mapping[str, str | None] = MappingProxyType({}),
    *,
    indexed: bool = True,
) -> list[sa.ColumnElement[bool]]:
    """Return the conditions on an entry that put it in a scope; `values` fills them in.

    Not `indexed`: the entries are known already. SQLite would rather read the whole namespace.
    """

    def filling(name: str) -> sa.ColumnElement[str]:
        if name in filled:
            return sa.bindparam(name, filled[name], type_=sa.Text)
        return sa.bindparam(name, type_=sa.Text)

    conditions: list[sa.ColumnElement[bool]] = []
    if shape.namespace:
        column = _E.namespace if indexed else _E.namespace.concat("")
        conditions.append(column == filling("in_namespace"))
    elif shape.isolated:
        beginning = sa.func.substr(_E.namespace, 1, len(SESSION_PREFIX))
        own_session = _E.namespace == filling("own_session")
        conditions.append(sa.or_(beginning != SESSION_PREFIX, own_session))
    if shape.agent:
        own = _E.agent_id == filling("for_agent")
        conditions.append(sa.or_(own, _E.agent_id.is_(None)) if shape.shared else own)
    return conditions


def values(scope: Scope) -> dict[str, str]:
    """Return what `limits` are filled in with."""
    filled: dict[str, str] = {}
    if scope.namespace is not None:
        filled["in_namespace"] = safe_text(scope.namespace)
    elif scope.isolated:
        filled["own_session"] = safe_text(scope.own_session)
    if scope.agent_id is not None:
        filled["for_agent"] = safe_text(scope.agent_id)
    return filled


def within(scope: Scope) -> list[sa.ColumnElement[bool]]:
    """Return the conditions on an entry that put it in `scope`."""
    return limits(shape_of(scope), values(scope))


def metadata_text(metadata: Mapping[str, JsonValue] | None) -> str | None:
    """Return the column value of a metadata."""
    return None if metadata is None else json_text(dict(metadata))


def is_of_program() -> sa.ColumnElement[bool]:
    """Whether the program itself stored an entry's content."""
    return ENTRIES.c.origin.startswith('{"kind":"system",')


def origin_text(origin: MemoryOrigin) -> str:
    """Return the column value of an origin."""
    return json_text(origin.model_dump(exclude_none=True))


def by_numbers(
    connection: sa.Connection, numbers: Sequence[int], scope: Scope = EVERYTHING
) -> dict[int, MemoryEntry]:
    """Return those of the entries that are in `scope`, by number.

    Raises:
        CorruptRecordError: a row holds something else.
    """
    query = _entries("number", shape_of(scope))
    return _read(connection, query, {**values(scope), "wanted": list(numbers)})


def find(
    connection: sa.Connection, *, scope: Scope, column: Literal["key", "id"], value: str
) -> MemoryEntry | None:
    """Return the first entry in `scope` with that key or id.

    Raises:
        CorruptRecordError: the row holds something else.
    """
    query = _entries(column, shape_of(scope))
    found = _read(connection, query, {**values(scope), "wanted": [safe_text(value)]})
    return next(iter(found.values()), None)


@cache
def _entries(column: str, shape: Shape) -> sa.Select[*tuple[object, ...]]:
    wanted = _E[column].in_(sa.bindparam("wanted", expanding=True))
    return (
        sa.select(ENTRIES, VECTORS.c.embedder)
        .outerjoin_from(ENTRIES, VECTORS, VECTORS.c.entry == _E.number)
        .where(wanted, *limits(shape, indexed=column == "key"))
    )


def _read(
    connection: sa.Connection,
    query: sa.Select[*tuple[object, ...]],
    filled: dict[str, str | list[int] | list[str]],
) -> dict[int, MemoryEntry]:
    rows = connection.execute(query, filled).mappings().all()
    tags = tags_of(connection, [int(row["number"]) for row in rows])
    return {int(row["number"]): _entry(row, tags.get(int(row["number"]), ())) for row in rows}


def _entry(row: sa.RowMapping, tags: tuple[str, ...]) -> MemoryEntry:
    try:
        return MemoryEntry(
            id=MemoryId(row["id"]),
            key=row["key"],
            namespace=row["namespace"],
            content=row["content"],
            metadata=_metadata(row["metadata"]),
            tags=tags,
            agent_id=_agent(row["agent_id"]),
            origin=_origin(row["origin"]),
            version=row["version"],
            embedder=row["embedder"],
            created_at=row["created_at"],
            updated_at=row["updated_at"],
        )
    except (ValueError, ValidationError) as error:
        raise _damaged(row) from error


def summaries(connection: sa.Connection, page: sa.Select[int]) -> Sequence[MemorySummary]:
    """Return the summaries of the entries whose numbers `page` gives, newest change first."""
    numbers = list(connection.scalars(page))
    columns = [column for column in ENTRIES.c if column.name != "content"]
    beginning = sa.func.substr(_E.content, 1, PREVIEW_CHARS + 1).label("beginning")
    query = sa.select(*columns, beginning).where(_E.number.in_(numbers))
    tags = tags_of(connection, numbers)
    rows = {int(row["number"]): row for row in connection.execute(query).mappings()}
    return [_summary(rows[number], tags.get(number, ())) for number in numbers if number in rows]


def _summary(row: sa.RowMapping, tags: tuple[str, ...]) -> MemorySummary:
    try:
        return MemorySummary(
            id=MemoryId(row["id"]),
            key=row["key"],
            namespace=row["namespace"],
            content_preview=preview(row["beginning"]),
            metadata=_metadata(row["metadata"]),
            tags=tags,
            agent_id=_agent(row["agent_id"]),
            origin=_origin(row["origin"]),
            created_at=row["created_at"],
            updated_at=row["updated_at"],
        )
    except (ValueError, ValidationError) as error:
        raise _damaged(row) from error


def tags_of(connection: sa.Connection, numbers: Sequence[int]) -> dict[int, tuple[str, ...]]:
    """Return the tags of each entry that has some, by name."""
    if not numbers:
        return {}
    found: dict[int, tuple[str, ...]] = {}
    for number, tag in connection.execute(_TAGS_OF, {"numbers": list(numbers)}):
        found[int(number)] = (*found.get(int(number), ()), str(tag))
    return found


def to_version(row: sa.RowMapping, memory_id: MemoryId) -> MemoryVersion:
    """Return a content that was replaced.

    Raises:
        CorruptRecordError: the row holds something else.
    """
    try:
        return MemoryVersion(
            memory_id=memory_id,
            version=row["version"],
            content=row["content"],
            metadata=_metadata(row["metadata"]),
            origin=_origin(row["origin"]),
            created_at=row["created_at"],
        )
    except (ValueError, ValidationError) as error:
        raise CorruptRecordError(f"a version of memory entry {memory_id} is damaged") from error


def links(
    connection: sa.Connection, *where: sa.ColumnElement[bool], scope: Scope
) -> Sequence[MemoryLink]:
    """Return relationships both of whose ends are in `scope`, oldest first.

    Raises:
        CorruptRecordError: a row holds something else.
    """
    ends = [ENTRIES.alias("one"), ENTRIES.alias("other")]
    open_numbers = sa.select(_E.number).where(*within(scope))
    query = (
        sa.select(LINKS, ends[0].c.id.label("from_id"), ends[1].c.id.label("to_id"))
        .join_from(LINKS, ends[0], ends[0].c.number == LINKS.c.from_entry)
        .join(ends[1], ends[1].c.number == LINKS.c.to_entry)
        .where(*where)
        .order_by(LINKS.c.created_at, LINKS.c.id)
    )
    for column in (LINKS.c.from_entry, LINKS.c.to_entry):
        open_end = open_numbers.where(_E.number == column).correlate(LINKS).exists()
        query = query.where(open_end)
    return [_link(row) for row in connection.execute(query).mappings()]


def _link(row: sa.RowMapping) -> MemoryLink:
    try:
        return MemoryLink(
            id=row["id"],
            from_id=MemoryId(row["from_id"]),
            to_id=MemoryId(row["to_id"]),
            relationship_type=row["type"],
            metadata=_metadata(row["metadata"]),
            created_at=row["created_at"],
        )
    except (ValueError, ValidationError) as error:
        raise _damaged(row) from error


def _metadata(stored: str | None) -> dict[str, JsonValue] | None:
    return None if stored is None else _METADATA.validate_python(json.loads(stored))


def _origin(stored: str) -> MemoryOrigin:
    return MemoryOrigin.model_validate_json(stored)


def _agent(stored: str | None) -> AgentId | None:
    return None if stored is None else AgentId(stored)


def _damaged(row: sa.RowMapping) -> CorruptRecordError:
    return CorruptRecordError(f"the stored memory entry {str(row['id'])[:40]!a} is damaged")
