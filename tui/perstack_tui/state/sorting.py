"""By which column the agents are sorted, and the letter that chooses it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

SortColumn = Literal[
    "state", "agent", "doing", "step", "tokens", "cost", "context", "rate", "last", "age", "job"
]


@dataclass(frozen=True, slots=True)
class Sort:
    """A column; `letter` follows `s`."""

    letter: str
    column: SortColumn
    label: str


SORTS: Final[tuple[Sort, ...]] = (
    Sort("s", "state", "state"),
    Sort("a", "agent", "agent"),
    Sort("d", "doing", "doing"),
    Sort("n", "step", "step"),
    Sort("t", "tokens", "tokens"),
    Sort("c", "cost", "cost"),
    Sort("x", "context", "context"),
    Sort("r", "rate", "rate"),
    Sort("l", "last", "last event"),
    Sort("g", "age", "time"),
    Sort("j", "job", "job"),
)
