"""Memory: what agents and people keep for later, and who may see and change which of it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final, Literal

from pydantic import JsonValue

from perstack.domain.base import Model
from perstack.domain.ids import AgentId, MemoryId, RunId, SessionId
from perstack.domain.moments import Moment
from perstack.errors import DeniedError, UsageError

MatchType = Literal["fts", "vector", "hybrid"]
SearchMode = Literal["words", "phrase", "prefix"]
LinkDirection = Literal["outgoing", "incoming", "both"]
LinkType = Literal[
    "related_to",
    "derived_from",
    "references",
    "depends_on",
    "supersedes",
    "conflicts_with",
    "validates",
]
OriginKind = Literal["person", "agent", "system"]
Access = Literal["read", "write", "delete"]

SESSION_PREFIX: Final = "session:"
PREVIEW_CHARS: Final = 200
RANK_OFFSET: Final = 60
"""The k of reciprocal rank fusion."""

_TAG: Final = re.compile(r"[a-z0-9_-]+")


class MemoryOrigin(Model):
    """Who stored a content: a person, or an agent with its Expert (`name`) and its run.

    "system" is the program itself, whose hooks write down what models and people said alike.
    """

    kind: OriginKind
    name: str
    agent_id: AgentId | None = None
    session_id: SessionId | None = None
    run_id: RunId | None = None


@dataclass(frozen=True, slots=True)
class Scope:
    """Which entries are looked at. `namespace` None: all that are open.

    `isolated`: of the namespaces `session:*` only that of `session_id` is open. With an `agent_id`
    those of other agents are left out, and without `include_shared` those of nobody as well.
    """

    namespace: str | None = None
    isolated: bool = False
    session_id: SessionId | None = None
    agent_id: AgentId | None = None
    include_shared: bool = True

    @property
    def own_session(self) -> str:
        """The one namespace of a session that is open when `isolated`; of no session: none is."""
        return f"{SESSION_PREFIX}{self.session_id or ''}"


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks, as a front door or a skill knows it: never what a request claims of itself.

    `name` is user@host of a person, or the agent's Expert. An agent has an `agent_id`. A person
    without a `session_id` sees everything; with one, what that session may see. `is_system`: the
    program itself, which sees what people see.
    """

    name: str
    session_id: SessionId | None = None
    agent_id: AgentId | None = None
    run_id: RunId | None = None
    is_system: bool = False

    @property
    def isolated(self) -> bool:
        """Whether other sessions' namespaces are closed to the caller."""
        return self.session_id is not None or self.agent_id is not None

    @property
    def origin(self) -> MemoryOrigin:
        """What is noted of the caller beside what it stores."""
        alone: OriginKind = "system" if self.is_system else "person"
        return MemoryOrigin(
            kind=alone if self.agent_id is None else "agent",
            name=self.name,
            agent_id=self.agent_id,
            session_id=self.session_id,
            run_id=self.run_id,
        )

    @property
    def scope(self) -> Scope:
        """All that the caller may see."""
        return Scope(isolated=self.isolated, session_id=self.session_id, agent_id=self.agent_id)

    def check(self, namespace: str, access: Access) -> None:
        """Refuse the namespace of another session.

        Raises:
            DeniedError: it is one.
        """
        if not self.isolated or not namespace.startswith(SESSION_PREFIX):
            return
        theirs = namespace.removeprefix(SESSION_PREFIX)
        if theirs != self.session_id:
            ours = f"session {self.session_id}" if self.session_id else "no session"
            raise DeniedError(
                f"Access denied: cannot {access} memory in session {theirs} from {ours}"
            )


class MemoryEntry(Model):
    """Something kept. Times in Unix milliseconds.

    `agent_id` None: shared. `origin` is who stored the present content. `version` counts the
    contents it had before. `embedder` made its vector; None: it has none.
    """

    id: MemoryId
    key: str
    namespace: str
    content: str
    metadata: dict[str, JsonValue] | None = None
    tags: tuple[str, ...] = ()
    agent_id: AgentId | None = None
    origin: MemoryOrigin
    version: int = 0
    embedder: str | None = None
    created_at: Moment
    updated_at: Moment


