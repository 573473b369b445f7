"""The watch table: every run of every process in this workspace, and agents that wait for work.

A row is made only when it is looked at; what the order needs is kept per job while that is the
same, so that a thousand finished runs cost next to nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeAlias

from perstack.domain.ids import JobId, RunId
from perstack.projection.money import cost_cell
from perstack.projection.views import JobView, RunView
from perstack_tui.settings import Settings
from perstack_tui.state.filters import found_in
from perstack_tui.state.index import Index, is_live, subtree_cost
from perstack_tui.state.lines import BLANK, Line, Rows, Span, line, note
from perstack_tui.state.origin import doing_of, origin_of, processes
from perstack_tui.state.roster import AgentKey
from perstack_tui.state.sorting import SortColumn
from perstack_tui.state.spark import CELLS, recent_tokens, spark
from perstack_tui.state.wording import LOOKS, Role, short_id, span_of_time, tokens
from perstack_tui.text import Align, cell, flat, width_of

if TYPE_CHECKING:
    from perstack.domain.agents import Agent
    from perstack_tui.state.cockpit import CockpitState

EMPTY: Final = (
    BLANK,
    note("No agents. Press n to start an Expert, or run `perstack start …`"),
    note("in another terminal: it appears here."),
)
UNDEFINED: Final = (BLANK, note("No agents. Once a perstack.toml defines Experts, n starts one."))
LEAST_AGENT: Final = 15
LEAST_DOING: Final = 19
MOST_AGENT: Final = 28
LEAST_HINT: Final = 4


@dataclass(frozen=True, slots=True)
class Column:
    """A column of fixed width, the gap to its left included. `rank` orders who gets room first."""

    name: str
    title: str
    width: int
    rank: int
    align: Align = "right"
    sort: SortColumn | None = None


COLUMNS: Final[tuple[Column, ...]] = (
    Column("step", "STEP", 5, 3, sort="step"),
    Column("tokens", "TOK", 7, 5, sort="tokens"),
    Column("cost", "COST", 9, 1, sort="cost"),
    Column("context", "CTX", 5, 6, sort="context"),
    Column("rate", "RATE", CELLS + 2, 8, "left", sort="rate"),
    Column("last", "LAST", 6, 7, sort="last"),
    Column("age", "TIME", 6, 2, sort="age"),
    Column("from", "FROM", 8, 4, "left"),
    Column("job", "JOB", 10, 9, "left", sort="job"),
)
STATE_CELLS: Final = 8


@dataclass(frozen=True, slots=True)
class Columns:
    """The columns that fit, and the widths of those that take the rest."""

    agent: int
    doing: int
    others: tuple[Column, ...]


def columns_for(width: int) -> Columns:
    """Return the columns that fit into `width` cells, in the order they are shown."""
    room = width - STATE_CELLS - LEAST_AGENT - LEAST_DOING
    chosen: set[str] = set()
    for column in sorted(COLUMNS, key=lambda one: one.rank):
        if column.width > room:
            break
        chosen.add(column.name)
        room -= column.width
    flexible = LEAST_AGENT + LEAST_DOING + room
    agent = max(1, min(MOST_AGENT, max(LEAST_AGENT, flexible // 3)))
    others = tuple(column for column in COLUMNS if column.name in chosen)
    return Columns(agent, max(1, flexible - agent), others)


_Rank: TypeAlias = "tuple[float | str, ...]"
_RANKS: Final[dict[SortColumn, Callable[[RunView], _Rank]]] = {
    "state": lambda run: (LOOKS[run.state].urgency, -run.started_at),
    "agent": lambda run: (run.expert_key, -run.started_at),
    "doing": lambda run: (run.doing, -run.started_at),
    "step": lambda run: (-run.step_number, -run.started_at),
    "tokens": lambda run: (-run.usage.total_tokens, -run.started_at),
    "cost": lambda run: (-run.cost.usd, -run.started_at),
    "context": lambda run: (-(run.context_window_usage or 0), -run.started_at),
    "rate": lambda run: (-recent_tokens(run, run.last_event_at), -run.started_at),
    "last": lambda run: (-run.last_event_at,),
    "age": lambda run: (-run.started_at,),
    "job": lambda run: (run.job_id, run.started_at),
}


class Ranking:
    """The order of the runs; only the jobs that changed are looked through again."""

    def __init__(self) -> None:
        self._made_of: tuple[str, SortColumn] = ("", "state")
        self._kept: dict[JobId, tuple[JobView, list[tuple[_Rank, RunId]]]] = {}

    def order(self, index: Index, needle: str, sort: SortColumn) -> list[RunId]:
        """Return the runs that match `needle` in the order of `sort`."""
        made_of = (needle, sort)
        if made_of != self._made_of or len(self._kept) > 2 * len(index.view.jobs) + 16:
            self._made_of = made_of
            self._kept.clear()
        found: list[tuple[_Rank, RunId]] = []
        for job in index.view.jobs:
            kept = self._kept.get(job.job_id)
            if kept is None or kept[0] is not job:
                kept = self._kept[job.job_id] = (job, _ranked_job(job, needle, sort))
            found.extend(kept[1])
        found.sort(key=lambda entry: entry[0])
        return [run_id for _, run_id in found]


def _ranked_job(job: JobView, needle: str, sort: SortColumn) -> list[tuple[_Rank, RunId]]:
    rank = _RANKS[sort]
    return [(rank(run), run.run_id) for run in job.runs if matches(run, job, needle)]


def matches(run: RunView, job: JobView | None, needle: str) -> bool:
    """Say whether the row passes the filter."""
    if not needle:
        return True
    hay = " ".join(
        (run.expert_key, run.state, LOOKS[run.state].word, run.doing, run.job_id, run.run_id)
    )
    if job is not None and job.pid is not None:
        hay += f" {job.pid} {job.host or ''}"
    return found_in(hay, needle)


class AgentTable:
    """Makes the rows of the table."""

    def lines(
        self,
        state: CockpitState,
        order: Sequence[RunId],
        width: int,
        now_ms: int,
        settings: Settings,
    ) -> Sequence[Line]:
        """Return heading and rows; a row's key is its run's id, an idle agent's an `AgentKey`."""
        idle = _idle(state)
        if not order and not idle:
            return _nothing(state)
        rows = _Row(state, columns_for(width), now_ms, settings)
        keys: list[Hashable] = [*order, *(AgentKey(agent.id) for agent in idle)]

        def make(at: int) -> Line:
            return (
                rows.of_run(order[at]) if at < len(order) else rows.of_agent(idle[at - len(order)])
            )

        return Rows(keys, make, (rows.head(),))


