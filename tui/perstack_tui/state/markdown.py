"""Markdown as lines. Read line by line, so that what grows is read anew only at its end.

A line of the source is never joined with the next: what a model drew with spaces and line breaks
stays as it drew it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from perstack.projection.inert import inert
from perstack_tui.state.inline import inline
from perstack_tui.state.lines import BLANK, Line, Span, note
from perstack_tui.state.spans import Row, wrap_spans
from perstack_tui.state.table_lines import is_table, table_lines
from perstack_tui.state.wording import Role
from perstack_tui.text import crop, width_of

_FENCE: Final = re.compile(r"^(?P<indent> {0,8})(?P<mark>`{3,}|~{3,})(?P<word>[^`]*)$")
_HEADING: Final = re.compile(r"^ {0,3}(?P<level>#{1,6})\s+(?P<text>.*?)(?:\s+#+)?\s*$")
_RULE: Final = re.compile(r"^ {0,3}(?:(?:-[ ]*){3,}|(?:\*[ ]*){3,}|(?:_[ ]*){3,})$")
_QUOTE: Final = re.compile(r"^ {0,3}(?P<marks>(?:> ?)+)(?P<text>.*)$")
_ITEM: Final = re.compile(r"^(?P<indent> *)(?P<mark>[-*+]|\d{1,9}[.)]) +(?P<text>\S.*)$")
_TASK: Final = re.compile(r"^\[(?P<mark>[ xX])\] +")
_MOST_INDENT: Final = 12

Kind = Literal["line", "fence", "table", "blank"]


@dataclass(frozen=True, slots=True)
class Block:
    """Lines of the source that belong together; a fence without its marks, of language `word`."""

    kind: Kind
    lines: tuple[str, ...]
    word: str = ""
    indent: int = 0


def markdown_lines(text: str, width: int, role: Role = "text", *, wraps: bool = True) -> list[Line]:
    """Return `text` as lines of at most `width` cells; `wraps` False cuts long lines of code."""
    lines: list[Line] = []
    for block, _ in blocks(inert(text).rstrip("\n").split("\n")):
        lines += block_lines(block, width, role, wraps=wraps)
    return lines


class Growing:
    """The lines of a text that grows at its end: only its last block is read again."""

    def __init__(self) -> None:
        self._shape: tuple[int, bool] = (0, True)
        self._done = ""
        self._lines: list[Line] = []

    def lines(self, text: str, width: int, *, wraps: bool = True) -> list[Line]:
        """Return the lines of `text`, which is most often the last one with more at its end."""
        text = text.replace("\r\n", "\n") if "\r" in text else text
        if self._shape != (width, wraps) or not text.startswith(self._done):
            self._shape, self._done, self._lines = (width, wraps), "", []
        # A line end alone does not say yet whether the next line goes on with the block.
        source = text[len(self._done) :].rstrip("\n").split("\n")
        found = list(blocks([inert(line) for line in source]))
        for block, _ in found[:-1]:
            self._lines += block_lines(block, width, "text", wraps=wraps)
        if len(found) > 1:
            ended = found[-2][1]
            self._done += "".join(line + "\n" for line in source[:ended])
        last = block_lines(found[-1][0], width, "text", wraps=wraps) if found else []
        return [*self._lines, *last]


def blocks(source: Sequence[str]) -> Iterator[tuple[Block, int]]:
    """Yield the blocks of inert lines, each with the number of the line behind it."""
    at = 0
    while at < len(source):
        line = source[at]
        if (fence := _FENCE.match(line)) is not None:
            end = _fence_end(source, at + 1, fence["mark"])
            indent = len(fence["indent"])
            body = tuple(_dedented(one, indent) for one in source[at + 1 : end])
            at = min(end + 1, len(source))
            yield Block("fence", body, fence["word"].strip(), indent), at
        elif not line.strip():
            while at < len(source) and not source[at].strip():
                at += 1
            yield Block("blank", ()), at
        elif "|" in line:
            end = at + 1
            while end < len(source) and "|" in source[end] and not _FENCE.match(source[end]):
                end += 1
            rows = tuple(source[at:end])
            at = end
            yield Block("table" if is_table(rows) else "line", rows), at
        else:
            at += 1
            yield Block("line", (line,)), at


def _fence_end(source: Sequence[str], at: int, mark: str) -> int:
    while at < len(source):
        found = _FENCE.match(source[at])
        if found and found["mark"].startswith(mark) and not found["word"].strip():
            break
        at += 1
    return at


def _dedented(line: str, indent: int) -> str:
    return line[min(indent, len(line) - len(line.lstrip(" "))) :]


def block_lines(block: Block, width: int, role: Role, *, wraps: bool) -> list[Line]:
    """Return the lines of a block."""
    if block.kind == "blank":
        return [BLANK]
    if block.kind == "fence":
        return _code(block, width, wraps=wraps)
    if block.kind == "table" and (table := table_lines(block.lines, width, role)) is not None:
        return table
    return [line for text in block.lines for line in _text_lines(text, width, role)]


def _code(block: Block, width: int, *, wraps: bool) -> list[Line]:
    """Code on a ground of its own, which is as wide as the pane."""
    lead = " " * min(block.indent, _MOST_INDENT)
    room = max(1, width - len(lead) - 2)
    lines = [note(lead + crop(block.word, room))] if block.word else []
    for text in block.lines:
        rows = _chopped(text, room) if wraps else (crop(text, room),)
        for row in rows:
            filled = f" {row}{' ' * max(0, room - width_of(row))} "
            lines.append(Line(((lead, "text"), (filled, "code")) if lead else ((filled, "code"),)))
    return lines


def _chopped(text: str, room: int) -> list[str]:
    rows = wrap_spans(((text, "code"),), room)
    return ["".join(part for part, _ in row) for row in rows]


def _text_lines(text: str, width: int, role: Role) -> list[Line]:
    if heading := _HEADING.match(text):
        of: Role = "heading" if len(heading["level"]) < 3 else "strong"
        return _hanging("", inline(heading["text"], of), width, role)
    if _RULE.match(text):
        return [Line((("─" * max(1, min(width, 40)), "line"),))]
    if quote := _QUOTE.match(text):
        lead = "│ " * quote["marks"].count(">")
        return _hanging(lead, inline(quote["text"], "muted"), width, "line", again=lead)
    if item := _ITEM.match(text):
        lead, rest = _item_mark(item)
        return _hanging(lead, inline(rest, role), width, "accent")
    bare = text.lstrip(" ")
    return _hanging(" " * min(len(text) - len(bare), width // 2), inline(bare, role), width, role)


def _item_mark(item: re.Match[str]) -> tuple[str, str]:
    """Return what stands before a list's item, and the item without its box."""
    indent = " " * min(len(item["indent"]), _MOST_INDENT)
    mark = "•" if item["mark"] in "-*+" else item["mark"]
    text = item["text"]
    if task := _TASK.match(text):
        mark = "[ ]" if task["mark"] == " " else "[x]"
        text = text[task.end() :]
    return f"{indent}{mark} ", text


def _hanging(
    lead: str, spans: Sequence[Span], width: int, role: Role, *, again: str | None = None
) -> list[Line]:
    """Wrap behind `lead`; further rows stand below the text, behind `again` if that is given."""
    rows: Sequence[Row] = wrap_spans(spans, width - width_of(lead)) or [()]
    if not lead:
        return [Line(row) for row in rows]
    rest = again if again is not None else " " * width_of(lead)
    leads = (lead, *[rest] * (len(rows) - 1))
    return [Line(((lead, role), *row)) for lead, row in zip(leads, rows, strict=True)]
