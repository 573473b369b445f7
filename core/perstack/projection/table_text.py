"""Columns and labelled lines for a reader, in which nothing acts on a terminal."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from perstack.projection.agent_watch import columns
from perstack.projection.inert import inert

RULE: Final = "─" * 60
LABEL_WIDTH: Final = 14


def in_columns(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """Yield a line a row, as wide as each column needs; the first row is the heading."""
    shown = [[inert(cell, newlines=False) for cell in row] for row in rows]
    widths = [max(map(columns, column)) for column in zip(*shown, strict=True)]
    for row in shown:
        cells = (
            cell + " " * (width - columns(cell)) for cell, width in zip(row, widths, strict=True)
        )
        yield "  ".join(cells).rstrip()


def field(label: str, value: str) -> str:
    """Return one labelled value as one line."""
    return f"{label.ljust(LABEL_WIDTH)}{inert(value, newlines=False)}"


def block(text: str, indent: str = "    ") -> Iterator[str]:
    """Yield a text that may have many lines, each indented."""
    for line in inert(text).split("\n"):
        yield f"{indent}{line}".rstrip()


def between_rules(text: str) -> Iterator[str]:
    """Yield a text that may have many lines, between rules."""
    yield RULE
    yield from inert(text).split("\n")
    yield RULE
