"""The transcript of one run as lines; finished entries are wrapped once."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Final, Protocol

from perstack.domain.ids import ToolCallId
from perstack.projection.views import EntryView, RunView
from perstack_tui.state.lines import BLANK, Line, Span, note
from perstack_tui.state.wording import (
    LOOKS,
    Role,
    count_of,
    precise_span,
    short_id,
    spent,
    tokens,
)
from perstack_tui.text import crop, flat, width_of, wrap

EXCERPT_LINES: Final = 6
OUTPUT_LINES: Final = 6
_GLYPHS: Final[dict[str, tuple[str, Role]]] = {
    "query": ("›", "accent"),
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
EMPTY: Final = (BLANK, note("Select a run to read it. Press n to start one."))


class Live(Protocol):
    """What a model is saying right now."""

    @property
    def reasoning(self) -> str:
        """Reasoning so far."""
        ...

    @property
    def text(self) -> str:
        """Text so far."""
        ...

    @property
    def output(self) -> Mapping[ToolCallId, str]:
        """The end of what running calls print."""
        ...


class StreamLines:
    """Builds the lines of the selected run; keeps what did not change since the last time."""

    def __init__(self) -> None:
        self._run: object = None
        self._width = 0
        self._whole = False
        self._entries: list[EntryView] = []
        self._ends: list[int] = []
        self._lines: list[Line] = []

    def build(
        self, run: RunView | None, live: Live | None, width: int, *, whole: bool = False
    ) -> Sequence[Line]:
        """Return all lines of `run`, what is streaming at the end; `whole` leaves nothing out."""
        if run is None:
            return EMPTY
        self._catch_up(run, width, whole)
        tail = list(_live_lines(live, width)) if live is not None else []
        if not self._lines and not tail:
            return (BLANK, note(_waiting_for(run)))
        lines = [*self._lines, *tail]
        if live is not None and live.output:
            self._put_output(lines, live.output, width)
        return lines

    def _put_output(self, lines: list[Line], output: Mapping[ToolCallId, str], width: int) -> None:
        """Put what running calls print below them, from the last one up, so that places hold."""
        for entry, end in zip(reversed(self._entries), reversed(self._ends), strict=True):
            if entry.kind != "tool":
                if entry.kind == "query":
                    return
                continue
            printed = output.get(entry.tool_call_id) if entry.tool_call_id else None
            if printed and entry.status == "running":
                shown = wrap(printed.rstrip(), width - 4)
                lines[end:end] = [note("    " + text) for text in shown[-OUTPUT_LINES:]]

    def _catch_up(self, run: RunView, width: int, whole: bool) -> None:
        if (run.run_id, width, whole) != (self._run, self._width, self._whole):
            self._run, self._width, self._whole = run.run_id, width, whole
            self._entries, self._ends, self._lines = [], [], []
        same = 0
        for known, entry in zip(self._entries, run.entries, strict=False):
            if known is not entry:
                break
            same += 1
        del self._entries[same:], self._ends[same:]
        del self._lines[self._ends[-1] if self._ends else 0 :]
        for entry in run.entries[same:]:
            self._lines.extend(entry_lines(entry, width, whole=whole))
            self._entries.append(entry)
            self._ends.append(len(self._lines))


def stream_title(run: RunView | None) -> str:
    """Return what the pane's border says about the run."""
    if run is None:
        return "5 Stream"
    return f"5 Stream · {flat(run.expert_key)} · step {run.step_number}"


def stream_badge(run: RunView | None) -> str:
    """Return model, tokens and cost; a scripted model is named as such."""
    if run is None:
        return ""
    model = "SCRIPTED MODEL" if run.provider_name == "scripted" else flat(run.model)
    return f"{model} · {tokens(run.usage)} tok{spent(run.cost)}"


def entry_lines(entry: EntryView, width: int, *, whole: bool = False) -> Iterable[Line]:
    """Return the lines of one entry, a blank one last where it helps reading."""
    if entry.kind == "tool":
        yield from _tool_lines(entry, width, whole=whole)
    elif entry.kind in ("text", "reasoning"):
        role: Role = "muted" if entry.kind == "reasoning" else "text"
        yield from _body(entry.text or entry.title, role, width, "")
        yield BLANK
    elif entry.kind == "query":
        yield from _query_lines(entry, width)
    else:
        yield from _marked_lines(entry, width, whole=whole)


def _query_lines(entry: EntryView, width: int) -> Iterable[Line]:
    if entry.title != "query":
        yield note(crop(flat(entry.title), width))
    mark = "› "
    for text in wrap(entry.text.strip("\n"), width - 2):
        yield Line(((mark, "accent"), (text, "strong")))
        mark = "  "
    yield BLANK


def _tool_lines(entry: EntryView, width: int, *, whole: bool) -> Iterable[Line]:
    glyph, role = _STATUS[entry.status]
    yield from _head(glyph, role, entry, width, "text", whole=whole)
    excerpt = wrap(entry.text.rstrip(), width - 4) if entry.text.strip() else ()
    shown_role: Role = "fail" if entry.status == "error" else "muted"
    shown = excerpt if whole else excerpt[:EXCERPT_LINES]
    for text in shown:
        yield Line((("    " + text, shown_role),))
    if len(excerpt) > len(shown):
        yield note(f"    … {count_of(len(excerpt) - len(shown), 'more line')} · ⏎ shows all")


def _marked_lines(entry: EntryView, width: int, *, whole: bool) -> Iterable[Line]:
    glyph, role = _GLYPHS[entry.kind]
    if entry.kind in ("gate", "question", "delegate") and entry.status in ("ok", "error"):
        glyph, role = _STATUS[entry.status]
    title_role: Role = role if entry.kind in ("error", "result", "retry") else "strong"
    title_role = "muted" if entry.kind == "note" else title_role
    yield from _head(glyph, role, entry, width, title_role, whole=whole)
    yield from _body(entry.text, "muted" if entry.kind == "note" else "text", width, "  ")
    if entry.kind in ("query", "result", "error"):
        yield BLANK


def _head(
    glyph: str, role: Role, entry: EntryView, width: int, title_role: Role, *, whole: bool
) -> Iterable[Line]:
    took = "" if entry.duration_ms is None else "  " + precise_span(entry.duration_ms)
    room = width - 2 - width_of(took)
    title, *rest = (wrap(entry.title, room) or ("",)) if whole else (crop(flat(entry.title), room),)
    right: tuple[Span, ...] = ((took, "muted"),) if took else ()
    yield Line(((glyph + " ", role), (title, title_role)), right)
    for text in rest:
        yield Line((("  " + text, title_role),))


def _body(text: str, role: Role, width: int, indent: str) -> Iterable[Line]:
    if text.strip():
        for part in wrap(text.strip("\n"), width - len(indent)):
            yield Line(((indent + part, role),))


def _live_lines(live: Live, width: int) -> Iterable[Line]:
    if live.reasoning:
        yield note("thinking")
        yield from _body(live.reasoning, "muted", width, "")
    if live.text:
        yield from _body(live.text + "▌", "text", width, "")


def _waiting_for(run: RunView) -> str:
    look = LOOKS[run.state]
    return f"{look.glyph} {look.word} · nothing said yet · run {short_id(run.run_id)}"
