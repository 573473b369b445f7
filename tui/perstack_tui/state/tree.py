"""The delegation tree: all jobs, newest first, with the runs of those that are open.

What stands where is worked out per job and kept while the job is the same; a line is made only
when it is looked at. Runs stay in order of start, so that nothing moves under the cursor.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final, Literal

from perstack.domain.ids import JobId, RunId
from perstack.projection.money import cost_cell
from perstack.projection.views import JobView, RunView
from perstack_tui.settings import Settings
from perstack_tui.state.agents import matches, time_of
from perstack_tui.state.index import Index, family, has_ended, subtree_cost
from perstack_tui.state.lines import BLANK, Line, Rows, Span, line, note
from perstack_tui.state.roster import AgentKey
from perstack_tui.state.spark import spark
from perstack_tui.state.tree_empty import nothing_yet
from perstack_tui.state.wording import LOOKS, Role, count_of, short_id, span_of_time
from perstack_tui.text import cell, flat, width_of

if TYPE_CHECKING:
    from perstack.domain.agents import Agent
    from perstack.domain.usage import Cost
    from perstack_tui.state.cockpit import CockpitState

NUMBERS: Final = 20
SPARK_CELLS: Final = 4
SPARK_FROM: Final = 44
FOLD_AFTER_MS: Final = 30_000


@dataclass(frozen=True, slots=True)
class DoneKey:
    """The line that stands for siblings that are done."""

    parent: RunId


@dataclass(frozen=True, slots=True)
class _Place:
    """A line of the tree before it is made. `runs`: the siblings that it stands for."""

    kind: Literal["run", "job", "done", "rule", "agent"]
    job: JobView
    run: RunView | None = None
    lead: str = ""
    runs: tuple[RunView, ...] = ()
    agent: Agent | None = None

    @property
    def key(self) -> object:
        if self.kind == "rule":
            return None
        if self.agent is not None:
            return AgentKey(self.agent.id)
        if self.kind == "done" and self.run is not None:
            return DoneKey(self.run.run_id)
        return self.run.run_id if self.run is not None else self.job.coordinator_run_id


@dataclass(frozen=True, slots=True)
class _Kept:
    """A job's places, good until `until` (Unix ms) while what they were made of is the same."""

    job: JobView
    made_of: tuple[object, ...]
    until: int | None
    places: tuple[_Place, ...]


class Tree:
    """Makes the lines of the tree."""

    def __init__(self) -> None:
        self._kept: dict[JobId, _Kept] = {}

    def lines(
        self, state: CockpitState, width: int, now_ms: int, settings: Settings
    ) -> Sequence[Line]:
        """Return heading and rows; a row's key is its run's id, or a `DoneKey`."""
        index = state.index
        if not index.view.jobs:
            if not index.view.caught_up:
                return (BLANK, note("Reading the history…"))
            return nothing_yet(state)
        needle = state.filters.get("tree", "")
        places = self._places(state, needle, now_ms)
        if not places:
            return (BLANK, line(("Nothing matches ", "muted"), (flat(needle), "text")))
        drawn = _Drawn(state, width, now_ms, settings)
        return Rows(
            [place.key for place in places], lambda at: drawn.line(places[at]), (drawn.head(),)
        )

    def _places(self, state: CockpitState, needle: str, now_ms: int) -> list[_Place]:
        index = state.index
        jobs = index.view.jobs
        if len(self._kept) > 2 * len(jobs) + 16:
            self._kept.clear()
        found: list[_Place] = []
        ruled, unfolded = False, frozenset(state.unfolded)
        chosen = state.job
        for job in jobs:
            if needle:
                wanted = _wanted(job, needle)
                if wanted:
                    found.extend(_filtered(job, wanted))
                continue
            opened = is_open(job, index, state.folded)
            if found and not ruled:
                ruled = True
                found.append(_Place("rule", job))
            manner = (opened, state.run_id if job is chosen else None, unfolded)
            found.extend(self._of_job(state, job, now_ms, manner))
        return found

    def _of_job(
        self,
        state: CockpitState,
        job: JobView,
        now_ms: int,
        manner: tuple[bool, RunId | None, frozenset[RunId]],
    ) -> tuple[_Place, ...]:
        """Return the job's lines; `manner`: whether it is open, what is selected and unfolded."""
        agent = state.roster.by_job.get(job.job_id)
        kept = self._kept.get(job.job_id)
        same = kept is not None and kept.job is job and kept.made_of == (manner, agent)
        if kept is not None and same and (kept.until is None or now_ms < kept.until):
            return kept.places
        opened, chosen, unfolded = manner
        places, until = _job_places(
            job, now_ms, opened=opened, chosen=chosen, unfolded=unfolded, agent=agent
        )
        self._kept[job.job_id] = _Kept(job, (manner, agent), until, places)
        return places


