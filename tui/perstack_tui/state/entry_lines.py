"""One entry of a run's transcript as lines: a line when closed, everything when opened."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from perstack.projection.cutting import CUT_MARK
from perstack.projection.views import EntryView
from perstack_tui.state.change_lines import change_lines, change_of, change_words
from perstack_tui.state.lines import BLANK, Line, Span, note
from perstack_tui.state.markdown import markdown_lines
from perstack_tui.state.wording import Role, amount, clock_time, count_of, precise_span
from perstack_tui.text import crop, cut_lines, flat, width_of, wrap

EXCERPT_LINES: Final = 6
OUTPUT_LINES: Final = 6
_CLOCK_CELLS: Final = 9
_GLYPHS: Final[dict[str, tuple[str, Role]]] = {
    "query": ("›", "accent"),
    "reasoning": ("·", "muted"),
    "delegate": ("◇", "run"),
    "question": ("▲", "need"),
    "gate": ("▲", "need"),
    "retry": ("!", "stall"),
    "result": ("✓", "done"),
    "error": ("✗", "fail"),
    "note": ("·", "muted"),
}
_STATUS: Final[dict[str | None, tuple[str, Role]]] = {
    "running": ("●", "run"),
    "ok": ("✓", "done"),
    "error": ("✗", "fail"),
    "waiting": ("▲", "need"),
    None: ("●", "muted"),
}
_DOUBT: Final[tuple[str, Role]] = ("?", "stall")
_OPENED: Final = frozenset({"tool", "reasoning", "delegate", "question", "gate", "error"})


@dataclass(frozen=True, slots=True)
class EntryKey:
    """The entry that a line begins: its number in the run's transcript, from 0."""

    number: int


@dataclass(frozen=True, slots=True)
class Manner:
    """How entries are shown: everything or the short form, long lines wrapped or cut, times.

    `over`: nothing drives the run, so that a call without a result is in doubt. `mend` says what
    goes on after an error, "" while nothing can.
    """

    width: int
    whole: bool = False
    wraps: bool = True
    times: bool = False
    over: bool = False
    mend: str = ""


def can_open(entry: EntryView) -> bool:
    """Say whether there is something to open, or to go to."""
    return entry.kind in _OPENED


def entry_lines(
    entry: EntryView,
    manner: Manner,
    *,
    key: EntryKey | None,
    opened: bool,
    printed: str = "",
    apart: bool = False,
) -> tuple[Line, ...]:
    """Return the lines of an entry; `printed` is what its call printed so far.

    `apart`: it follows on lines of another kind, so that prose begins with a blank line.
    """
    room = manner.width - (_CLOCK_CELLS if manner.times else 0)
    opened = opened or manner.whole
    match entry.kind:
        case "tool":
            lines = list(_tool(entry, manner, room, opened=opened, printed=printed))
        case "reasoning":
            lines = list(_reasoning(entry, room, opened=opened))
        case "text":
            lines = [*markdown_lines(entry.text or entry.title, room, wraps=manner.wraps), BLANK]
        case "query":
            lines = list(_query(entry, room))
        case _:
            lines = list(_marked(entry, manner, room, opened=opened))
    if manner.times:
        lines = list(_timed(lines, entry.timestamp))
    if key is not None and can_open(entry) and lines:
        lines[0] = Line(lines[0].left, lines[0].right, key)
    return (BLANK, *lines) if apart and is_prose(entry) else tuple(lines)


def is_prose(entry: EntryView) -> bool:
    """Say whether an entry is text to be read, with a blank line behind it."""
    return entry.kind in ("text", "query", "result")


def _timed(lines: Iterable[Line], at: int) -> Iterator[Line]:
    clock = clock_time(at) if at else ""
    for line in lines:
        yield Line(((clock.ljust(_CLOCK_CELLS), "muted"), *line.left), line.right, line.key)
        clock = ""


def _query(entry: EntryView, width: int) -> Iterator[Line]:
    if entry.title != "query":
        yield note(crop(flat(entry.title), width))
    mark = "› "
    for text in wrap(entry.text.strip("\n"), width - 2):
        yield Line(((mark, "accent"), (text, "strong")))
        mark = "  "
    yield BLANK


def _reasoning(entry: EntryView, width: int, *, opened: bool) -> Iterator[Line]:
    words = f"thought · {amount(len(entry.text))} characters"
    yield Line((("· ", "muted"), (crop(words, width - 2), "muted")))
    if opened:
        for text in wrap(entry.text.strip("\n"), width - 2):
            yield note("  " + text)
        yield BLANK


