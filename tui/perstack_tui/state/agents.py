"""The watch table: every run of every process in this workspace."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from perstack.domain.ids import JobId, RunId
from perstack.projection.money import cost_cell
from perstack.projection.views import JobView, RunView
from perstack_tui.state.index import Index, is_live
from perstack_tui.state.lines import BLANK, Line, Span, line, note
from perstack_tui.state.wording import LOOKS, Role, short_id, span_of_time, tokens
from perstack_tui.text import cell, flat

EMPTY = (
    BLANK,
    note("No agents. Press n to start an Expert, or run `perstack start …`"),
    note("in another terminal: it appears here."),
)


@dataclass(frozen=True, slots=True)
class Columns:
    """Cell widths; `cost`, `context` and `job` are 0 where there is no room for them."""

    agent: int
    doing: int
    cost: int
    context: int
    job: int
    origin: int


def columns_for(width: int) -> Columns:
    """Return the columns that fit into `width` cells."""
    wide = width >= 110
    cost, context, job, origin = (9, 6, 9, 12) if wide else (0, 0, 0, 8)
    fixed = 8 + 5 + 7 + 7 + cost + context + job + origin
    flexible = max(24, width - fixed)
    agent = min(28, max(16, flexible // 3))
    return Columns(agent, flexible - agent, cost, context, job, origin)


def ranked(index: Index, needle: str) -> list[RunId]:
    """Return the runs that match the filter, most urgent first, newest job first within that."""
    found = [
        run
        for job in index.view.jobs
        for run in job.runs
        if matches(run, index.job_of(run.run_id), needle)
    ]
    found.sort(key=lambda run: (LOOKS[run.state].urgency, -run.started_at))
    return [run.run_id for run in found]


def matches(run: RunView, job: JobView | None, needle: str) -> bool:
    """Say whether every word of `needle` is in the row; `!word` excludes."""
    hay = " ".join(
        (run.expert_key, run.state, LOOKS[run.state].word, run.doing, run.job_id, run.run_id)
    ).lower()
    if job is not None and job.pid is not None:
        hay += f" {job.pid} {job.host or ''}".lower()
    for word in needle.lower().split():
        if word.startswith("!") and len(word) > 1:
            if word[1:] in hay:
                return False
        elif word not in hay:
            return False
    return True


def agent_lines(
    index: Index,
    order: Sequence[RunId],
    width: int,
    *,
    now_ms: int,
    local: frozenset[JobId],
    needle: str = "",
) -> tuple[Line, ...]:
    """Return header and rows; a row's key is its run's id."""
    if not order:
        if needle:
            return (
                BLANK,
                line(("Nothing matches ", "muted"), (flat(needle), "text"), (".", "muted")),
            )
        return EMPTY if index.view.caught_up else (BLANK, note("Reading the history…"))
    columns = columns_for(width)
    rows = [_header(columns)]
    for run_id in order:
        run, job = index.run(run_id), index.job_of(run_id)
        if run is not None and job is not None:
            rows.append(_row(run, job, columns, now_ms, local))
    return tuple(rows)


def processes(index: Index) -> int:
    """Count the processes that drive a job now."""
    return len({(job.host, job.pid) for job in index.view.jobs if job.alive})


def agents_badge(index: Index, order: Sequence[RunId], needle: str, chosen: RunId | None) -> str:
    """Return how many rows are shown, of how many processes; and if `chosen` is not among them."""
    if not index.runs:
        return ""
    shown = len(order)
    count = f"/{flat(needle)} · {shown} of {len(index.runs)}" if needle else str(shown)
    if shown and chosen is not None and chosen not in order:
        count += " · selected one hidden"
    at_work = processes(index)
    word = "process" if at_work == 1 else "processes"
    return f"{count} · {at_work} {word}" if at_work else count


def origin_of(job: JobView, local: frozenset[JobId]) -> str:
    """Return `here`, `pid 4121`, or `-` for a job that nobody drives."""
    if job.job_id in local:
        return "here"
    if not job.alive or job.pid is None:
        return "-"
    return f":{job.pid}"


def time_of(run: RunView, now_ms: int) -> str:
    """Return how long the run has gone on, or took."""
    if is_live(run):
        return span_of_time(now_ms - run.started_at)
    return span_of_time((run.finished_at or run.last_event_at) - run.started_at)


def _header(columns: Columns) -> Line:
    text = cell("STATE", 8) + cell("AGENT", columns.agent) + cell("DOING", columns.doing)
    text += cell("STEP", 5, "right") + cell("TOKENS", 7, "right")
    if columns.cost:
        text += cell("COST", columns.cost, "right")
    if columns.context:
        text += cell("CTX", columns.context, "right")
    text += cell("TIME", 7, "right") + "  " + cell("FROM", columns.origin - 2)
    return note(text + (cell("JOB", columns.job) if columns.job else ""))


def _row(
    run: RunView, job: JobView, columns: Columns, now_ms: int, local: frozenset[JobId]
) -> Line:
    look = LOOKS[run.state]
    quiet: Role = "text" if is_live(run) else "muted"
    spans: list[Span] = [
        (look.glyph + " " + cell(look.word, 6), look.role),
        (cell(run.expert_key, columns.agent - 1) + " ", quiet),
        (cell(_doing(run), columns.doing - 1) + " ", quiet),
        (cell(str(run.step_number), 5, "right"), "muted"),
        (cell(tokens(run.usage), 7, "right"), "muted"),
    ]
    if columns.cost:
        spans.append((cell(cost_cell(run.cost), columns.cost, "right"), "muted"))
    if columns.context:
        share = "" if run.context_window_usage is None else f"{run.context_window_usage:.0%}"
        spans.append((cell(share, columns.context, "right"), "muted"))
    spans.append((cell(time_of(run, now_ms), 7, "right"), "muted"))
    origin = origin_of(job, local)
    spans.append(("  " + cell(origin, columns.origin - 2), "muted"))
    if columns.job:
        spans.append((cell(short_id(job.job_id), columns.job), "muted"))
    return Line(tuple(spans), key=run.run_id)


def _doing(run: RunView) -> str:
    return run.doing or LOOKS[run.state].word
