"""What the verbs of `perstack memory` share: options, and the way to the memory."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from perstack.cli import services as s

if TYPE_CHECKING:
    from perstack.cli.agent_options import Place
    from perstack.domain.ids import AgentId
    from perstack.domain.memory import Caller, MemoryEntry
    from perstack.services.memory import MemoryService
    from perstack.wiring import ProjectFacts, Tables

T = TypeVar("T")

Key = Annotated[str, typer.Option("-k", "--key", metavar="KEY", help="The entry's key.")]
Namespace = Annotated[
    str | None,
    typer.Option("-n", "--namespace", metavar="NAME", help="The namespace (default)."),
]
Everywhere = Annotated[bool, typer.Option("--all", help="In all namespaces.")]
Session = Annotated[
    str | None,
    typer.Option(
        "--session", metavar="ID", help="Act in a session: its own namespace, no other's."
    ),
]
Agent = Annotated[
    str | None, typer.Option("--agent", metavar="ID", help="In the name of that agent.")
]
Tags = Annotated[
    list[str] | None, typer.Option("--tag", metavar="TAG", help="A tag; may be given again.")
]


def with_memory(
    place: Place, ask: Callable[[MemoryService], Awaitable[T]], *, writes: bool = False
) -> T:
    """Return what `ask` does with the memory; no model is opened.

    Raises:
        ConfigError: the configuration cannot be used, and `ask` writes.
    """
    project = s.project_of(place, writes=writes)

    async def over(tables: Tables, _: ProjectFacts | None) -> T:
        from perstack.wiring import memory_over

        memory = memory_over(tables, project.facts)
        try:
            return await ask(memory)
        finally:
            await memory.index.aclose()

    return s.with_facts(place, project, over)


def caller_of(session: str | None) -> Caller:
    """Return who asks: this user, who sees everything, or what a session may see."""
    from perstack.domain.memory import Caller
    from perstack.services.whoami import whoami

    return Caller(name=whoami(), session_id=s.session_of(session))


def agent_of(agent: str | None) -> AgentId | None:
    """Return the agent that was named."""
    from perstack.domain.ids import AgentId

    return AgentId(agent) if agent else None


async def found(
    memory: MemoryService, caller: Caller, key: str, namespace: str | None
) -> MemoryEntry:
    """Return the entry of a key.

    Raises:
        NotFoundError: the caller sees none.
    """
    from perstack.domain.memory_views import entry_not_found

    entry = await memory.find(caller, key, namespace=namespace)
    if entry is None:
        raise entry_not_found()
    return entry