def _idle(state: CockpitState) -> tuple[Agent, ...]:
    needle = state.needle
    waiting = state.roster.waiting
    if not needle:
        return waiting
    return tuple(
        agent for agent in waiting if found_in(f"{agent.name} {agent.type} {agent.status}", needle)
    )


def _nothing(state: CockpitState) -> Sequence[Line]:
    if state.needle:
        return (
            BLANK,
            line(("Nothing matches ", "muted"), (flat(state.needle), "text"), (".", "muted")),
        )
    if not state.index.view.caught_up:
        return (BLANK, note("Reading the history…"))
    return EMPTY if state.can_start else UNDEFINED


def agents_badge(state: CockpitState, order: Sequence[RunId]) -> str:
    """Return how many rows are shown, of how many processes, sorted by what."""
    index, needle = state.index, state.needle
    if not index.runs:
        return ""
    shown = len(order)
    count = f"/{flat(needle)} · {shown} of {len(index.runs)}" if needle else str(shown)
    if shown and state.run_id is not None and state.run_id not in order:
        count += " · selected one hidden"
    at_work = processes(index)
    if at_work:
        count += f" · {at_work} {'process' if at_work == 1 else 'processes'}"
    return count if state.sort == "state" else f"{count} · by {state.sort}"


def time_of(run: RunView, now_ms: int) -> str:
    """Return how long the run has gone on, or took."""
    if is_live(run):
        return span_of_time(now_ms - run.started_at)
    return span_of_time((run.finished_at or run.last_event_at) - run.started_at)


