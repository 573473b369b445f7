"""What is remembered as lines for a reader, in which nothing acts on a terminal."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Final

from perstack.domain.memory import (
    MemoryAnswer,
    MemoryEntry,
    MemoryHit,
    MemoryPage,
    MemoryStats,
    MemorySummary,
    MemoryVersion,
    NamespaceCount,
    StoredMemory,
    TagCount,
    preview,
)
from perstack.projection.cutting import one_line
from perstack.projection.log_header import moment
from perstack.projection.table_text import between_rules, block, field, in_columns

NO_RESULTS: Final = "No results found."
NO_ENTRIES: Final = "No entries."
NO_TAGS: Final = "No tags."
NO_VERSIONS: Final = "No earlier versions."
_CONTENT_CHARACTERS: Final = 48
_HEAD: Final = ("KEY", "NAMESPACE", "UPDATED", "CONTENT")
_VERSION_HEAD: Final = ("VERSION", "REPLACED", "BY", "CONTENT")


def stored_lines(stored: StoredMemory) -> Iterator[str]:
    """Yield what was stored."""
    entry = stored.entry
    yield from _about(entry)
    if not stored.created:
        yield field("Replaced", f"what is version {entry.version} now")
    if stored.warning:
        yield field("Warning", stored.warning)


def entry_lines(entry: MemoryEntry) -> Iterator[str]:
    """Yield an entry whole, its content between rules."""
    yield from _about(entry)
    yield field("Updated", moment(entry.updated_at))
    yield field("By", f"{entry.origin.name} ({entry.origin.kind})")
    if entry.version:
        yield field("Earlier", f"{entry.version} version{'s' if entry.version > 1 else ''}")
    if entry.tags:
        yield field("Tags", ", ".join(entry.tags))
    if entry.metadata:
        yield field("Metadata", json.dumps(entry.metadata, ensure_ascii=False))
    yield from between_rules(entry.content)


def answer_lines(answer: MemoryAnswer) -> Iterator[str]:
    """Yield what a search found, best first."""
    if not answer.results:
        yield NO_RESULTS
    for number, hit in enumerate(answer.results):
        if number:
            yield ""
        yield from _hit_lines(hit)
    if answer.warning:
        yield field("Warning", answer.warning)


def page_rows(page: MemoryPage) -> Iterator[str]:
    """Yield a heading and a line an entry, and how many there are in all."""
    if not page.entries:
        yield NO_ENTRIES if page.total == 0 else f"No entries there; {page.total} in all."
        return
    yield from in_columns([_HEAD, *map(_row, page.entries)])
    if page.count < page.total:
        first = page.offset + 1
        yield f"{first} to {page.offset + page.count} of {page.total}"


def version_rows(versions: Sequence[MemoryVersion]) -> Iterator[str]:
    """Yield a heading and a line a content that was replaced, newest first."""
    if not versions:
        yield NO_VERSIONS
        return
    rows = [
        (
            str(one.version),
            moment(one.created_at),
            one.origin.name,
            one_line(one.content, _CONTENT_CHARACTERS),
        )
        for one in versions
    ]
    yield from in_columns([_VERSION_HEAD, *rows])


def tag_rows(tags: Sequence[TagCount]) -> Iterator[str]:
    """Yield a heading and a line a tag, most used first."""
    if not tags:
        yield NO_TAGS
        return
    yield from in_columns([("TAG", "ENTRIES"), *((one.tag, str(one.count)) for one in tags)])


def stat_lines(stats: MemoryStats, namespaces: Sequence[NamespaceCount]) -> Iterator[str]:
    """Yield how much there is, by namespace."""
    yield field("Entries", str(stats.total))
    yield field("Indexed", f"{stats.indexed} ({stats.coverage:g}%)")
    yield field("Embedder", stats.embedder or "none: words only")
    if stats.warning:
        yield field("Warning", stats.warning)
    if namespaces:
        rows = [(one.namespace, str(one.entries)) for one in namespaces]
        yield from in_columns([("NAMESPACE", "ENTRIES"), *rows])


def _about(entry: MemoryEntry) -> Iterator[str]:
    yield field("ID", entry.id)
    yield field("Key", entry.key)
    yield field("Namespace", entry.namespace)
    yield field("Created", moment(entry.created_at))


def _hit_lines(hit: MemoryHit) -> Iterator[str]:
    yield field("Key", hit.entry.key)
    yield field("Namespace", hit.entry.namespace)
    yield field("Score", f"{hit.score:.2f} ({hit.match_type})")
    yield from block(preview(hit.entry.content))


def _row(entry: MemorySummary) -> tuple[str, ...]:
    said = one_line(entry.content_preview, _CONTENT_CHARACTERS)
    return entry.key, entry.namespace, moment(entry.updated_at), said
