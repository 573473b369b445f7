"""What services ask of all tables at once: what is another than it was."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol

Cell = str | int | float | None
GlimpseKind = Literal[
    "agent",
    "task",
    "session",
    "project",
    "projectTask",
    "spec",
    "workflow",
    "phase",
    "reviewLoop",
    "review",
    "consensus",
]
Numbers = Mapping[GlimpseKind, int]


@dataclass(frozen=True, slots=True)
class Glimpse:
    """A row as far as it tells that something happened; long texts are cut, times in Unix ms.

    `number` is its place in the order in which rows of its kind were written, 0 without one.
    """

    kind: GlimpseKind
    id: str
    number: int
    cells: Mapping[str, Cell]


@dataclass(frozen=True, slots=True)
class Marks:
    """How far one has looked: up to which time (Unix ms), and the last number of each kind.

    `projects_ms` is the time for projects, their tasks and specifications. `workflows` are runs
    that had not ended, with how many results of theirs were seen; `review_loops` likewise.
    """

    since_ms: int
    projects_ms: int
    numbers: Numbers = field(default_factory=dict[GlimpseKind, int])
    workflows: Mapping[str, int] = field(default_factory=dict[str, int])
    review_loops: Sequence[str] = ()


class GlimpseStore(Protocol):
    """All tables, looked at as one."""

    async def numbers(self) -> Numbers:
        """Return the last number of each kind of row that has any."""
        ...

    async def since(self, marks: Marks) -> Sequence[Glimpse]:
        """Return what was written or changed since then, what is older first within a kind.

        What was written at that very time is among it, and so are workflows and review loops
        that have not ended. Costs as much as that is, however much there is; at most 5,000 rows
        of a kind, the newest.
        """
        ...

    async def next_expiry(self) -> int | None:
        """Return when the first pending consensus checkpoint expires (Unix ms), None if none."""
        ...
