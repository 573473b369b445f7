"""Tags of memory entries and relationships between them, for any front end."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, get_args

from pydantic import JsonValue

from perstack.domain.ids import MemoryId
from perstack.domain.memory import (
    Caller,
    LinkDirection,
    LinkType,
    MemoryEntry,
    MemoryLink,
    RelatedMemory,
    TagCount,
    tag_name,
)
from perstack.errors import UsageError
from perstack.ports.memory import MemoryStore
from perstack.services.handle import Handle
from perstack.services.memory_limits import check_metadata

MOST_RELATED: Final = 100

_TYPES: Final[Mapping[str, LinkType]] = {str(one): one for one in get_args(LinkType)}


class MemoryLinks:
    """An entry that the caller may not see is one that is not there."""

    def __init__(self, stores: Handle[MemoryStore]) -> None:
        self._stores = stores

    async def tag(self, caller: Caller, memory_id: MemoryId, tag: str) -> MemoryEntry:
        """Add a tag and return the entry; again does nothing.

        Raises:
            UsageError: it is no tag: 1..50 of `a-z`, `0-9`, `_`, `-`, in any case.
            NotFoundError: there is no such entry.
        """
        name, scope = tag_name(tag), caller.scope
        return await self._stores.ask(lambda store: store.tag(scope, memory_id, name))

    async def untag(self, caller: Caller, memory_id: MemoryId, tag: str) -> MemoryEntry:
        """Remove a tag, if it is there, and return the entry.

        Raises:
            UsageError: it is no tag.
            NotFoundError: there is no such entry.
        """
        name, scope = tag_name(tag), caller.scope
        return await self._stores.ask(lambda store: store.untag(scope, memory_id, name))

    async def tags(self, caller: Caller) -> Sequence[TagCount]:
        """Return the tags of what the caller may see, most used first, then by name."""
        scope = caller.scope
        return await self._stores.ask(lambda store: store.tags(scope))

    async def relate(
        self,
        caller: Caller,
        from_id: MemoryId,
        to_id: MemoryId,
        relationship_type: str,
        *,
        metadata: Mapping[str, JsonValue] | None = None,
    ) -> MemoryLink:
        """Relate an entry to another.

        Raises:
            UsageError: both are the same, or there is no such type.
            NotFoundError: one of them is not there.
            ConflictError: they are related like that already.
        """
        link_type = _TYPES.get(relationship_type)
        if link_type is None:
            raise UsageError(
                f"Invalid relationship type: {relationship_type[:80]}",
                hint=f"one of {', '.join(_TYPES)}",
            )
        if from_id == to_id:
            raise UsageError("Cannot create relationship to self")
        check_metadata(metadata)
        scope = caller.scope
        return await self._stores.ask(
            lambda store: store.link(scope, from_id, to_id, link_type, metadata)
        )

    async def unrelate(self, caller: Caller, link_id: str) -> bool:
        """Remove a relationship whose ends the caller may see; say whether there was one."""
        scope = caller.scope
        return await self._stores.ask(lambda store: store.unlink(scope, link_id))

    async def related(
        self, caller: Caller, memory_id: MemoryId, *, direction: LinkDirection = "both"
    ) -> Sequence[MemoryLink]:
        """Return the relationships from and to an entry, oldest first.

        Raises:
            NotFoundError: there is no such entry.
        """
        scope = caller.scope
        links = await self._stores.ask(lambda store: store.links(scope, memory_id))
        outgoing, incoming = direction != "incoming", direction != "outgoing"
        return [
            one
            for one in links
            if (outgoing and one.from_id == memory_id) or (incoming and one.to_id == memory_id)
        ]

    async def neighbours(
        self, caller: Caller, memory_id: MemoryId, *, link_type: LinkType | None = None
    ) -> Sequence[RelatedMemory]:
        """Return the entries that an entry is related to, in either direction, at most 100.

        Raises:
            NotFoundError: there is no such entry.
        """
        scope, found = caller.scope, list[RelatedMemory]()
        for link in await self.related(caller, memory_id):
            if len(found) == MOST_RELATED:
                break
            if link_type not in (None, link.relationship_type):
                continue
            other = link.to_id if link.from_id == memory_id else link.from_id
            entry = await self._stores.ask(
                lambda store, other=other: store.find_by_id(scope, other)
            )
            if entry is not None:
                found.append(RelatedMemory(entry=entry, link=link))
        return found
