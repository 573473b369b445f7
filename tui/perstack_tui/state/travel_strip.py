"""The top of the travel screen: one lane, step by step, with files, cost and context."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from perstack.projection.views import PointView, RunView
from perstack_tui.ports.travel import Moment
from perstack_tui.state.index import Index, is_live
from perstack_tui.state.lines import BLANK, Line, Span, note
from perstack_tui.state.travel import lane, lane_place, place_in
from perstack_tui.state.wording import LOOKS, Role, amount, short_id, versioned
from perstack_tui.text import cell, flat

STEP_CELLS: Final = 6
LABEL_CELLS: Final = 15
_GLYPHS: Final[dict[str, tuple[str, Role]]] = {
    "step": ("◆", "run"),
    "delegate": ("◇", "run"),
    "ask": ("▲", "need"),
    "gate": ("▲", "need"),
    "done": ("✓", "done"),
    "fail": ("✗", "fail"),
    "limit": ("■", "stop"),
    "stop": ("■", "stop"),
}


def banner(index: Index, moment: Moment, width: int) -> Line:
    """Return the line that says that this is the past."""
    run = lane(index, moment)
    who = _name(run) if run is not None else "?"
    left: tuple[Span, ...] = (
        (" ◆ time travel  ", "accent"),
        (f"job {short_id(flat(moment.job_id))} · {who}", "text"),
    )
    said = "READ-ONLY PAST · esc returns to live" if width >= 90 else "PAST · esc: live"
    return Line(left, ((f" {said} ", "warn-chip"),))


def strip_badge(index: Index, moment: Moment, mark: Moment | None) -> str:
    """Return `10 of 14 · lane 2 of 5 · A at 9`."""
    run = lane(index, moment)
    if run is None:
        return ""
    parts = [f"{place_in(run, moment) + 1} of {len(run.points)}"]
    at, of = lane_place(index, moment)
    parts += [f"lane {at} of {of}"] if of > 1 else []
    if mark is not None:
        parts.append(f"A {_where(index, moment, mark)}")
    return " · ".join(parts)


def _where(index: Index, moment: Moment, mark: Moment) -> str:
    marked = lane(index, mark)
    if marked is None:
        return "elsewhere"
    at = place_in(marked, mark) + 1
    if mark.run_id == moment.run_id:
        return f"at {at}"
    where = f"at {at} of {flat(marked.expert_key)}"
    return where if mark.job_id == moment.job_id else f"{where}, job {short_id(flat(mark.job_id))}"


def strip_lines(index: Index, moment: Moment, mark: Moment | None, width: int) -> tuple[Line, ...]:
    """Return the lane and the three rows below it, scrolled so that the moment is in view."""
    run = lane(index, moment)
    if run is None or not run.points:
        return (note("This run is gone from the history."), BLANK, BLANK, BLANK)
    fit = max(1, (width - LABEL_CELLS - 2) // STEP_CELLS)
    first = _first(place_in(run, moment), len(run.points), fit)
    shown = run.points[first : first + fit]
    return (
        _track(run, shown, first, moment, mark),
        _row("files", [_files(one) for one in shown], "muted"),
        _row(*_used(run, shown, first), "muted"),
        _row("context", [_context(run, one) for one in shown], "muted"),
    )


def _first(at: int, count: int, fit: int) -> int:
    """Return the first step in view: the moment stands in the middle, the ends stay full."""
    return max(0, min(at - fit // 2, count - fit))


def _track(
    run: RunView, shown: Sequence[PointView], first: int, moment: Moment, mark: Moment | None
) -> Line:
    spans: list[Span] = [(cell(_name(run), LABEL_CELLS - 1) + " ", "text")]
    for at, point in enumerate(shown, first + 1):
        here = point.checkpoint_id == moment.checkpoint_id
        marked = mark is not None and point.checkpoint_id == mark.checkpoint_id
        glyph, role = _GLYPHS[point.kind]
        number = f"{at}" if at < 1_000 else f"…{at % 100:02}"
        text = f"‹{number}›" if here else f"A{number}" if marked else number
        spans.append((text[: STEP_CELLS - 2], "accent" if here or marked else "muted"))
        spans.append((glyph, "accent" if here else role))
        spans.append(("─" * max(0, STEP_CELLS - 1 - len(text)), "line"))
    at_end = first + len(shown) == len(run.points)
    if at_end and not is_live(run):
        spans.pop()
    elif at_end:
        look = LOOKS[run.state]
        spans.append((f"{look.glyph} now", look.role))
    else:
        spans.append(("›", "muted"))
    return Line(tuple(spans))


def _name(run: RunView) -> str:
    return flat(versioned(run.expert_key, run.expert_version))


def _row(label: str, cells: Sequence[str], role: Role) -> Line:
    text = "".join(cell(one, STEP_CELLS) for one in cells)
    return Line(((cell(label, LABEL_CELLS), "muted"), (text, role)))


def _files(point: PointView) -> str:
    return f"~{len(point.files)}" if point.files else ""


def _used(run: RunView, shown: Sequence[PointView], first: int) -> tuple[str, Sequence[str]]:
    """Return what was spent so far; the tokens where nothing costs anything."""
    if any(one.cost.usd or one.cost.partial for one in run.points):
        return "cost so far", _costs(shown, run.points[:first])
    total, found = sum(one.usage.total_tokens for one in run.points[:first]), list[str]()
    for point in shown:
        total += point.usage.total_tokens
        found.append(amount(total))
    return "tokens so far", found


def _costs(shown: Sequence[PointView], before: Sequence[PointView]) -> list[str]:
    found: list[str] = []
    total = sum(one.cost.usd for one in before)
    partial = any(one.cost.partial for one in before)
    for point in shown:
        total += point.cost.usd
        partial = partial or point.cost.partial
        text = f"{total:.2f}".removeprefix("0") if total < 100 else f"{total:.0f}"
        found.append(("≥" + text if total else "?") if partial else text)
    return found


def _context(run: RunView, point: PointView) -> str:
    """Return how full the context was, reckoned from the newest step, whose share is known."""
    newest = run.points[-1].usage.total_tokens
    if run.context_window_usage is None or not newest or not point.usage.total_tokens:
        return "?"
    return f"{run.context_window_usage * point.usage.total_tokens / newest:.0%}"
