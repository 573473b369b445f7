"""Lines fitted to a width, so that no terminal wraps one and what follows could pose as another."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

from perstack.projection.agent_watch import columns
from perstack.projection.table_text import LABEL_WIDTH

WIDTH: Final = 80
_MORE: Final = 2


def wrapped(lines: Iterable[str], width: int = WIDTH) -> Iterator[str]:
    """Yield lines of at most `width` columns, what goes on a line indented below it.

    They are inert. A labelled line (`table_text.field`) goes on below its value.
    """
    for line in lines:
        if columns(line) <= width:
            yield line
        else:
            yield from _broken(line, width)


def _broken(line: str, width: int) -> Iterator[str]:
    hanging = _hanging(line, width)
    at = _break(line, width, _words_from(line))
    yield line[:at].rstrip()
    rest = line[at:].lstrip(" ")
    room = width - len(hanging)
    # As far as it fits and no further: measuring all that is left each time takes minutes.
    while (at := _break(rest, room, 0)) < len(rest):
        yield hanging + rest[:at].rstrip()
        rest = rest[at:].lstrip(" ")
    if rest:
        yield hanging + rest


def _words_from(line: str) -> int:
    """Return where the text of a line begins, behind its indent and label."""
    indent = len(line) - len(line.lstrip(" "))
    after = indent + LABEL_WIDTH
    is_labelled = line[after - 1 : after] == " " and line[after : after + 1] not in ("", " ")
    return after if is_labelled else indent


def _hanging(line: str, width: int) -> str:
    indent, begin = len(line) - len(line.lstrip(" ")), _words_from(line)
    wanted = begin if begin > indent else indent + _MORE
    return " " * (wanted if wanted < width // 2 else _MORE)


def _break(text: str, room: int, begin: int) -> int:
    """Return where to break: at the last space that fits, from `begin`, or where the room ends."""
    used, space = 0, 0
    for at, letter in enumerate(text):
        used += columns(letter)
        if letter == " " and at > begin and used <= room + 1:
            space = at
        if used > room:
            return space or max(at, 1)
    return len(text)