def tree_badge(state: CockpitState) -> str:
    """Return how many jobs there are, and what they are filtered by."""
    jobs = len(state.index.view.jobs)
    needle = state.filters.get("tree", "")
    if not jobs:
        return ""
    count = count_of(jobs, "job")
    return f"/{flat(needle)} · {count}" if needle else count


def is_open(job: JobView, index: Index, folded: Mapping[JobId, bool]) -> bool:
    """Say whether the job's runs are listed: as the user left it, else while it is not done."""
    chosen = folded.get(job.job_id)
    if chosen is not None:
        return not chosen
    return job is index.view.jobs[0] or not has_ended(job)


def shown_key(job: JobView, run_id: RunId, *, opened: bool) -> RunId:
    """Return the row that stands for the run: its own, or the job's while that is closed."""
    return run_id if opened else job.coordinator_run_id


def _wanted(job: JobView, needle: str) -> set[RunId]:
    """Return the runs that match, and those above them."""
    parents = {run.run_id: run.parent_run_id for run in job.runs}
    wanted: set[RunId] = set()
    for run in job.runs:
        if matches(run, job, needle):
            at: RunId | None = run.run_id
            while at is not None and at not in wanted:
                wanted.add(at)
                at = parents.get(at)
    return wanted


def _filtered(job: JobView, wanted: set[RunId]) -> list[_Place]:
    found = [
        (len(flags), _Place("run", job, run)) for run, flags in family(job) if run.run_id in wanted
    ]
    return _led(found)


def _job_places(
    job: JobView,
    now_ms: int,
    *,
    opened: bool,
    chosen: RunId | None,
    unfolded: frozenset[RunId],
    agent: Agent | None,
) -> tuple[tuple[_Place, ...], int | None]:
    """Return the job's lines, and when time alone changes them."""
    runs = list(family(job))
    if not opened or not runs:
        return (_Place("job", job),), None
    hidden, until = ({}, None) if has_ended(job) else _folding(job, now_ms, chosen, unfolded)
    under = 1 if agent is not None and sum(not flags for _, flags in runs) > 1 else 0
    found: list[tuple[int, _Place]] = []
    if agent is not None and under:
        found.append((0, _Place("agent", job, runs[-1][0], agent=agent)))
    by_id = {run.run_id: run for run, _ in runs}
    left_out = 1 << 30
    for run, flags in runs:
        if len(flags) > left_out:
            continue
        folded = hidden.get(run.run_id)
        left_out = 1 << 30 if folded is None else len(flags)
        depth = len(flags) + under
        if folded is None:
            found.append((depth, _Place("run", job, run)))
        elif folded:
            parent = by_id.get(run.parent_run_id or run.run_id, run)
            found.append((depth, _Place("done", job, parent, runs=folded)))
    return tuple(_led(found)), until


def _led(found: Sequence[tuple[int, _Place]]) -> list[_Place]:
    """Give each place its guides; whether a branch is the last shows from those after it."""
    places: list[_Place] = []
    later: set[int] = set()
    for depth, place in reversed(found):
        later = {level for level in later if level <= depth}
        flags = tuple(level not in later for level in range(1, depth + 1))
        later.add(depth)
        mark = "▾ " if not depth and len(found) > 1 else "  "
        places.append(replace(place, lead=_guides(flags) if flags else mark))
    places.reverse()
    return places


def _folding(
    job: JobView, now_ms: int, chosen: RunId | None, unfolded: frozenset[RunId]
) -> tuple[dict[RunId, tuple[RunView, ...]], int | None]:
    """Return the runs that are folded away: the first of siblings with all of them, others empty.

    Siblings fold once they were done for `FOLD_AFTER_MS`, two or more at a time; never what
    failed, and never what is selected.
    """
    siblings: dict[RunId, list[RunView]] = {}
    until: int | None = None
    for run in job.runs:
        if run.parent_run_id is None or run.state != "done" or run.parent_run_id in unfolded:
            continue
        folds_at = (run.finished_at or run.last_event_at) + FOLD_AFTER_MS
        if now_ms < folds_at:
            until = folds_at if until is None else min(until, folds_at)
        else:
            siblings.setdefault(run.parent_run_id, []).append(run)
    hidden: dict[RunId, tuple[RunView, ...]] = {}
    for runs in siblings.values():
        if len(runs) > 1 and not _holds(job, runs, chosen):
            hidden.update({run.run_id: () for run in runs})
            hidden[runs[0].run_id] = tuple(runs)
    return hidden, until


