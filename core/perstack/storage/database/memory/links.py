"""Tags of memory entries and relationships between them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import sqlalchemy as sa
from pydantic import JsonValue

from perstack.domain.ids import MemoryId
from perstack.domain.memory import LinkType, MemoryEntry, MemoryLink, Scope, TagCount
from perstack.errors import ConflictError
from perstack.storage.database.memory import rows
from perstack.storage.database.memory.tables import ENTRIES, LINKS, TAGS
from perstack.storage.database.memory.writing import number_of, tick
from perstack.storage.database.text import safe_text

_E: Final = ENTRIES.c


def tag(
    connection: sa.Connection, scope: Scope, memory_id: MemoryId, name: str, *, remove: bool
) -> MemoryEntry:
    """Add or remove a tag and return the entry; what is so already stays so."""
    tick(connection)
    number = number_of(connection, scope, memory_id)
    place = sa.and_(TAGS.c.entry == number, TAGS.c.tag == name)
    if remove:
        connection.execute(TAGS.delete().where(place))
    elif connection.execute(sa.select(TAGS.c.tag).where(place)).first() is None:
        connection.execute(TAGS.insert(), {"entry": number, "tag": name})
    return rows.by_numbers(connection, [number])[number]


def tags(connection: sa.Connection, scope: Scope) -> Sequence[TagCount]:
    """Return the tags in `scope`, most used first, then by name."""
    used = sa.func.count().label("used")
    query = (
        sa.select(TAGS.c.tag, used)
        .join(ENTRIES, _E.number == TAGS.c.entry)
        .where(*rows.within(scope))
        .group_by(TAGS.c.tag)
        .order_by(used.desc(), TAGS.c.tag)
    )
    return [TagCount(tag=name, count=count) for name, count in connection.execute(query)]


def with_tags(names: Sequence[str]) -> sa.ColumnElement[bool]:
    """Return the condition that an entry has all of some tags."""
    having = (
        sa.select(TAGS.c.entry)
        .where(TAGS.c.tag.in_(names))
        .group_by(TAGS.c.entry)
        .having(sa.func.count() == len(set(names)))
    )
    return _E.number.in_(having)


def link(
    connection: sa.Connection,
    scope: Scope,
    from_id: MemoryId,
    to_id: MemoryId,
    link_type: LinkType,
    metadata: Mapping[str, JsonValue] | None,
    *,
    link_id: str,
    now: int,
) -> MemoryLink:
    """Relate two entries and return how."""
    tick(connection)
    start = number_of(connection, scope, from_id)
    end = number_of(connection, scope, to_id)
    same = sa.and_(LINKS.c.from_entry == start, LINKS.c.to_entry == end, LINKS.c.type == link_type)
    if connection.execute(sa.select(LINKS.c.id).where(same)).first() is not None:
        raise ConflictError("Relationship already exists")
    values = {
        "id": link_id,
        "from_entry": start,
        "to_entry": end,
        "type": link_type,
        "metadata": rows.metadata_text(metadata),
        "created_at": now,
    }
    connection.execute(LINKS.insert(), values)
    return rows.links(connection, LINKS.c.id == link_id, scope=scope)[0]


def unlink(connection: sa.Connection, scope: Scope, link_id: str) -> bool:
    """Remove a relationship whose ends are in `scope`; say whether there was one."""
    tick(connection)
    place = LINKS.c.id == safe_text(link_id)
    if not rows.links(connection, place, scope=scope):
        return False
    return connection.execute(LINKS.delete().where(place)).rowcount == 1


def links(connection: sa.Connection, scope: Scope, memory_id: MemoryId) -> Sequence[MemoryLink]:
    """Return the relationships from and to an entry, oldest first."""
    number = number_of(connection, scope, memory_id)
    touching = sa.or_(LINKS.c.from_entry == number, LINKS.c.to_entry == number)
    return rows.links(connection, touching, scope=scope)
