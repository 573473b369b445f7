"""`perstack memory`: what Experts and people keep for later."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from perstack.cli import agent_options as a
from perstack.cli import memory_options as m
from perstack.cli import options as o
from perstack.cli import services as s
from perstack.cli.memory_looking import get, list_, search, stats, tags, versions

if TYPE_CHECKING:
    from perstack.domain.memory import Reindexed, StoredMemory
    from perstack.services.memory import MemoryService

Content = Annotated[
    str, typer.Option("-c", "--content", metavar="TEXT", help="What is kept; @FILE reads it.")
]
Embed = Annotated[
    bool | None,
    typer.Option("--embed/--no-embed", help="Make a vector of it (if vector search is on)."),
]
Version = Annotated[
    int, typer.Option("--version", metavar="N", help="Which one: memory versions lists them.")
]


def memory_app() -> typer.Typer:
    """Return the `memory` commands."""
    return s.noun(
        "memory",
        "Memory: what Experts and people keep for later.",
        (store, search, list_, get, delete, stats, tags, versions, restore, reindex),
    )


def store(
    key: m.Key,
    content: Content,
    namespace: m.Namespace = None,
    embed: Embed = None,
    tag: m.Tags = None,
    metadata: s.Metadata = None,
    agent: m.Agent = None,
    session: m.Session = None,
    workspace: o.Workspace = o.HERE,
    config: o.Config = None,
    trust: o.TrustOption = False,
    as_json: a.Json = False,
) -> None:
    """Keep a text under a key; what was there becomes a version."""
    from perstack.cli.agent_work import text_of
    from perstack.cli.listeners import say
    from perstack.domain.memory_views import stored_memory
    from perstack.projection.memory_text import stored_lines

    text, kept = text_of(content, "File"), s.json_object(metadata, "--metadata")

    async def ask(memory: MemoryService) -> StoredMemory:
        return await memory.store(
            m.caller_of(session),
            key,
            text,
            namespace=namespace,
            metadata=kept,
            tags=tag,
            generate_embedding=embed,
            agent_id=m.agent_of(agent),
        )

    made = m.with_memory(a.Place(workspace, config, trust), ask, writes=True)
    s.show(as_json, lambda: s.json_of_one(stored_memory(made)), lambda: stored_lines(made))
    if embed and made.entry.embedder is None and made.warning is None:
        say("Warning: vector search is off, so it has no vector")


def delete(
    key: m.Key,
    namespace: m.Namespace = None,
    session: m.Session = None,
    workspace: o.Workspace = o.HERE,
    config: o.Config = None,
    trust: o.TrustOption = False,
    as_json: a.Json = False,
) -> None:
    """Forget an entry with its versions; one that is not there is no error."""

    async def ask(memory: MemoryService) -> bool:
        return await memory.delete(m.caller_of(session), key, namespace=namespace)

    place = a.Place(workspace, config, trust)
    gone = not s.nothing_there(place) and m.with_memory(place, ask)
    said = "Entry deleted" if gone else "Entry not found"
    s.show(as_json, lambda: {"success": gone, "message": said}, lambda: [f"{said}."])


def restore(
    key: m.Key,
    version: Version,
    namespace: m.Namespace = None,
    session: m.Session = None,
    workspace: o.Workspace = o.HERE,
    config: o.Config = None,
    trust: o.TrustOption = False,
    as_json: a.Json = False,
) -> None:
    """Make an earlier version the content again; the present one becomes a version."""
    from perstack.domain.memory_views import stored_memory
    from perstack.projection.memory_text import stored_lines

    async def ask(memory: MemoryService) -> StoredMemory:
        caller = m.caller_of(session)
        entry = await m.found(memory, caller, key, namespace)
        return await memory.restore(caller, entry.id, version)

    place = a.Place(workspace, config, trust)
    s.refuse_empty(place, "Entry not found")
    made = m.with_memory(place, ask, writes=True)
    s.show(as_json, lambda: s.json_of_one(stored_memory(made)), lambda: stored_lines(made))


def reindex(
    workspace: o.Workspace = o.HERE,
    config: o.Config = None,
    trust: o.TrustOption = False,
    as_json: a.Json = False,
) -> None:
    """Make the vectors that are missing."""
    from perstack.projection.memory_text import stat_lines

    async def ask(memory: MemoryService) -> Reindexed:
        return await memory.index.reindex(m.caller_of(None))

    made = m.with_memory(a.Place(workspace, config, trust), ask, writes=True)
    s.show(
        as_json,
        lambda: s.json_of_one(made),
        lambda: [f"Vectors made: {made.reindexed}", *stat_lines(made, ())],
    )
