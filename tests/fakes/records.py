"""What the shared tables hold: made-up records that are the same every time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from perstack.errors import ConflictError, NotFoundError, PerstackError
from perstack_tui.ports.records import (
    RECORD_KINDS,
    Cell,
    Column,
    Field,
    Page,
    RecordKind,
    Row,
    Tone,
    Verb,
)
from perstack_tui.state.filters import found_in

COLUMNS: Final = (
    Column("state", 11),
    Column("what", 0),
    Column("who", 12),
    Column("size", 6, right=True),
    Column("age", 5, right=True),
)
COMPLETE: Final = Verb("complete", "c", "complete", asks="what came of it", optional=True)
DELETE: Final = Verb("delete", "D", "delete", warns="It is gone for good.")
REJECT: Final = Verb("reject", "r", "reject", asks="why", warns="Its author is told.")
NEW: Final = Verb("new", "n", "new", asks="a name")
TASKS: Final[tuple[tuple[str, Tone, str, str], ...]] = (
    ("● running", "run", "Write the release notes of 4.2 from the merged pull requests", "writer"),
    ("○ pending", "idle", "Check that every link in docs/ leads somewhere", "documentation"),
    ("✓ completed", "done", "Collect the merged pull requests since 4.1", "collector"),
    ("✗ failed", "fail", "Translate the notes 漢字かな", "translator"),
)


def row_of(name: str, cells: Sequence[tuple[str, Tone]], *verbs: Verb) -> Row:
    """A record with its cells."""
    return Row(name, tuple(Cell(text, tone) for text, tone in cells), verbs)


def tasks() -> list[Row]:
    """Four tasks, one in each state."""
    return [
        row_of(
            f"task-{at}",
            (
                (state, tone),
                (what, "text"),
                (who, "text"),
                (f"{at + 1}.2k", "text"),
                ("4m", "muted"),
            ),
            *((COMPLETE, REJECT, DELETE) if tone in ("run", "idle") else (DELETE,)),
        )
        for at, (state, tone, what, who) in enumerate(TASKS)
    ]


def many(count: int) -> list[Row]:
    """So many records, all alike but for their number."""
    nothing: tuple[str, Tone] = ("", "text")
    return [
        row_of(
            f"row-{at}",
            (("○ kept", "idle"), (f"record number {at}", "text"), nothing, nothing, nothing),
            DELETE,
        )
        for at in range(count)
    ]


def fields_of(row: Row) -> tuple[Field, ...]:
    """All of a record."""
    words = "\n".join(cell.text for cell in row.cells[1:])
    return (
        Field("id", row.id),
        Field("state", row.cells[0].text, row.cells[0].tone),
        Field("input", f"{words}\n\nand all the rest of it"),
    )


@dataclass(slots=True)
class FakeRecords:
    """`rows` are the records of each kind, `asked` the pages that were asked for.

    `refuse` makes whatever is asked next fail, `refuse_act` verbs.
    """

    record: Callable[..., None]
    rows: dict[RecordKind, list[Row]] = field(
        default_factory=lambda: {
            **{kind: list[Row]() for kind in RECORD_KINDS},
            "tasks": tasks(),
        }
    )
    columns: Sequence[Column] = COLUMNS
    details_of: dict[str, tuple[Field, ...]] = field(default_factory=dict[str, tuple[Field, ...]])
    asked: list[tuple[RecordKind, str, int]] = field(
        default_factory=list[tuple[RecordKind, str, int]]
    )
    refuse: PerstackError | None = None
    refuse_act: PerstackError | None = None
    changes: int = 0
    looks: int = 0

    def put(self, kind: RecordKind, rows: Sequence[Row]) -> None:
        """Have other records from now on, as if somebody had written them."""
        self.rows[kind] = list(rows)
        self.changes += 1

    async def version(self) -> str:
        """Return what changes whenever any record does; cheap."""
        self.looks += 1
        if self.refuse is not None:
            raise self.refuse
        return str(self.changes)

    async def page(
        self, kind: RecordKind, *, needle: str = "", limit: int = 200, offset: int = 0
    ) -> Page:
        """Return records that match `needle`."""
        if self.refuse is not None:
            raise self.refuse
        self.asked.append((kind, needle, limit))
        found = [
            row for row in self.rows[kind] if found_in(" ".join(c.text for c in row.cells), needle)
        ]
        empty = f"There are no {kind} yet.\nperstack agent run -t coder makes some."
        shown = tuple(found[offset : offset + limit])
        return Page(tuple(self.columns), shown, len(found), empty, (NEW,))

    async def details(self, kind: RecordKind, record_id: str) -> Sequence[Field]:
        """Return all of a record."""
        for row in self.rows[kind]:
            if row.id == record_id:
                return self.details_of.get(record_id) or fields_of(row)
        raise NotFoundError("it is gone")

    async def act(
        self, kind: RecordKind, record_id: str | None, verb_id: str, text: str | None = None
    ) -> str:
        """Do a verb, to the kind itself where there is no id; return what to tell the user."""
        self.record("act", kind, record_id, verb_id, text)
        if self.refuse_act is not None:
            raise self.refuse_act
        if verb_id == "delete":
            self.put(kind, [row for row in self.rows[kind] if row.id != record_id])
        elif verb_id == "complete":
            done = Cell("✓ completed", "done")
            self.put(
                kind,
                [
                    replace(row, cells=(done, *row.cells[1:]), verbs=(DELETE,))
                    if row.id == record_id
                    else row
                    for row in self.rows[kind]
                ],
            )
        elif verb_id != "new" and verb_id != "reject":
            raise ConflictError(f"nobody knows how to {verb_id}")
        return f"{verb_id}: done"
