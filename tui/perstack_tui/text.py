"""Text that comes from models, tools and files, cut and wrapped to cells. Everything is inert."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Final, Literal

from rich.cells import cell_len, chop_cells, set_cell_size

from perstack.projection.inert import MARKS, inert

ELLIPSIS: Final = "…"
Align = Literal["left", "right"]


_REMEMBERED: Final = 500
# A cell holds one letter and no more marks than `inert` leaves.
_PER_CELL: Final = MARKS + 2


def flat(text: str) -> str:
    """Return `text` inert and on one line."""
    return _flat(text) if len(text) <= _REMEMBERED else inert(text, newlines=False)


@lru_cache(maxsize=4096)
def _flat(text: str) -> str:
    return inert(text, newlines=False)


def width_of(text: str) -> int:
    """Return the cells that `text` takes."""
    return cell_len(text)


def crop(text: str, width: int) -> str:
    """Return at most `width` cells of `text`, the last one an ellipsis when something is cut."""
    seen = text[: (width + 1) * _PER_CELL]
    if len(seen) == len(text) and cell_len(text) <= width:
        return text
    if width <= 1:
        return ELLIPSIS[:width]
    return set_cell_size(seen, width - 1).rstrip() + ELLIPSIS


def cell(text: str, width: int, align: Align = "left") -> str:
    """Return `text` inert, in exactly `width` cells."""
    shown = crop(flat(text), width)
    space = " " * (width - cell_len(shown))
    return space + shown if align == "right" else shown + space


def wrap(text: str, width: int) -> tuple[str, ...]:
    """Return `text` inert, as lines of at most `width` cells; newlines in it are kept."""
    lines: list[str] = []
    for line in inert(text).split("\n"):
        wrapped = _wrapped if len(line) <= _REMEMBERED else _wrap_line
        lines.extend(wrapped(line, max(1, width)))
    return tuple(lines)


@lru_cache(maxsize=32)
def wrap_long(text: str, width: int) -> tuple[str, ...]:
    """Return `wrap` of a text that may be long and stays as it is: painting again costs nothing."""
    return wrap(text, width)


@lru_cache(maxsize=4096)
def _wrapped(line: str, width: int) -> tuple[str, ...]:
    return _wrap_line(line, width)


def _wrap_line(line: str, width: int) -> tuple[str, ...]:
    # A letter of plain text is a cell: a long one is measured in a tenth of the time.
    cells = len if line.isascii() and line.isprintable() else cell_len
    if cells(line) <= width:
        return (line.rstrip(),)
    indent = line[: len(line) - len(line.lstrip(" "))][: max(0, width - 8) // 2]
    lines: list[str] = []
    current = indent
    taken = len(indent)
    for word in _words(line.strip(), width - len(indent), cells):
        if taken + cells(word.rstrip()) > width:
            lines.append(current.rstrip())
            current, taken = indent, len(indent)
        current += word
        taken += cells(word)
    lines.append(current.rstrip())
    return tuple(lines)


def cut_lines(text: str, width: int) -> tuple[str, ...]:
    """Return the lines of `text` inert, none wider than `width` cells: what is wider is cut."""
    return tuple(crop(line.rstrip(), max(1, width)) for line in inert(text).split("\n"))


def _words(line: str, width: int, cells: Callable[[str], int]) -> Sequence[str]:
    """Split after spaces; a word wider than `width` is cut into pieces that fit."""
    words: list[str] = []
    for word in line.split(" "):
        pieces = chop_cells(word, max(1, width)) if cells(word) > width else [word]
        words.extend(pieces[:-1])
        words.append(pieces[-1] + " ")
    return words
