"""Memory: what agents and people keep for later."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Final

from perstack.domain.ids import MemoryId
from perstack.domain.memory import Caller, MemoryEntry, MemorySummary, MemoryVersion, preview
from perstack.errors import NotFoundError, UsageError
from perstack.services.whoami import whoami
from perstack_tui.local.records.rows import (
    age,
    clock,
    many,
    moment,
    named,
    said,
    structure,
    unknown,
    word,
)
from perstack_tui.local.records.services import Services
from perstack_tui.ports.records import Column, Field, Row, Verb

_AT_ONCE: Final = 1_000
_FOUND: Final = 100
_RESTORE: Final = Verb("restore", "R", "restore", asks="the version, as the details number them")
_TAG: Final = Verb("tag", "T", "tag", asks="a tag: a-z 0-9 _ -")
_DELETE: Final = Verb("delete", "D", "delete", warns="The entry is gone with all its versions.")
_NEW: Final = Verb("new", "n", "remember", asks="a key, a colon, what is to be remembered")


class Memory:
    """All entries, the last changed first; a filter searches by words and, where on, meaning."""

    empty = (
        "Nothing is remembered yet.\n"
        "n keeps something; an Expert does with the memory skill in perstack.toml."
    )
    columns = (
        Column("key", 18),
        Column("content", 0),
        Column("namespace", 14),
        Column("by", 12),
        Column("age", 5, right=True),
    )
    verbs = (_NEW,)

    def __init__(self, services: Services) -> None:
        self._own = services
        self._me = Caller(whoami())

    async def page(self, needle: str, limit: int, offset: int) -> tuple[Sequence[Row], int]:
        """Return rows, and how many match in all."""
        row = partial(_row, now_ms=self._own.clock.now_ms())
        async with self._own.memory() as memory:
            if needle.strip():
                answer = await memory.search(
                    self._me, needle[:_AT_ONCE], everywhere=True, limit=_FOUND
                )
                hits = [row(hit.entry) for hit in answer.results]
                return hits[offset : offset + limit], len(hits)
            rows: list[Row] = []
            total = 0
            while len(rows) < limit:
                page = await memory.list(
                    self._me,
                    everywhere=True,
                    limit=min(_AT_ONCE, limit - len(rows)),
                    offset=offset + len(rows),
                )
                total = page.total
                rows += [row(entry) for entry in page.entries]
                if not page.entries:
                    break
            return rows, total

    async def details(self, record_id: str) -> Sequence[Field]:
        """Return all of a record."""
        at = MemoryId(record_id)
        async with self._own.memory() as memory:
            entry = await memory.find_by_id(self._me, at)
            if entry is None:
                raise NotFoundError("the entry is gone")
            versions = await memory.versions(self._me, at)
        origin = entry.origin
        return [
            Field("key", entry.key, "strong"),
            Field("namespace", entry.namespace),
            *said("tags", entry.tags),
            Field("content", entry.content),
            Field("by", f"{origin.kind} {origin.name}"),
            *said("belongs to", entry.agent_id or "everybody"),
            *moment("made", entry.created_at),
            *moment("changed", entry.updated_at),
            *said("found by", f"words, meaning ({entry.embedder})" if entry.embedder else "words"),
            *many("versions before", [_version(one) for one in versions]),
            *structure("metadata", entry.metadata),
            *said("run", origin.run_id),
            *said("id", entry.id),
        ]

    async def act(self, record_id: str | None, verb_id: str, text: str | None) -> str:
        """Do a verb; return what to tell."""
        at = MemoryId(record_id or "")
        async with self._own.memory() as memory:
            match verb_id:
                case "new":
                    key, content = named(text)
                    content = await self._own.redacted(content)
                    stored = await memory.store(self._me, key, content, shared=True)
                    did = "is remembered" if stored.created else "was replaced; a version is kept"
                    return f"{stored.entry.key} {did}"
                case "restore":
                    number = _number(text)
                    stored = await memory.restore(self._me, at, number)
                    return f"version {number} of {stored.entry.key} is the content again"
                case "tag":
                    entry = await memory.links.tag(self._me, at, text or "")
                    return f"{entry.key} has the tags {', '.join(entry.tags)}"
                case "delete":
                    gone = await memory.delete_by_id(self._me, at)
                    return "the entry is deleted" if gone else "somebody deleted it before"
                case _:
                    raise unknown(verb_id)


def _number(text: str | None) -> int:
    digits = (text or "").strip().lstrip("v")
    if not digits.isascii() or not digits.isdigit() or len(digits) > 9:
        raise UsageError("the number of a version is wanted; the details list them")
    return int(digits)


def _row(entry: MemorySummary | MemoryEntry, *, now_ms: int) -> Row:
    is_whole = isinstance(entry, MemoryEntry)
    content = preview(entry.content) if is_whole else entry.content_preview
    verbs = (_RESTORE, _TAG, _DELETE)
    return Row(
        entry.id,
        (
            word(entry.key, "strong"),
            word(content),
            word(entry.namespace, "muted"),
            word(entry.origin.name, "muted"),
            age(entry.updated_at, now_ms),
        ),
        verbs,
    )


def _version(one: MemoryVersion) -> str:
    text = preview(one.content)
    return f"{one.version}  {clock(one.created_at)}  {one.origin.kind} {one.origin.name}: {text}"
