"""/api/v1/memory/{id}/…: an entry's tags, versions and relationships.

Ids of entries are UUIDs: what is none belongs to a key with slashes, which can be read and deleted
only (405).
"""

from __future__ import annotations

from typing import Annotated, Literal
from uuid import UUID

from fastapi import APIRouter, Depends, Path, Query
from pydantic import Field, JsonValue

from perstack.domain.base import Model
from perstack.domain.ids import MemoryId
from perstack.domain.memory import (
    LinkDirection,
    LinkType,
    MemoryEntry,
    MemoryLink,
    MemoryVersion,
    RelatedMemory,
    StoredMemory,
)
from perstack.errors import NotFoundError
from perstack.serving.rest.context import Principal, Services, needs
from perstack.serving.rest.envelope import Envelope, Refusal, ok
from perstack.serving.rest.parameters import FURTHEST, ID_LENGTH, Body, SessionQuery

router = APIRouter(responses={405: {"model": Refusal}})
Reader = Annotated[Principal, Depends(needs("memory", "read"))]
Writer = Annotated[Principal, Depends(needs("memory", "write"))]
EntryPath = Annotated[UUID, Path(alias="id")]
# Nothing is posted to a key, so that it cannot be mistaken for an id.
AnyEntryPath = Annotated[MemoryId, Path(alias="id", min_length=1, max_length=ID_LENGTH)]
VersionPath = Annotated[int, Path(alias="version", ge=1, le=FURTHEST)]


class TagBody(Body):
    """A tag."""

    tag: Annotated[str, Field(min_length=1, max_length=100)]
    """1 to 50 of a-z, 0-9, _ and -, in any case"""


class RelateBody(Body):
    """How an entry stands to another."""

    to_id: Annotated[MemoryId, Field(min_length=1, max_length=ID_LENGTH)]
    relationship_type: LinkType
    metadata: dict[str, JsonValue] | None = None


class StoredEntry(MemoryEntry):
    """An entry that was stored. `warning` says why it has no vector where it should have one."""

    created: bool
    warning: str | None = None


class MemoryVersionList(Model):
    """What an entry held before, newest first."""

    count: int
    versions: tuple[MemoryVersion, ...]


class MemoryLinkList(Model):
    """Relationships, oldest first."""

    count: int
    relationships: tuple[MemoryLink, ...]


class RelatedList(Model):
    """The entries that one is related to, with how."""

    count: int
    entries: tuple[RelatedMemory, ...]


class Unrelated(Model):
    """That a relationship is gone."""

    deleted: Literal[True] = True


def stored_entry(stored: StoredMemory) -> StoredEntry:
    """Return an entry that was stored, with what storing it did."""
    told = {**dict(stored.entry), "created": stored.created, "warning": stored.warning}
    return StoredEntry.model_validate(told)


def _entry(given: UUID) -> MemoryId:
    return MemoryId(str(given))


@router.post("/{id}/tags", status_code=201)
async def add_tag(
    services: Services,
    principal: Writer,
    memory_id: AnyEntryPath,
    body: TagBody,
    session_id: SessionQuery = None,
) -> Envelope[MemoryEntry]:
    """Add a tag; again does nothing."""
    caller, links = principal.in_session(session_id), services.coordination.memory.links
    return ok(await links.tag(caller, memory_id, body.tag))


@router.delete("/{id:uuid}/tags/{tag}")
async def remove_tag(
    services: Services,
    principal: Writer,
    memory_id: EntryPath,
    tag: Annotated[str, Path(min_length=1, max_length=100)],
    session_id: SessionQuery = None,
) -> Envelope[MemoryEntry]:
    """Remove a tag, if it is there."""
    caller, links = principal.in_session(session_id), services.coordination.memory.links
    return ok(await links.untag(caller, _entry(memory_id), tag))


@router.post("/{id}/relationships", status_code=201)
async def relate(
    services: Services,
    principal: Writer,
    memory_id: AnyEntryPath,
    body: RelateBody,
    session_id: SessionQuery = None,
) -> Envelope[MemoryLink]:
    """Relate an entry to another."""
    made = await services.coordination.memory.links.relate(
        principal.in_session(session_id),
        memory_id,
        body.to_id,
        body.relationship_type,
        metadata=body.metadata,
    )
    return ok(made)


@router.get("/{id:uuid}/relationships")
async def list_relationships(
    services: Services,
    principal: Reader,
    memory_id: EntryPath,
    direction: Annotated[LinkDirection, Query()] = "both",
    session_id: SessionQuery = None,
) -> Envelope[MemoryLinkList]:
    """List the relationships from and to an entry, oldest first."""
    caller, links = principal.in_session(session_id), services.coordination.memory.links
    found = await links.related(caller, _entry(memory_id), direction=direction)
    return ok(MemoryLinkList(count=len(found), relationships=tuple(found)))


@router.get("/{id:uuid}/related")
async def list_related(
    services: Services,
    principal: Reader,
    memory_id: EntryPath,
    link_type: Annotated[LinkType | None, Query(alias="type")] = None,
    session_id: SessionQuery = None,
) -> Envelope[RelatedList]:
    """List the entries that an entry is related to, in either direction, at most 100."""
    caller, links = principal.in_session(session_id), services.coordination.memory.links
    found = await links.neighbours(caller, _entry(memory_id), link_type=link_type)
    return ok(RelatedList(count=len(found), entries=tuple(found)))


@router.delete("/relationships/{id:uuid}")
async def unrelate(
    services: Services,
    principal: Writer,
    link_id: EntryPath,
    session_id: SessionQuery = None,
) -> Envelope[Unrelated]:
    """Remove a relationship."""
    caller, links = principal.in_session(session_id), services.coordination.memory.links
    if not await links.unrelate(caller, str(link_id)):
        raise NotFoundError("Relationship not found")
    return ok(Unrelated())


@router.get("/{id:uuid}/versions")
async def list_versions(
    services: Services, principal: Reader, memory_id: EntryPath, session_id: SessionQuery = None
) -> Envelope[MemoryVersionList]:
    """List what an entry held before, newest first."""
    caller, memory = principal.in_session(session_id), services.coordination.memory
    found = await memory.versions(caller, _entry(memory_id))
    return ok(MemoryVersionList(count=len(found), versions=tuple(found)))


@router.get("/{id:uuid}/versions/{version}")
async def get_version(
    services: Services,
    principal: Reader,
    memory_id: EntryPath,
    version: VersionPath,
    session_id: SessionQuery = None,
) -> Envelope[MemoryVersion]:
    """Return a content that was replaced."""
    caller, memory = principal.in_session(session_id), services.coordination.memory
    return ok(await memory.version(caller, _entry(memory_id), version))


@router.post("/{id}/versions/{version}/restore")
async def restore(
    services: Services,
    principal: Writer,
    memory_id: AnyEntryPath,
    version: VersionPath,
    session_id: SessionQuery = None,
) -> Envelope[StoredEntry]:
    """Make a version the content again; the present content becomes a version."""
    caller, memory = principal.in_session(session_id), services.coordination.memory
    return ok(stored_entry(await memory.restore(caller, memory_id, version)))