def _tool(
    entry: EntryView, manner: Manner, width: int, *, opened: bool, printed: str
) -> Iterator[Line]:
    glyph, role = _STATUS[entry.status]
    change = change_of(entry.call)
    facts: list[Span] = []
    if entry.status == "running" and manner.over:
        glyph, role = _DOUBT
        facts.append(("  in doubt: no result is known", "stall"))
    if change is not None:
        facts.append(("  ", "muted"))
        facts.extend(change_words(change))
    if entry.status in ("ok", "error") and change is None and entry.size:
        facts.append((f"  {_size(entry.size)}", "muted"))
    yield from _head(entry, (glyph, role), width, facts, opened=opened)
    if opened:
        if entry.call is not None and entry.call.args:
            yield from _indented(entry.call.args, "muted", manner, width)
        if change is not None:
            yield from change_lines(change, width, wraps=manner.wraps)
        if entry.call is not None and entry.call.args and entry.text.strip():
            yield Line((("    ", "text"), ("─" * max(1, min(width - 4, 20)), "line")))
    if entry.status == "running" and printed:
        shown = list(_indented(printed, "muted", manner, width))
        yield from shown if opened else shown[-OUTPUT_LINES:]
        return
    text_role: Role = "fail" if entry.status == "error" else "muted"
    if opened:
        yield from _indented(entry.text, text_role, manner, width)
        yield from _left_out(entry)
    elif entry.status in ("error", "running"):
        yield from _excerpt(entry.text, text_role, manner, width)


def _excerpt(text: str, role: Role, manner: Manner, width: int) -> Iterator[Line]:
    lines = list(_indented(text, role, manner, width))
    yield from lines[:EXCERPT_LINES]
    if len(lines) > EXCERPT_LINES:
        yield note(f"    … {count_of(len(lines) - EXCERPT_LINES, 'more line')} · ⏎ shows all")


def _left_out(entry: EntryView) -> Iterator[Line]:
    if entry.text.endswith(CUT_MARK):
        yield note(f"    {_size(entry.size)} in all; perstack log has the rest")


def _indented(text: str, role: Role, manner: Manner, width: int) -> Iterator[Line]:
    if text.strip():
        rows = (wrap if manner.wraps else cut_lines)(text.rstrip(), width - 4)
        for row in rows:
            yield Line((("    " + row, role),))


def _size(characters: int) -> str:
    return f"{amount(characters)} chars"


def _marked(entry: EntryView, manner: Manner, width: int, *, opened: bool) -> Iterator[Line]:
    glyph, role = _GLYPHS[entry.kind]
    if entry.kind in ("gate", "question", "delegate") and entry.status in ("ok", "error"):
        glyph, role = _STATUS[entry.status]
    title_role: Role = role if entry.kind in ("error", "result", "retry") else "strong"
    title_role = "muted" if entry.kind == "note" else title_role
    hints = _hints(entry)
    yield from _head(entry, (glyph, role), width, hints, opened=opened, title_role=title_role)
    if entry.kind == "result":
        yield from markdown_lines(entry.text, width, wraps=manner.wraps)
    elif entry.kind == "delegate" and not opened and entry.status != "error":
        if entry.text.strip():
            yield note("  " + crop(flat(entry.text.strip()), width - 2))
    else:
        body: Role = "muted" if entry.kind in ("note", "delegate") else "text"
        for text in wrap(entry.text.strip("\n"), width - 2) if entry.text.strip() else ():
            yield Line((("  " + text, body),))
    if entry.kind == "error" and manner.mend:
        yield from (note("  " + text) for text in wrap(manner.mend, width - 2))
    if entry.kind in ("result", "error"):
        yield BLANK


def _hints(entry: EntryView) -> list[Span]:
    """Say in a word or two which key acts on the entry."""
    if entry.kind in ("gate", "question") and entry.status == "waiting":
        return [("  ⏎ " + ("review" if entry.kind == "gate" else "answer"), "need")]
    if entry.kind == "delegate" and entry.call is not None and entry.call.child is not None:
        return [("  ⏎ go there", "muted")]
    return []


def _head(
    entry: EntryView,
    mark: tuple[str, Role],
    width: int,
    facts: Iterable[Span],
    *,
    opened: bool,
    title_role: Role = "text",
) -> Iterator[Line]:
    """The first line: glyph, title, and facts to the right; when opened, the title in full."""
    right = list(facts)
    if entry.duration_ms is not None:
        right.append((f"  {precise_span(entry.duration_ms)}", "muted"))
    room = max(8, width - 2 - sum(width_of(text) for text, _ in right))
    title = entry.title
    first, *rest = (wrap(title, room) or ("",)) if opened else (crop(flat(title), room),)
    glyph, role = mark
    spans: list[Span] = [(f"{glyph} ", role)]
    name = entry.call.tool_name if entry.call is not None and entry.kind == "tool" else ""
    if name and first.startswith(name + " "):
        spans.append((name, "strong"))
        spans.append((first[len(name) :], title_role))
    else:
        spans.append((first, title_role))
    yield Line(tuple(spans), tuple(right))
    for text in rest:
        yield Line((("  " + text, title_role),))