def _holds(job: JobView, runs: Sequence[RunView], chosen: RunId | None) -> bool:
    """Say whether the selected run, or one that did not end well, is among `runs` or below."""
    names = {run.run_id for run in runs}
    if chosen in names:
        return True
    for run in job.runs:
        if run.parent_run_id in names:
            names.add(run.run_id)
            if run.run_id == chosen or run.state != "done":
                return True
    return False


def _guides(flags: tuple[bool, ...]) -> str:
    if not flags:
        return ""
    return (
        "  "
        + "".join("  " if last else "│ " for last in flags[:-1])
        + ("└ " if flags[-1] else "├ ")
    )


class _Drawn:
    """Draws places at one width and moment."""

    def __init__(self, state: CockpitState, width: int, now_ms: int, settings: Settings) -> None:
        self._state = state
        self._width = width
        self._now = now_ms
        self._spark = SPARK_CELLS + 2 if width >= SPARK_FROM else 0
        self._motion = settings.motion

    def head(self) -> Line:
        """Return the heading."""
        cost = "COST Σ" if self._state.cost_of_subtree else "COST"
        numbers = cell("STATE", 6) + cell("TIME", 6, "right")
        numbers += " " * self._spark + cell(cost, 8, "right")
        return note(cell("EXPERT", max(4, self._width - NUMBERS - self._spark)) + numbers)

    def line(self, place: _Place) -> Line:
        """Return the line of a place."""
        if place.kind == "rule":
            return note("┄ other jobs ┄")
        if place.kind == "job":
            return self._job(place)
        return self._done(place) if place.kind == "done" else self._run(place, place.run)

    def _run(self, place: _Place, run: RunView | None) -> Line:
        if run is None:
            return BLANK
        look = LOOKS[run.state]
        room = max(4, self._width - NUMBERS - self._spark - width_of(place.lead) - 2)
        name = flat(place.agent.name) if place.agent else self._state.roster.short_name(run)
        hint = "" if place.agent else self._state.twins.hint(place.job, run.run_id)
        return Line(
            (
                (place.lead, "line" if place.lead.strip("▾ ") else "muted"),
                (look.glyph + " ", look.role),
                *self._named(name, run, room, hint),
                *self._numbers(look.word, look.role, time_of(run, self._now), run, self._cost(run)),
            ),
            key=place.key,
        )

    def _named(self, name: str, run: RunView, room: int, hint: str) -> Iterable[Span]:
        """Yield the name, where there is room with what tells it apart, or what it waits for."""
        rest = room - width_of(name)
        told = hint or (run.doing if run.state in ("waits", "stall", "lost") else "")
        if rest < (8 if hint else 12) or not told:
            return ((cell(name, room - 1) + " ", "text"),)
        return ((name, "text"), (cell(f" {flat(told)}", rest - 1) + " ", "muted"))

    def _job(self, place: _Place) -> Line:
        job = place.job
        look = LOOKS[job.state]
        runs = {run.run_id: run for run in job.runs}
        root = runs.get(job.coordinator_run_id)
        mark = "▸ " if len(job.runs) > 1 else "  "
        room = max(4, self._width - NUMBERS - self._spark - 4)
        name = flat(job.expert_key) if root is None else self._state.roster.short_name(root)
        shown = name if room < 16 else f"{flat(short_id(job.job_id))} {name}"
        took = (job.finished_at or self._now) - job.started_at
        age = span_of_time(took) if root is None else time_of(root, self._now)
        return Line(
            (
                (mark, "muted"),
                (look.glyph + " ", look.role),
                (cell(shown, room - 1) + " ", "muted"),
                *self._numbers(look.word, "muted", age, root, job.cost),
            ),
            key=place.key,
        )

    def _done(self, place: _Place) -> Line:
        cost = place.runs[0].cost
        for run in place.runs[1:]:
            cost = cost.joined(run.cost)
        room = max(4, self._width - NUMBERS - self._spark - width_of(place.lead) - 2)
        text = f"{len(place.runs)} done"
        return Line(
            (
                (place.lead, "line"),
                ("✓ ", "done"),
                (cell(text, room), "muted"),
                *self._numbers("done", "done", "", None, cost),
            ),
            key=place.key,
        )

    def _numbers(
        self, word: str, role: Role, age: str, run: RunView | None, cost: Cost
    ) -> Iterable[Span]:
        yield (cell(word, 6), role)
        yield (cell(age, 6, "right"), "muted")
        if self._spark:
            now = self._now if self._motion or run is None else run.last_event_at
            bars = spark(run, now, SPARK_CELLS) if run is not None else ""
            yield ("  " + cell(bars, SPARK_CELLS), "muted")
        yield (cell(cost_cell(cost) if cost.usd or cost.partial else "", 8, "right"), "muted")

    def _cost(self, run: RunView) -> Cost:
        return subtree_cost(self._state.index, run) if self._state.cost_of_subtree else run.cost
