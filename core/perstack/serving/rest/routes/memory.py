"""/api/v1/memory: entries; `memory_links` has their tags, versions and relationships.

Routes with a fixed word come before those of a key, which may hold slashes; what has to do with an
entry's parts names the entry by its id, a UUID, so that no key is mistaken for one.
"""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import APIRouter, Depends, Path, Query
from pydantic import Field, JsonValue

from perstack.domain.base import Model
from perstack.domain.ids import AgentId, SessionId
from perstack.domain.memory import (
    MemoryEntry,
    MemoryStats,
    MemorySummary,
    Reindexed,
    TagCount,
)
from perstack.domain.memory_views import MemoryMatches, entry_not_found, matches
from perstack.errors import UsageError
from perstack.serving.rest.context import Principal, Served, Services, needs
from perstack.serving.rest.envelope import Envelope, Page, ok, page
from perstack.serving.rest.parameters import (
    ID_LENGTH,
    AgentQuery,
    Body,
    Limit,
    Offset,
    SessionQuery,
    Share,
    Whole,
    Yes,
)
from perstack.serving.rest.routes import memory_links
from perstack.serving.rest.routes.memory_links import StoredEntry, stored_entry

router = APIRouter(prefix="/memory", tags=["memory"])
Reader = Annotated[Principal, Depends(needs("memory", "read"))]
Writer = Annotated[Principal, Depends(needs("memory", "write"))]
NamespaceQuery = Annotated[str | None, Query(min_length=1, max_length=100)]
SharedQuery = Annotated[
    bool, Query(alias="includeShared", description="With agentId: what belongs to nobody, too.")
]
Namespace = Annotated[str | None, Field(min_length=1, max_length=100)]
KeyPath = Annotated[str, Path(min_length=1, max_length=500)]


class StoreBody(Body):
    """What to remember."""

    key: Annotated[str, Field(min_length=1, max_length=500)]
    content: Annotated[str, Field(min_length=1, max_length=1_000_000)]
    session_id: Annotated[SessionId | None, Field(min_length=1, max_length=ID_LENGTH)] = None
    """Stores in this session's namespace, unless one is named"""
    namespace: Namespace = None
    metadata: dict[str, JsonValue] | None = None
    tags: Annotated[list[str] | None, Field(max_length=100)] = None
    generate_embedding: Yes | None = None
    """False makes no vector"""
    agent_id: Annotated[AgentId | None, Field(min_length=1, max_length=ID_LENGTH)] = None
    """Whose entry it is; left out, everybody's"""


class SearchBody(Body):
    """What to look for."""

    query: Annotated[str, Field(max_length=1_000)]
    session_id: Annotated[SessionId | None, Field(min_length=1, max_length=ID_LENGTH)] = None
    namespace: Namespace = None
    limit: Annotated[Whole, Field(ge=1, le=100)] = 10
    threshold: Annotated[Share, Field(ge=0, le=1)] = 0.7
    use_vector: Yes | None = None
    """By meaning, too; left out, where vector search is on"""
    agent_id: Annotated[AgentId | None, Field(min_length=1, max_length=ID_LENGTH)] = None
    include_shared: Yes = True


class TagList(Model):
    """Tags, most used first."""

    count: int
    tags: tuple[TagCount, ...]


class Forgotten(Model):
    """That an entry is gone, with its versions, tags and relationships."""

    deleted: Literal[True] = True


@router.get("")
async def list_entries(
    services: Services,
    principal: Reader,
    session_id: SessionQuery = None,
    namespace: NamespaceQuery = None,
    limit: Limit = 50,
    offset: Offset = 0,
    agent_id: AgentQuery = None,
    include_shared: SharedQuery = True,
) -> Page[MemorySummary]:
    """List entries, newest change first: of a namespace, of a session, or else all there are."""
    found = await services.coordination.memory.list(
        principal.in_session(session_id),
        namespace=namespace,
        everywhere=namespace is None and session_id is None,
        limit=limit,
        offset=offset,
        agent_id=agent_id,
        include_shared=include_shared,
    )
    return page(found.entries, limit=limit, offset=offset, total=found.total)


@router.post("", status_code=201)
async def store(services: Services, principal: Writer, body: StoreBody) -> Envelope[StoredEntry]:
    """Store under a key; what was there becomes a version."""
    stored = await services.coordination.memory.store(
        principal.in_session(body.session_id),
        body.key,
        body.content,
        namespace=body.namespace,
        metadata=body.metadata,
        tags=body.tags,
        generate_embedding=body.generate_embedding,
        agent_id=body.agent_id,
    )
    return ok(stored_entry(stored))


