"""Records as rows and fields: how states, times and structures are said."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Final, Protocol, TypeVar

import anyio.to_thread
from pydantic import BaseModel, JsonValue

from perstack.errors import UsageError
from perstack_tui.ports.records import Cell, Column, Field, Page, Row, Tone, Verb
from perstack_tui.state.filters import found_in
from perstack_tui.state.wording import span_of_time

MOST: Final = 1_000
_MANY: Final = 300
_STATES: Final[dict[str, tuple[str, Tone]]] = {
    "running": ("●", "run"),
    "active": ("●", "run"),
    "coding": ("●", "run"),
    "reviewing": ("●", "run"),
    "fixing": ("●", "run"),
    "development": ("●", "run"),
    "completed": ("✓", "done"),
    "approved": ("✓", "done"),
    "normal": ("✓", "done"),
    "stands": ("✓", "done"),
    "failed": ("✗", "fail"),
    "lost": ("✗", "fail"),
    "error": ("✗", "fail"),
    "rejected": ("✗", "fail"),
    "terminated": ("✗", "fail"),
    "termination": ("✗", "fail"),
    "stopped": ("■", "stop"),
    "aborted": ("■", "stop"),
    "retired": ("■", "stop"),
    "cancelled": ("■", "stop"),
    "revoked": ("■", "stop"),
    "used up": ("■", "stop"),
    "review": ("▲", "need"),
    "pending_review": ("▲", "need"),
    "intervention": ("▲", "need"),
    "paused": ("!", "stall"),
    "warning": ("!", "stall"),
}
T = TypeVar("T")


class Kind(Protocol):
    """Records of one kind; see `ports.records.Records`. Asked only while there is a database."""

    empty: str
    columns: tuple[Column, ...]
    verbs: tuple[Verb, ...]

    async def page(self, needle: str, limit: int, offset: int) -> tuple[Sequence[Row], int]:
        """Return rows, and how many match in all."""
        ...

    async def details(self, record_id: str) -> Sequence[Field]:
        """Return all of a record."""
        ...

    async def act(self, record_id: str | None, verb_id: str, text: str | None) -> str:
        """Do a verb; return what to tell."""
        ...


def state(word: str) -> Cell:
    """Return a state as glyph, word and colour."""
    glyph, tone = _STATES.get(word, ("○", "idle"))
    return Cell(f"{glyph} {word.replace('_', ' ')}", tone)


def word(text: str | None, tone: Tone = "text") -> Cell:
    """Return a text as a cell; nothing is said as nothing."""
    return Cell((text or "")[:1_000], tone)


def age(at_ms: int | None, now_ms: int) -> Cell:
    """Return how long ago something was."""
    text = "" if at_ms is None else span_of_time(now_ms - at_ms)
    return Cell(text, "muted", searched=False)


async def selected(
    items: Sequence[T], row: Callable[[T], Row], needle: str, limit: int, offset: int
) -> tuple[Sequence[Row], int]:
    """Return the rows of a page of those that match `needle`, and how many do."""
    work = partial(_select, items, row, needle, limit, offset)
    return await anyio.to_thread.run_sync(work) if len(items) > _MANY else work()


def _select(
    items: Sequence[T], row: Callable[[T], Row], needle: str, limit: int, offset: int
) -> tuple[Sequence[Row], int]:
    if not needle.strip():
        return [row(item) for item in items[offset : offset + limit]], len(items)
    rows = (row(item) for item in items)
    found = [made for made in rows if found_in(_hay(made), needle)]
    return found[offset : offset + limit], len(found)


def _hay(row: Row) -> str:
    return " ".join((row.id, *(cell.text for cell in row.cells if cell.searched)))


# --- fields ---------------------------------------------------------------------------------


def said(name: str, value: str | int | Sequence[str] | None, tone: Tone = "text") -> list[Field]:
    """Return a field, none where there is nothing to say; several words with commas."""
    if value is None or value == "" or value == ():
        return []
    return [Field(name, str(value) if isinstance(value, (str, int)) else ", ".join(value), tone)]


def moment(name: str, at_ms: int | None) -> list[Field]:
    """Return a field with a time of the local clock."""
    return [] if at_ms is None else [Field(name, clock(at_ms))]


def clock(at_ms: int) -> str:
    """Return a time of the local clock with its date."""
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(at_ms / 1000))


def stated(word: str) -> Field:
    """Return a state as a field."""
    cell = state(word)
    return Field("state", cell.text, cell.tone)


def structure(name: str, value: object) -> list[Field]:
    """Return a structure as indented JSON, none where it is empty."""
    if not value:
        return []
    return [Field(name, json.dumps(_plain(value), indent=2, ensure_ascii=False, default=str))]


def many(name: str, lines: Sequence[str]) -> list[Field]:
    """Return a field of a line each, none where there are none."""
    return [Field(name, "\n".join(lines))] if lines else []


def _plain(value: object) -> JsonValue | object:
    return value.model_dump(mode="json") if isinstance(value, BaseModel) else value


def unknown(verb_id: str) -> UsageError:
    """Return that there is no such verb, or that it needs a record."""
    return UsageError(f"nothing is done by {verb_id[:40]!r} here")


def named(text: str | None) -> tuple[str, str]:
    """Return what stands before and behind the first colon.

    Raises:
        UsageError: one of them is missing.
    """
    before, _, behind = (text or "").partition(":")
    if not before.strip() or not behind.strip():
        raise UsageError("a name, a colon and a text are wanted")
    return before.strip(), behind.strip()


def page_of(kind: Kind, rows: Sequence[Row], total: int) -> Page:
    """Return a page of a kind."""
    return Page(kind.columns, tuple(rows), total, kind.empty, kind.verbs)