class _Row:
    """Makes rows at one width and moment."""

    def __init__(
        self, state: CockpitState, columns: Columns, now_ms: int, settings: Settings
    ) -> None:
        self._state = state
        self._columns = columns
        self._now = now_ms
        self._motion = settings.motion

    def head(self) -> Line:
        """Return the heading; the column that is sorted by has a mark."""
        state, columns = self._state, self._columns
        text = cell(_marked("STATE", "state", state), STATE_CELLS)
        text += cell(_marked("AGENT", "agent", state), columns.agent)
        text += cell(_marked("DOING", "doing", state), columns.doing)
        for column in columns.others:
            title = _marked(column.title, column.sort, state)
            if column.name == "cost" and state.cost_of_subtree:
                title += " Σ"
            text += _in_column(title, column)
        return note(text)

    def of_run(self, run_id: RunId) -> Line:
        """Return a run's row."""
        state, columns = self._state, self._columns
        run, job = state.index.run(run_id), state.index.job_of(run_id)
        if run is None or job is None:
            return BLANK
        look = LOOKS[run.state]
        quiet: Role = "text" if is_live(run) else "muted"
        name = state.roster.short_name(run)
        hint = state.twins.hint(job, run_id)
        others = "".join(
            _in_column(self._cell(column.name, run, job), column) for column in columns.others
        )
        return Line(
            (
                (look.glyph + " " + cell(look.word, STATE_CELLS - 2), look.role),
                *named(name, hint, columns.agent - 1, quiet),
                (" ", quiet),
                (cell(doing_of(run, job), columns.doing - 1) + " ", quiet),
                (others, "muted"),
            ),
            key=run.run_id,
        )

    def of_agent(self, agent: Agent) -> Line:
        """Return the row of an agent that was spawned and has done nothing yet."""
        look, columns = LOOKS["idle"], self._columns
        doing = "spawned, waits for a prompt" if agent.status == "idle" else agent.status
        age = span_of_time(self._now - agent.created_at)
        others = "".join(
            _in_column(age if column.name == "age" else "", column) for column in columns.others
        )
        return Line(
            (
                (look.glyph + " " + cell(look.word, STATE_CELLS - 2), look.role),
                (cell(agent.name, columns.agent - 1) + " ", "muted"),
                (cell(doing, columns.doing - 1) + " ", "muted"),
                (others, "muted"),
            ),
            key=AgentKey(agent.id),
        )

    def _cell(self, name: str, run: RunView, job: JobView) -> str:
        state, now = self._state, self._now
        match name:
            case "step":
                return str(run.step_number)
            case "tokens":
                return tokens(run.usage)
            case "cost":
                whole = state.cost_of_subtree
                return cost_cell(subtree_cost(state.index, run) if whole else run.cost)
            case "context":
                share = run.context_window_usage
                return "" if share is None else f"{share:.0%}"
            case "rate":
                return spark(run, now if self._motion else run.last_event_at)
            case "last":
                return span_of_time(now - run.last_event_at)
            case "age":
                return time_of(run, now)
            case "from":
                return origin_of(job, state.local_jobs, state.host)
            case _:
                return short_id(job.job_id)


def named(name: str, hint: str, room: int, role: Role) -> tuple[Span, Span]:
    """Return a name and what tells it from others of that name, in exactly `room` cells."""
    rest = room - width_of(name) - 1
    if not hint or rest < LEAST_HINT:
        return (cell(name, room), role), ("", "muted")
    return (name, role), (" " + cell(hint, rest), "muted")


def _marked(title: str, column: SortColumn | None, state: CockpitState) -> str:
    return title + "▾" if column == state.sort and column != "state" else title


def _in_column(text: str, column: Column) -> str:
    if column.align == "right":
        return " " + cell(text, column.width - 1, "right")
    return "  " + cell(text, column.width - 2)
