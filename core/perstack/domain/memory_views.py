"""What is told of memory, in the seed's shapes: dump them without None values."""

from __future__ import annotations

from typing import Literal

from perstack.domain.base import Model
from perstack.domain.ids import AgentId
from perstack.domain.memory import MatchType, MemoryAnswer, MemoryEntry, MemoryHit, StoredMemory
from perstack.errors import NotFoundError


class MemoryStored(Model):
    """An entry that was stored; `warning` says why it has no vector where it should have one."""

    success: Literal[True] = True
    entry: MemoryEntry
    created: bool
    warning: str | None = None


class MemoryFound(Model):
    """An entry that was looked for."""

    found: Literal[True] = True
    entry: MemoryEntry


class MemoryMatch(Model):
    """An entry that a search found, and why. Key, namespace and owner stand beside it once more."""

    entry: MemoryEntry
    key: str
    namespace: str
    agent_id: AgentId | None = None
    score: float
    match_type: MatchType
    similarity: float | None = None
    text_score: float | None = None


class MemoryMatches(Model):
    """What a search found, best first. `warning` says why it went without vectors."""

    count: int
    results: tuple[MemoryMatch, ...]
    embedder: str | None = None
    warning: str | None = None


class MemoryDeleted(Model):
    """That an entry is gone."""

    success: Literal[True] = True
    message: Literal["Entry deleted"] = "Entry deleted"


def stored_memory(stored: StoredMemory) -> MemoryStored:
    """Return what storing did as the seed's `memory_store` answers it."""
    return MemoryStored(entry=stored.entry, created=stored.created, warning=stored.warning)


def matches(answer: MemoryAnswer) -> MemoryMatches:
    """Return what a search found as the seed's `memory_search` answers it."""
    return MemoryMatches(
        count=answer.count,
        results=tuple(map(_match, answer.results)),
        embedder=answer.embedder,
        warning=answer.warning,
    )


def _match(hit: MemoryHit) -> MemoryMatch:
    return MemoryMatch(
        entry=hit.entry,
        key=hit.entry.key,
        namespace=hit.entry.namespace,
        agent_id=hit.entry.agent_id,
        score=hit.score,
        match_type=hit.match_type,
        similarity=hit.similarity,
        text_score=hit.text_score,
    )


def entry_not_found() -> NotFoundError:
    """Return what every door says where a key has no entry that the caller sees."""
    return NotFoundError(
        "Entry not found", hint="memory_list and perstack memory list --all show what there is"
    )
