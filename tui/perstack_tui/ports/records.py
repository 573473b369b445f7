"""What the shared tables hold (tasks, memory, sessions), as lists with details and verbs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal, Protocol, get_args

RecordKind = Literal[
    "agents",
    "tasks",
    "memory",
    "sessions",
    "identities",
    "projects",
    "specifications",
    "limits",
    "workflows",
    "reviews",
    "approvals",
    "comparisons",
]
RECORD_KINDS: Final[tuple[RecordKind, ...]] = get_args(RecordKind)
Tone = Literal["text", "muted", "strong", "run", "need", "stall", "fail", "done", "idle", "stop"]


@dataclass(frozen=True, slots=True)
class Column:
    """A column; `width` is its least in cells, 0 takes what is left."""

    title: str
    width: int
    right: bool = False


@dataclass(frozen=True, slots=True)
class Cell:
    """A cell. `text` is raw; `tone` the colour of the state that it names.

    What passes by itself, an age, is not `searched`: waiting must not change what a filter finds.
    """

    text: str
    tone: Tone = "text"
    searched: bool = True


@dataclass(frozen=True, slots=True)
class Verb:
    """What can be done to a record; `asks` labels a text that it takes, `warns` is said before.

    With `optional` that text may be left empty. `key` is a character as a keyboard gives it.
    """

    id: str
    key: str
    label: str
    asks: str | None = None
    warns: str | None = None
    optional: bool = False


@dataclass(frozen=True, slots=True)
class Row:
    """A record. `verbs` are those that apply to it now."""

    id: str
    cells: tuple[Cell, ...]
    verbs: tuple[Verb, ...] = ()


@dataclass(frozen=True, slots=True)
class Page:
    """Some records. `total` counts all that match; `empty` says what would make some."""

    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    total: int
    empty: str
    verbs: tuple[Verb, ...] = ()


@dataclass(frozen=True, slots=True)
class Field:
    """A part of a record's details; a `text` of several lines is shown below its name."""

    name: str
    text: str
    tone: Tone = "text"


class Records(Protocol):
    """The same services as the command line's."""

    async def version(self) -> str:
        """Return what changes whenever any record does; cheap."""
        ...

    async def page(
        self, kind: RecordKind, *, needle: str = "", limit: int = 200, offset: int = 0
    ) -> Page:
        """Return records that match `needle`."""
        ...

    async def details(self, kind: RecordKind, record_id: str) -> Sequence[Field]:
        """Return all of a record.

        Raises:
            NotFoundError: it is gone.
        """
        ...

    async def act(
        self, kind: RecordKind, record_id: str | None, verb_id: str, text: str | None = None
    ) -> str:
        """Do a verb, to the kind itself where there is no id; return what to tell the user.

        Raises:
            ConflictError, UsageError, NotFoundError: as the service refuses.
        """
        ...
