"""The delegation tree as lines: jobs newest first, the runs of the open ones below them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from perstack.domain.ids import JobId, RunId
from perstack.projection.views import JobView, RunView
from perstack_tui.state.index import Index, family, has_ended
from perstack_tui.state.lines import BLANK, Line, Span, line, note
from perstack_tui.state.wording import LOOKS, tokens
from perstack_tui.text import cell

NUMBERS = 17
EMPTY = (
    BLANK,
    note("Nothing has run here yet."),
    BLANK,
    line(("n", "accent"), (" starts an Expert. Runs that are", "muted")),
    note("started elsewhere in this folder appear"),
    note("here too."),
)


def tree_lines(index: Index, width: int, folded: Mapping[JobId, bool]) -> tuple[Line, ...]:
    """Return header and rows; a row's key is its run's id."""
    if not index.view.jobs:
        return EMPTY if index.view.caught_up else (BLANK, note("Reading the history…"))
    rows = [_header(width)]
    for job in index.view.jobs:
        rows.extend(_job_lines(job, width, is_open(job, index, folded)))
    return tuple(rows)


def is_open(job: JobView, index: Index, folded: Mapping[JobId, bool]) -> bool:
    """Say whether the job's runs are listed: as the user left it, else while it is not done."""
    chosen = folded.get(job.job_id)
    if chosen is not None:
        return not chosen
    return job is index.view.jobs[0] or not has_ended(job)


def shown_key(job: JobView, run_id: RunId, *, opened: bool) -> RunId:
    """Return the row that stands for the run: its own, or the job's while that is closed."""
    return run_id if opened else _stand_in(job)


def _stand_in(job: JobView) -> RunId:
    return job.coordinator_run_id


def _job_lines(job: JobView, width: int, opened: bool) -> Iterable[Line]:
    runs = list(family(job))
    if not opened or not runs:
        root = next((run for run, _ in runs if run.run_id == job.coordinator_run_id), None)
        yield _closed(job, root, width)
        return
    for run, flags in runs:
        lead = "▾ " if not flags and len(runs) > 1 else "" if flags else "  "
        yield _row(run, lead + _guides(flags), width)


def _guides(flags: tuple[bool, ...]) -> str:
    if not flags:
        return ""
    return (
        "  "
        + "".join("  " if last else "│ " for last in flags[:-1])
        + ("└ " if flags[-1] else "├ ")
    )


def _closed(job: JobView, root: RunView | None, width: int) -> Line:
    look = LOOKS[job.state]
    name = root.expert_key if root else job.expert_key
    mark = "▸ " if len(job.runs) > 1 else "  "
    left = mark + look.glyph + " "
    title = cell(name, max(4, width - NUMBERS - len(left)))
    numbers = _numbers(look.word, job.total_steps, tokens(job.usage))
    return Line(
        ((mark, "muted"), (look.glyph + " ", look.role), (title, "muted"), *_dim(numbers)),
        key=_stand_in(job),
    )


def _row(run: RunView, lead: str, width: int) -> Line:
    look = LOOKS[run.state]
    name = cell(run.expert_key, max(4, width - NUMBERS - len(lead) - 2))
    numbers = _numbers(look.word, run.step_number, tokens(run.usage))
    left: tuple[Span, ...] = (
        (lead, "line" if lead.strip("▾ ") else "muted"),
        (look.glyph + " ", look.role),
        (name, "text"),
        (numbers[0], look.role),
        (numbers[1], "muted"),
    )
    return Line(left, key=run.run_id)


def _numbers(word: str, step: int, used: str) -> tuple[str, str]:
    return cell(word, 6), cell(str(step), 4, "right") + cell(used, 7, "right")


def _dim(numbers: tuple[str, str]) -> tuple[Span, Span]:
    return (numbers[0], "muted"), (numbers[1], "muted")


def _header(width: int) -> Line:
    numbers = _numbers("STATE", 0, "")[0] + cell("STEP", 4, "right") + cell("TOKENS", 7, "right")
    return note(cell("EXPERT", max(4, width - NUMBERS)) + numbers)
