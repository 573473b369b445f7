"""`perstack memory search`, `list`, `get`, `stats`, `tags` and `versions`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from perstack.cli import agent_options as a
from perstack.cli import memory_options as m
from perstack.cli import options as o
from perstack.cli import services as s

if TYPE_CHECKING:
    from perstack.domain.memory import (
        MemoryAnswer,
        MemoryEntry,
        MemoryPage,
        MemoryStats,
        MemoryVersion,
        NamespaceCount,
        TagCount,
    )
    from perstack.services.memory import MemoryService

Query = Annotated[
    str, typer.Option("-q", "--query", metavar="TEXT", help="What is looked for; @FILE reads it.")
]
Vector = Annotated[
    bool | None,
    typer.Option("--vector/--no-vector", help="Also by meaning (if vector search is on)."),
]
Threshold = Annotated[
    float,
    typer.Option("--threshold", metavar="X", help="Least cosine of what only meaning finds."),
]


def search(
    query: Query,
    namespace: m.Namespace = None,
    limit: s.Limit = 10,
    vector: Vector = None,
    threshold: Threshold = 0.7,
    everywhere: m.Everywhere = False,
    agent: m.Agent = None,
    session: m.Session = None,
    workspace: o.Workspace = o.HERE,
    config: o.Config = None,
    trust: o.TrustOption = False,
    as_json: a.Json = False,
) -> None:
    """Find entries by words and by meaning, best first."""
    from perstack.cli.agent_work import text_of
    from perstack.domain.memory import MemoryAnswer
    from perstack.domain.memory_views import matches
    from perstack.projection.memory_text import answer_lines

    wanted = text_of(query, "File")

    async def ask(memory: MemoryService) -> MemoryAnswer:
        return await memory.search(
            m.caller_of(session),
            wanted,
            namespace=namespace,
            everywhere=everywhere,
            limit=limit,
            threshold=threshold,
            use_vector=vector,
            agent_id=m.agent_of(agent),
        )

    place = a.Place(workspace, config, trust)
    nothing = MemoryAnswer(count=0, results=())
    found = nothing if s.nothing_there(place) else m.with_memory(place, ask)
    s.show(as_json, lambda: s.json_of_one(matches(found)), lambda: answer_lines(found))


def list_(
    namespace: m.Namespace = None,
    limit: s.Limit = 20,
    offset: s.Offset = 0,
    everywhere: m.Everywhere = False,
    tag: m.Tags = None,
    agent: m.Agent = None,
    session: m.Session = None,
    workspace: o.Workspace = o.HERE,
    config: o.Config = None,
    trust: o.TrustOption = False,
    as_json: a.Json = False,
) -> None:
    """List entries, the last changed first; with --tag those that have all of the tags."""
    from perstack.domain.memory import MemoryPage
    from perstack.projection.memory_text import page_rows

    async def ask(memory: MemoryService) -> MemoryPage:
        return await memory.list(
            m.caller_of(session),
            namespace=namespace,
            everywhere=everywhere,
            tags=tag or (),
            limit=limit,
            offset=offset,
            agent_id=m.agent_of(agent),
        )

    place = a.Place(workspace, config, trust)
    nothing = MemoryPage(total=0, count=0, offset=offset, entries=())
    found = nothing if s.nothing_there(place) else m.with_memory(place, ask)
    s.show(as_json, lambda: s.json_of_one(found), lambda: page_rows(found))


def get(
    key: m.Key,
    namespace: m.Namespace = None,
    session: m.Session = None,
    workspace: o.Workspace = o.HERE,
    config: o.Config = None,
    trust: o.TrustOption = False,
    as_json: a.Json = False,
) -> None:
    """Show an entry whole."""
    from perstack.projection.memory_text import entry_lines

    async def ask(memory: MemoryService) -> MemoryEntry:
        return await m.found(memory, m.caller_of(session), key, namespace)

    place = a.Place(workspace, config, trust)
    s.refuse_empty(place, "Entry not found")
    entry = m.with_memory(place, ask)
    s.show(as_json, lambda: s.json_of_one(entry), lambda: entry_lines(entry))


def stats(
    namespace: m.Namespace = None,
    session: m.Session = None,
    workspace: o.Workspace = o.HERE,
    config: o.Config = None,
    trust: o.TrustOption = False,
    as_json: a.Json = False,
) -> None:
    """Show how many entries there are, by namespace, and how many have a vector."""
    from perstack.domain.memory import MemoryStats
    from perstack.projection.memory_text import stat_lines

    async def ask(memory: MemoryService) -> tuple[MemoryStats, list[NamespaceCount]]:
        caller = m.caller_of(session)
        return await memory.index.stats(caller), await memory.index.namespaces(caller)

    place = a.Place(workspace, config, trust)
    nothing: tuple[MemoryStats, list[NamespaceCount]] = (
        MemoryStats(total=0, indexed=0, coverage=0.0),
        [],
    )
    found, all_of_them = nothing if s.nothing_there(place) else m.with_memory(place, ask)
    namespaces = [one for one in all_of_them if namespace in (None, one.namespace)]
    s.show(
        as_json,
        lambda: {
            "stats": s.json_of_one(found),
            "namespaces": [s.json_of_one(one) for one in namespaces],
        },
        lambda: stat_lines(found, namespaces),
    )


def tags(
    session: m.Session = None,
    workspace: o.Workspace = o.HERE,
    config: o.Config = None,
    trust: o.TrustOption = False,
    as_json: a.Json = False,
) -> None:
    """List the tags that entries have, most used first."""
    from perstack.projection.memory_text import tag_rows

    async def ask(memory: MemoryService) -> list[TagCount]:
        return list(await memory.links.tags(m.caller_of(session)))

    place = a.Place(workspace, config, trust)
    found = [] if s.nothing_there(place) else m.with_memory(place, ask)
    s.show(as_json, lambda: s.json_of_many("tags", found), lambda: tag_rows(found))


def versions(
    key: m.Key,
    namespace: m.Namespace = None,
    session: m.Session = None,
    workspace: o.Workspace = o.HERE,
    config: o.Config = None,
    trust: o.TrustOption = False,
    as_json: a.Json = False,
) -> None:
    """List what an entry held before, newest first."""
    from perstack.projection.memory_text import version_rows

    async def ask(memory: MemoryService) -> list[MemoryVersion]:
        caller = m.caller_of(session)
        entry = await m.found(memory, caller, key, namespace)
        return list(await memory.versions(caller, entry.id))

    place = a.Place(workspace, config, trust)
    s.refuse_empty(place, "Entry not found")
    found = m.with_memory(place, ask)
    s.show(as_json, lambda: s.json_of_many("versions", found), lambda: version_rows(found))
