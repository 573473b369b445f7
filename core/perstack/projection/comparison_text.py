"""Comparisons for a reader: a line a contestant, then what each came to. Nothing acts here."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from perstack.domain.comparisons import Contest, ContestantState, ContestRow
from perstack.projection.agent_watch import columns
from perstack.projection.cutting import one_line
from perstack.projection.inert import inert
from perstack.projection.money import cost_cell
from perstack.projection.table_text import block

NARROWEST: Final = 79
# The cockpit shows the table indented, in a frame, on a terminal of 80 columns.
IN_FRAME: Final = 74
STATE_WORDS: Final[Mapping[ContestantState, str]] = {
    "queued": "queued",
    "running": "running",
    "waiting": "waits",
    "completed": "completed",
    "asked": "asks",
    "awaiting": "waits",
    "limit": "limit",
    "stopped": "stopped",
    "failed": "failed",
    "unstarted": "no start",
    "lost": "lost",
}
_TITLES: Final = ("contestant", "status", "steps", "calls", "time", "tokens", "cost", "files")
_RIGHT: Final = 2
_GAP: Final = 2
_LINES: Final = 12
_WIDEST: Final = 60


def contest_lines(contest: Contest, now_ms: int, width: int = NARROWEST) -> Iterator[str]:
    """Yield a heading and a line a contestant; `width` in cells is what there is room for."""
    rows = [_TITLES, *(cells_of(row, now_ms) for row in contest.rows)]
    shown = [[inert(cell, newlines=False) for cell in row] for row in rows]
    widths = [max(map(columns, column)) for column in zip(*shown, strict=True)]
    others = sum(widths[1:]) + _GAP * (len(widths) - 1)
    widths[0] = min(widths[0], max(10, min(_WIDEST, max(width, IN_FRAME) - others)))
    for row in shown:
        first = _fitted(row[0], widths[0])
        cells = [first + " " * (widths[0] - columns(first))]
        for at, (cell, wide) in enumerate(zip(row[1:], widths[1:], strict=True), 1):
            space = " " * (wide - columns(cell))
            cells.append(space + cell if at >= _RIGHT else cell + space)
        yield (" " * _GAP).join(cells).rstrip()


def cells_of(row: ContestRow, now_ms: int) -> tuple[str, ...]:
    """Return a contestant's figures; what nobody knows is empty or `?`. Raw text."""
    begun = row.started_at is not None
    changed = "" if row.changed is None else str(row.changed)
    return (
        named(row),
        STATE_WORDS[row.state],
        str(row.steps) if begun else "",
        str(row.tool_calls) if begun else "",
        time_words(row.lasted_ms(now_ms)),
        tokens_cell(row) if begun else "",
        cost_cell(row.cost) if begun else "",
        changed,
    )


def named(row: ContestRow) -> str:
    """Return runtime and model. Raw text."""
    return f"{row.runtime}:{row.model}" if row.model else row.runtime


def tokens_cell(row: ContestRow) -> str:
    """Return the tokens for a column: `1,234`, `≥1,234` where a part is unknown, or `?`."""
    total = row.usage.total_tokens
    if row.usage.partial:
        return f"≥{total:,}" if total else "?"
    return f"{total:,}"


def time_words(ms: int | None) -> str:
    """Return a span: `0.8s`, `42s`, `3m05`, `2h07`; nothing for None."""
    if ms is None:
        return ""
    seconds = ms / 1000
    if seconds < 9.95:
        return f"{seconds:.1f}s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole}s"
    if whole < 3600:
        return f"{whole // 60}m{whole % 60:02}"
    return f"{whole // 3600}h{whole % 3600 // 60:02}"


def change_line(row: ContestRow, now_ms: int) -> str:
    """Return how a contestant stands, for one who reads line by line."""
    parts = [f"{row.label}: {STATE_WORDS[row.state]}"]
    if row.started_at is not None:
        parts.append(f"step {row.steps}")
        parts.append(f"{row.tool_calls} call{'' if row.tool_calls == 1 else 's'}")
        parts.append(f"{tokens_cell(row)} tokens")
    if row.is_over and row.started_at is not None:
        parts.append(time_words(row.lasted_ms(now_ms)))
    if row.error:
        parts.append(one_line(row.error, 300))
    return inert(", ".join(parts), newlines=False)


def result_lines(
    contest: Contest, folders: Mapping[str, str], *, lines: int = _LINES
) -> Iterator[str]:
    """Yield what each contestant came to, its text in at most `lines` lines, and what to type.

    `folders` are where they work, by label, as they are to be typed.
    """
    for row in contest.rows:
        yield ""
        heading = named(row) if named(row) == row.label else f"{row.label} ({named(row)})"
        yield inert(f"{heading}: {STATE_WORDS[row.state]}", newlines=False)
        yield from said_lines(row, lines=lines)
        for remedy in remedies(contest, row, folders[row.label]):
            yield f"    {inert(remedy, newlines=False)}"


def said_lines(row: ContestRow, *, lines: int) -> Iterator[str]:
    """Yield what a contestant said and what went wrong, safe to print."""
    if row.error:
        yield from block(f"Error: {row.error}")
    if row.hint:
        yield from block(f"Hint: {row.hint}")
    for warning in row.warnings:
        yield from block(f"Warning: {warning}")
    if row.skipped:
        files = "file" if row.skipped == 1 else "files"
        yield f"    Warning: {row.skipped:,} {files} could not be copied for it"
    if row.text:
        said = row.text.strip().split("\n")
        yield from block("\n".join(said[:lines]))
        if len(said) > lines:
            yield f"    … {len(said) - lines:,} lines more"


def remedies(contest: Contest, row: ContestRow, folder: str) -> Sequence[str]:
    """Return what can be typed next, with what it is for. Raw text."""
    at = ("--workspace", folder)
    if row.state in ("waiting", "awaiting") and row.consensus_id is not None:
        return (
            "to decide: " + shlex.join(("perstack", "consensus", "show", row.consensus_id, *at)),
        )
    if row.job_id is None or not row.is_over:
        return ()
    look = "to look: " + shlex.join(("perstack", "log", "--job", row.job_id, *at))
    go_on = ("--continue-job", row.job_id, *at, *row.options)
    match row.state:
        case "completed":
            return (look,)
        case "asked":
            words = ("perstack", "run", contest.expert, "<answer>", "-i", *go_on)
            return (look, "to answer: " + shlex.join(words))
        case _:
            return (look, "to go on: " + shlex.join(("perstack", "run", contest.expert, *go_on)))


def listed_line(contest: Contest, *, alive: bool) -> tuple[str, ...]:
    """Return a comparison for a list: id, state, Expert, contestants, what was asked. Raw text."""
    done = sum(row.state == "completed" for row in contest.rows)
    state = "running" if alive else f"{done} of {len(contest.rows)} completed"
    labels = ", ".join(row.label for row in contest.rows)
    return (contest.id, state, contest.expert, one_line(labels, 60), one_line(contest.query, 60))


def _fitted(text: str, room: int) -> str:
    if columns(text) <= room:
        return text
    while columns(text) > room - 1:
        text = text[:-1]
    return text + "…"
