"""Lists of records as lines: a table that fits, the details of one, and what can be done to it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from perstack_tui.ports.records import RECORD_KINDS, Column, Field, Page, RecordKind, Row, Verb
from perstack_tui.state.lines import BLANK, Line, Rows, Span, line, note
from perstack_tui.text import cell, flat, width_of, wrap

PAGE_ROWS: Final = 200
_MORE_WITHIN: Final = 20
_GAP: Final = 2
_NARROWEST: Final = 16
_LONGEST: Final = 100_000
_NAMES: Final = 14
# No cell shows more; what is longer costs nothing.
_IN_CELL: Final = 1_000


@dataclass(slots=True)
class Browsing:
    """What is looked at. `page` is None until the first one came, `details` while they load.

    `row_id` is what is selected, `at` where it stood when it was. `said` is what came of a verb.
    """

    kind: RecordKind
    needle: str = ""
    page: Page | None = None
    row_id: str | None = None
    at: int = 0
    details: Sequence[Field] | None = None
    details_of: tuple[RecordKind, str] | None = None
    busy: str = ""
    problem: str = ""
    said: str = ""
    wide: bool = False
    before: dict[RecordKind, str] = field(default_factory=dict[RecordKind, str])
    _wrapped: tuple[Sequence[Field], int, Sequence[Line]] | None = None

    def detail_lines(self, width: int) -> Sequence[Line]:
        """Return all of the selected record, wrapped once for a width."""
        known, found = self._wrapped, self.details
        if found is None or self.row is None:
            return ()
        if known is None or known[0] is not found or known[1] != width:
            known = self._wrapped = (found, width, detail_lines(found, width))
        return known[2]

    @property
    def row(self) -> Row | None:
        """The record that is selected."""
        rows = self.page.rows if self.page is not None else ()
        return next((row for row in rows if row.id == self.row_id), None)

    @property
    def verbs(self) -> tuple[Verb, ...]:
        """What can be done now, to the selected record and to the kind itself."""
        row = self.row
        page = self.page
        return (*(row.verbs if row else ()), *(page.verbs if page else ()))

    def choose(self, row_id: str | None) -> None:
        """Select a record; what was shown of another is no longer it."""
        rows = self.page.rows if self.page is not None else ()
        places = {row.id: at for at, row in enumerate(rows)}
        self.row_id, self.at = row_id, places.get(row_id or "", 0)
        if row_id is not None:
            self.before[self.kind] = row_id

    def take(self, page: Page) -> None:
        """Show a page; the selected record stays so, else what now stands in its place is."""
        ids = [row.id for row in page.rows]
        wanted = self.row_id if self.row_id in ids else self.before.get(self.kind)
        if wanted not in ids:
            wanted = ids[min(self.at, len(ids) - 1)] if ids else None
        self.page, self.busy, self.problem = page, "", ""
        self.choose(wanted)

    def turn(self, kind: RecordKind, needle: str = "") -> None:
        """Look at another kind; what was selected there before is again, if it is still there."""
        self.kind, self.needle, self.page = kind, needle, None
        self.row_id, self.at, self.wide = None, 0, False
        self.details, self.details_of, self.said, self.problem = None, None, "", ""

    @property
    def wants_more(self) -> bool:
        """Whether the selection comes near the end of what is loaded, and there is more."""
        page = self.page
        if page is None or len(page.rows) >= page.total:
            return False
        return self.at >= len(page.rows) - _MORE_WITHIN


def next_kind(kind: RecordKind, by: int) -> RecordKind:
    """Return the kind `by` further on, round and round."""
    return RECORD_KINDS[(RECORD_KINDS.index(kind) + by) % len(RECORD_KINDS)]


def records_badge(at: Browsing) -> str:
    """Return how many there are, and by what they were filtered."""
    page = at.page
    if page is None:
        return "loading"
    loaded = len(page.rows)
    count = f"{page.total}" if loaded == page.total else f"{loaded} of {page.total}"
    return f"{count} with /{at.needle}" if at.needle else count


# --- the table ------------------------------------------------------------------------------


def fitted(columns: Sequence[Column], width: int) -> list[int]:
    """Return the cells of each column, 0 for those at the right that have no room."""
    shown = len(columns)
    while shown > 1 and _least(columns[:shown]) > width:
        shown -= 1
    left = width - _least(columns[:shown])
    takers = [at for at in range(shown) if not columns[at].width]
    room = [column.width or _NARROWEST for column in columns[:shown]]
    for turn, at in enumerate(takers):
        share, rest = divmod(max(0, left), len(takers))
        room[at] += share + (1 if turn < rest else 0)
    if shown == 1:
        room[0] = max(1, min(room[0], width))
    return room + [0] * (len(columns) - shown)


def _least(columns: Sequence[Column]) -> int:
    return sum((column.width or _NARROWEST) + _GAP for column in columns) - _GAP


def page_lines(at: Browsing, width: int) -> Sequence[Line]:
    """Return the table, its heading first; where there is nothing, what would make something."""
    page = at.page
    if page is None:
        return (note(at.problem or f"Loading {at.kind}…"),)
    if not page.rows:
        return _nothing(at, page, width)
    room = fitted(page.columns, width)
    head = Line(tuple(_heading(page.columns, room)))

    def made(place: int) -> Line:
        row = page.rows[place]
        return Line(tuple(_cells(page.columns, row, room)), key=row.id)

    return Rows([row.id for row in page.rows], made, (head,))


def _nothing(at: Browsing, page: Page, width: int) -> list[Line]:
    if at.needle:
        return [note(f"No {at.kind} match {flat(at.needle)!r}; esc shows all.")]
    first, *more = wrap(page.empty, width)
    return [line((first, "strong")), *(line((text, "muted")) for text in more)]


def _heading(columns: Sequence[Column], room: Sequence[int]) -> list[Span]:
    return [
        (
            _spaced(at, cell(column.title[:_IN_CELL], wide, "right" if column.right else "left")),
            "muted",
        )
        for at, (column, wide) in enumerate(zip(columns, room, strict=True))
        if wide
    ]


def _cells(columns: Sequence[Column], row: Row, room: Sequence[int]) -> list[Span]:
    return [
        (
            _spaced(at, cell(found.text[:_IN_CELL], wide, "right" if column.right else "left")),
            found.tone,
        )
        for at, (column, found, wide) in enumerate(zip(columns, row.cells, room, strict=True))
        if wide
    ]


def _spaced(at: int, text: str) -> str:
    return text if at == 0 else " " * _GAP + text


# --- details --------------------------------------------------------------------------------


def detail_lines(fields: Sequence[Field], width: int) -> list[Line]:
    """Return all of a record: short values beside their names, long ones below them."""
    lines: list[Line] = []
    for found in fields:
        text = found.text[:_LONGEST]
        wrapped = wrap(text, max(1, width - 1))
        beside = width - _NAMES - 1
        if len(wrapped) == 1 and width_of(wrapped[0]) <= beside and "\n" not in text:
            name = cell(found.name, _NAMES)
            lines.append(line((name + " ", "muted"), (wrapped[0], found.tone)))
            continue
        if lines and lines[-1] is not BLANK:
            lines.append(BLANK)
        lines.append(line((flat(found.name), "muted")))
        lines += [line((" " + part, found.tone)) for part in wrapped]
        if len(found.text) > _LONGEST:
            lines.append(note(f" and {len(found.text) - _LONGEST:,} characters more"))
        lines.append(BLANK)
    return lines


# --- bars -----------------------------------------------------------------------------------


def kinds_line(kind: RecordKind, width: int) -> Line:
    """Return the kinds there are, that which is shown marked and in view."""
    first = 0
    at = RECORD_KINDS.index(kind)
    while first < at and sum(len(name) + 2 for name in RECORD_KINDS[first : at + 2]) > width - 2:
        first += 1
    lead: Span = ("‹" if first else " ", "muted")
    shown: list[Span] = [
        (f" {name} ", "chip" if name == kind else "muted") for name in RECORD_KINDS[first:]
    ]
    return Line((lead, *shown))


def wanted_kind(text: str) -> RecordKind | None:
    """Return the kind that the first word names."""
    name = text.partition(" ")[0]
    found: list[RecordKind] = [kind for kind in RECORD_KINDS if kind == name]
    return found[0] if found else None


def verbs_line(at: Browsing, *, refused: str | None) -> Line:
    """Return what can be done, with its keys; `refused` says why nothing can."""
    if refused is not None:
        return line((f" {refused}", "muted"))
    spans: list[Span] = []
    for verb in at.verbs:
        spans.append((f" {shown_key(verb.key)}", "accent"))
        spans.append((f" {flat(verb.label)} ", "text"))
    return Line(tuple(spans))


def shown_key(key: str) -> str:
    """Return a key as a person reads it."""
    return {"enter": "⏎", " ": "space"}.get(key, key)


def notice_line(at: Browsing) -> Line:
    """Return what went wrong, what is under way, or what came of the last verb."""
    if at.problem:
        return line((f" ✗ {flat(at.problem)}", "fail"))
    if at.busy:
        return line((f" ● {flat(at.busy)}…", "run"))
    return line((f" {flat(at.said)}", "done")) if at.said else Line(())