class MemorySummary(Model):
    """An entry in a list; `content_preview` has at most 200 characters and `...`."""

    id: MemoryId
    key: str
    namespace: str
    content_preview: str
    metadata: dict[str, JsonValue] | None = None
    tags: tuple[str, ...] = ()
    agent_id: AgentId | None = None
    origin: MemoryOrigin
    created_at: Moment
    updated_at: Moment


class MemoryPage(Model):
    """A part of a list, newest change first. `total` counts all that the caller may see."""

    total: int
    count: int
    offset: int
    entries: tuple[MemorySummary, ...]


class StoredMemory(Model):
    """What storing did. `warning` says why there is no vector where there should be one."""

    entry: MemoryEntry
    created: bool
    warning: str | None = None


class MemoryHit(Model):
    """An entry that was found. All figures are 0..1, more is better.

    `score` compares the hits of one search. `similarity` is a cosine, `text_score` that of the
    words; None where that search did not find the entry.
    """

    entry: MemoryEntry
    score: float
    match_type: MatchType
    similarity: float | None = None
    text_score: float | None = None


class MemoryAnswer(Model):
    """What a search found, best first. `warning` says why it went without vectors."""

    count: int
    results: tuple[MemoryHit, ...]
    embedder: str | None = None
    warning: str | None = None


class MemoryVersion(Model):
    """A content that was replaced at `created_at`. `origin` is who had stored it."""

    memory_id: MemoryId
    version: int
    content: str
    metadata: dict[str, JsonValue] | None = None
    origin: MemoryOrigin
    created_at: Moment


class MemoryLink(Model):
    """How one entry stands to another."""

    id: str
    from_id: MemoryId
    to_id: MemoryId
    relationship_type: LinkType
    metadata: dict[str, JsonValue] | None = None
    created_at: Moment


class RelatedMemory(Model):
    """An entry, and how another that was asked about stands to it."""

    entry: MemoryEntry
    link: MemoryLink


class TagCount(Model):
    """A tag and how many entries have it."""

    tag: str
    count: int


class NamespaceCount(Model):
    """A namespace and how many entries it has."""

    namespace: str
    entries: int


class MemoryStats(Model):
    """How much there is. `coverage` is the per cent of entries with a vector of `embedder`."""

    total: int
    indexed: int
    coverage: float
    embedder: str | None = None
    warning: str | None = None


class Reindexed(MemoryStats):
    """How much there is after reindexing, which made so many vectors."""

    reindexed: int


def tag_name(text: str) -> str:
    """Return the tag that a text means.

    Raises:
        UsageError: it is no tag.
    """
    tag = text.strip().lower()
    if not tag:
        raise UsageError("Tag name cannot be empty")
    if len(tag) > 50:
        raise UsageError("Tag name must be 50 characters or less")
    if not _TAG.fullmatch(tag):
        raise UsageError(
            "Tag name can only contain lowercase letters, numbers, hyphens, and underscores"
        )
    return tag


def preview(content: str) -> str:
    """Return the beginning of a content."""
    return content if len(content) <= PREVIEW_CHARS else content[:PREVIEW_CHARS] + "..."


def fuse(
    by_vector: tuple[MemoryHit, ...], by_text: tuple[MemoryHit, ...], *, limit: int
) -> tuple[MemoryHit, ...]:
    """Return one list of both by reciprocal rank fusion, each entry once.

    An entry counts 1/(60 + rank) in each list that has it; the score is that sum as a share of the
    most there can be. With one list empty the other stays as it is. Of equals, a vector's is first.
    """
    if not by_vector or not by_text:
        return (by_vector or by_text)[:limit]
    best = 2 / (RANK_OFFSET + 1)
    found: dict[MemoryId, MemoryHit] = {}
    for hits in (by_vector, by_text):
        for rank, hit in enumerate(hits, start=1):
            share = 1 / (RANK_OFFSET + rank) / best
            there = found.get(hit.entry.id)
            found[hit.entry.id] = (
                hit.model_copy(update={"score": share})
                if there is None
                else there.model_copy(
                    update={
                        "score": there.score + share,
                        "match_type": "hybrid",
                        "text_score": hit.text_score,
                    }
                )
            )
    ranked = sorted(found.values(), key=lambda hit: -hit.score)
    return tuple(_rounded(hit) for hit in ranked[:limit])


def _rounded(hit: MemoryHit) -> MemoryHit:
    return hit.model_copy(update={"score": round(hit.score, 6)})