@router.get("/search")
async def search(
    services: Services,
    principal: Reader,
    q: Annotated[str | None, Query(max_length=1_000)] = None,
    query: Annotated[str | None, Query(max_length=1_000, description="The same as q.")] = None,
    session_id: SessionQuery = None,
    namespace: NamespaceQuery = None,
    limit: Annotated[int, Query(ge=1, le=100)] = 10,
    threshold: Annotated[float, Query(ge=0, le=1)] = 0.7,
    use_vector: Annotated[bool | None, Query(alias="useVector")] = None,
    agent_id: AgentQuery = None,
    include_shared: SharedQuery = True,
) -> Envelope[MemoryMatches]:
    """Find entries by words and by meaning, best first."""
    wanted = q if q is not None else query
    if wanted is None:
        raise UsageError("q is required", hint="write ?q=what+to+look+for")
    asked = SearchBody(
        query=wanted,
        session_id=session_id,
        namespace=namespace,
        limit=limit,
        threshold=threshold,
        use_vector=use_vector,
        agent_id=agent_id,
        include_shared=include_shared,
    )
    return await _found(services, principal, asked)


@router.post("/search")
async def search_by_body(
    services: Services, principal: Reader, body: SearchBody
) -> Envelope[MemoryMatches]:
    """Find entries by words and by meaning, best first."""
    return await _found(services, principal, body)


@router.get("/search/tags")
async def search_by_tags(
    services: Services,
    principal: Reader,
    tags: Annotated[str, Query(min_length=1, max_length=2_000, description="a,b: with both.")],
    session_id: SessionQuery = None,
    limit: Limit = 50,
    offset: Offset = 0,
) -> Page[MemorySummary]:
    """List the entries that have all of the tags, of all namespaces that are open."""
    found = await services.coordination.memory.list(
        principal.in_session(session_id),
        everywhere=True,
        tags=tags.split(","),
        limit=limit,
        offset=offset,
    )
    return page(found.entries, limit=limit, offset=offset, total=found.total)


@router.get("/tags")
async def list_tags(
    services: Services, principal: Reader, session_id: SessionQuery = None
) -> Envelope[TagList]:
    """List tags, most used first."""
    caller = principal.in_session(session_id)
    found = await services.coordination.memory.links.tags(caller)
    return ok(TagList(count=len(found), tags=tuple(found)))


@router.get("/stats/vector")
async def vector_stats(
    services: Services, principal: Reader, session_id: SessionQuery = None
) -> Envelope[MemoryStats]:
    """Return how much of the memory has a vector."""
    caller = principal.in_session(session_id)
    return ok(await services.coordination.memory.index.stats(caller))


@router.post("/reindex")
async def reindex(services: Services, principal: Writer) -> Envelope[Reindexed]:
    """Make the vectors that are missing."""
    return ok(await services.coordination.memory.index.reindex(principal.caller))


router.include_router(memory_links.router)


@router.get("/{key:path}")
async def get_entry(
    services: Services,
    principal: Reader,
    key: KeyPath,
    session_id: SessionQuery = None,
    namespace: NamespaceQuery = None,
) -> Envelope[MemoryEntry]:
    """Return the entry of a key, of the default namespace or a session's unless one is named."""
    caller = principal.in_session(session_id)
    found = await services.coordination.memory.find(caller, key, namespace=namespace)
    if found is None:
        raise entry_not_found()
    return ok(found)


@router.delete("/{key:path}")
async def delete_entry(
    services: Services,
    principal: Writer,
    key: KeyPath,
    session_id: SessionQuery = None,
    namespace: NamespaceQuery = None,
) -> Envelope[Forgotten]:
    """Delete the entry of a key with its versions, tags and relationships."""
    caller = principal.in_session(session_id)
    if not await services.coordination.memory.delete(caller, key, namespace=namespace):
        raise entry_not_found()
    return ok(Forgotten())


async def _found(
    services: Served, principal: Principal, asked: SearchBody
) -> Envelope[MemoryMatches]:
    answer = await services.coordination.memory.search(
        principal.in_session(asked.session_id),
        asked.query,
        namespace=asked.namespace,
        everywhere=asked.namespace is None and asked.session_id is None,
        limit=asked.limit,
        threshold=asked.threshold,
        use_vector=asked.use_vector,
        agent_id=asked.agent_id,
        include_shared=asked.include_shared,
    )
    return ok(matches(answer))
