"""The checkpoints of a job as parallel lanes, drawn only where they are visible.

The axis is steps, a column each, or time, from the job's beginning to now.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final, Protocol

from perstack.domain.ids import CheckpointId, RunId
from perstack.projection.money import cost_cell, usd_words
from perstack.projection.views import JobView, PointView, RunView
from perstack_tui.state.agents import named
from perstack_tui.state.index import is_live, subtree_cost
from perstack_tui.state.lanes import Lane, Lanes
from perstack_tui.state.lines import BLANK, Line, Rows, Span, note
from perstack_tui.state.wording import LOOKS, Role, clock_time, count_of, spent, tokens
from perstack_tui.text import cell, flat

if TYPE_CHECKING:
    from perstack_tui.state.cockpit import CockpitState

NAME_CELLS: Final = 20
NUMBER_CELLS: Final = 9
STEP_CELLS: Final = 3
LABEL_CELLS: Final = 8
READING: Final = (BLANK, note("Reading the history…"))
EMPTY: Final = (
    BLANK,
    note("No checkpoints yet. Every step of a run leaves one here,"),
    note("delegated runs in lanes of their own."),
)
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


class Axis(Protocol):
    """Which part of the lanes is in view, and in which cell a checkpoint is."""

    @property
    def cut(self) -> bool:
        """Whether something lies to the left of what is in view."""
        ...

    @property
    def end(self) -> int:
        """The cell of now."""
        ...

    def x(self, column: int, timestamp: int) -> int:
        """Return the cell of a checkpoint, outside of the room when it is not in view."""
        ...

    def seen(self, lane: Lane) -> range:
        """Return the places of the lane's checkpoints that are in view."""
        ...


class Steps:
    """A column of three cells a moment; the cursor's is in view, else the newest."""

    def __init__(self, room: int, last: int, focus: int) -> None:
        fit = max(1, (room - 3) // STEP_CELLS)
        newest = max(0, last - fit + 1)
        self._first = min(newest, max(0, focus - fit // 2)) if focus < newest else newest
        self._fit = fit
        self.cut = self._first > 0
        self.end = min(room - 1, self.x(last, 0) + STEP_CELLS)

    def x(self, column: int, timestamp: int) -> int:
        """Return the cell of a column."""
        return (column - self._first) * STEP_CELLS + 1

    def seen(self, lane: Lane) -> range:
        """Return the checkpoints of the columns in view."""
        first = bisect_left(lane.columns, self._first)
        return range(first, bisect_right(lane.columns, self._first + self._fit))


class Times:
    """Equal spans of time, the whole job in view."""

    def __init__(self, room: int, begin: int, end: int) -> None:
        self._begin, self._span = begin, max(1, end - begin)
        self._cells = max(2, room - 2)
        self.cut = False
        self.end = self._cells

    def x(self, column: int, timestamp: int) -> int:
        """Return the cell of a moment (Unix ms)."""
        at = (timestamp - self._begin) * (self._cells - 1) // self._span
        return max(1, min(self._cells, at + 1))

    def seen(self, lane: Lane) -> range:
        """Return all checkpoints."""
        return range(len(lane.columns))


class Timeline:
    """Makes the lines of the timeline; what was worked out for a job is kept while it grows."""

    def __init__(self) -> None:
        self._lanes = Lanes()

    def lines(self, state: CockpitState, width: int, now_ms: int) -> Sequence[Line]:
        """Return the axis and a line a lane; a line's key is the run's id."""
        job = state.job
        lanes = self._lanes.update(job) if job is not None else []
        if job is None or not any(lane.columns for lane in lanes):
            return EMPTY if state.index.view.caught_up else READING
        room = max(6, width - NAME_CELLS - NUMBER_CELLS)
        end = now_ms if is_live_job(job) else max(run.last_event_at for run in job.runs)
        axis: Axis = (
            Times(room, job.started_at, end)
            if state.time_axis
            else Steps(room, self._lanes.last, self._focus(state))
        )
        drawn = _Drawn(state, lanes, axis, room)
        head = drawn.axis(self._lanes.lane(state.run_id) or lanes[0])
        return Rows([lane.run.run_id for lane in lanes], drawn.lane, (head,))

    def _focus(self, state: CockpitState) -> int:
        """Return the column that must be visible: the cursor's, else the newest."""
        lane = self._lanes.lane(state.run_id)
        if lane is None or state.point is None:
            return self._lanes.last
        at = place_of(lane.run, state.point)
        return self._lanes.last if at is None or at >= len(lane.columns) else lane.columns[at]


def is_live_job(job: JobView) -> bool:
    """Say whether time goes on in the job."""
    return any(is_live(run) for run in job.runs)


def place_of(run: RunView, cursor: CheckpointId | None) -> int | None:
    """Return which of the run's checkpoints `cursor` is."""
    if cursor is None:
        return None
    places = range(len(run.points) - 1, -1, -1)
    return next((at for at in places if run.points[at].checkpoint_id == cursor), None)


def point_at(run: RunView | None, cursor: CheckpointId | None) -> PointView | None:
    """Return the run's checkpoint `cursor`, or its last one."""
    if run is None or not run.points:
        return None
    at = place_of(run, cursor)
    return run.points[-1 if at is None else at]


def step_along(run: RunView | None, cursor: CheckpointId | None, by: int) -> CheckpointId | None:
    """Return the checkpoint `by` places along the run's lane."""
    if run is None or not run.points:
        return None
    at = place_of(run, cursor)
    at = len(run.points) - 1 if at is None else at
    return run.points[max(0, min(len(run.points) - 1, at + by))].checkpoint_id


def lane_along(
    job: JobView | None, run_id: RunId | None, cursor: CheckpointId | None, by: int
) -> tuple[RunId, CheckpointId | None] | None:
    """Return the run `by` lanes below, and its checkpoint nearest in time; None without a job."""
    if job is None:
        return None
    lanes = [lane.run for lane in Lanes().update(job)]
    at = next((row for row, run in enumerate(lanes) if run.run_id == run_id), None)
    if at is None:
        return None
    run = lanes[max(0, min(len(lanes) - 1, at + by))]
    here = point_at(lanes[at], cursor)
    if here is None or not run.points:
        return run.run_id, None
    times = [point.timestamp for point in run.points]
    after = min(bisect_left(times, here.timestamp), len(times) - 1)
    nearest = min((max(0, after - 1), after), key=lambda place: abs(times[place] - here.timestamp))
    return run.run_id, run.points[nearest].checkpoint_id


def checkpoints_in(job: JobView | None) -> str:
    """Return `12 checkpoints`."""
    return count_of(sum(len(run.points) for run in job.runs), "checkpoint") if job else ""


def point_detail(run: RunView | None, cursor: CheckpointId | None) -> str:
    """Return what the checkpoint under the cursor was, for the pane's border."""
    point = point_at(run, cursor)
    if run is None or point is None:
        return ""
    usd, partial = _cost_until(run, cursor)
    what = f" · {flat(point.label)}" if point.label else ""
    files = f" · {', '.join(flat(name) for name in point.files)}" if point.files else ""
    used = f"{tokens(point.usage)} tok{spent(point.cost)}"
    so_far = f" · so far {'≥' if partial else ''}{usd_words(usd)}" if usd else ""
    return f"step {point.step_number}{what} · {clock_time(point.timestamp)} · {used}{so_far}{files}"


def _cost_until(run: RunView, cursor: CheckpointId | None) -> tuple[float, bool]:
    """Return the US dollars up to the cursor, and whether some are not known."""
    at = place_of(run, cursor)
    if at is None or at == len(run.points) - 1:
        return run.cost.usd, run.cost.partial  # not added up anew at each paint of a live run
    until = run.points[: at + 1]
    return sum(one.cost.usd for one in until), any(one.cost.partial for one in until)


class _Drawn:
    """Draws lanes on an axis in `room` cells."""

    def __init__(self, state: CockpitState, lanes: Sequence[Lane], axis: Axis, room: int) -> None:
        self._state = state
        self._lanes = lanes
        self._axis = axis
        self._room = room
        self._spawns = self._spawned()

    def _spawned(self) -> dict[tuple[int, int], list[int]]:
        """Return the rows that begin at a cell of a parent's row, by that row and cell."""
        found: dict[tuple[int, int], list[int]] = {}
        for row, lane in enumerate(self._lanes):
            if lane.parent is not None and lane.spawned_at >= 0:
                at = self._axis.x(lane.spawned_at, lane.run.started_at) + 1
                if 0 <= at < self._room:
                    found.setdefault((lane.parent, at), []).append(row)
        return found

    def lane(self, row: int) -> Line:
        """Return the line of a lane."""
        lane, state = self._lanes[row], self._state
        cells: list[Span] = [(" ", "text")] * self._room
        self._draw_branches(cells, row)
        self._draw_track(cells, lane)
        self._draw_points(cells, lane)
        if self._axis.cut:
            _put(cells, 0, "‹", "muted")
        indent = "  " * lane.depth
        name = indent + state.roster.short_name(lane.run)
        hint = state.twins.hint(state.job, lane.run.run_id)
        cost = subtree_cost(state.index, lane.run) if state.cost_of_subtree else lane.run.cost
        number = cost_cell(cost) if cost.usd or cost.partial else tokens(lane.run.usage)
        shown: tuple[Span, ...] = (
            *named(name, hint, NAME_CELLS - 1, "text" if is_live(lane.run) else "muted"),
            (" ", "muted"),
            *_joined(cells),
            (cell(number, NUMBER_CELLS, "right"), "muted"),
        )
        return Line(shown, key=lane.run.run_id)

    def _draw_branches(self, cells: list[Span], row: int) -> None:
        """Draw what crosses or begins this lane, and where others leave it."""
        for (parent, at), rows in self._spawns.items():
            if parent == row:
                _put(cells, at, "┬", "line")
            elif parent < row <= rows[-1]:
                glyph = "│" if row not in rows else "╰" if row == rows[-1] else "├"
                _put(cells, at, glyph, "line")

    def _draw_track(self, cells: list[Span], lane: Lane) -> None:
        """Draw the line through the lane's checkpoints, dotted while it waits for its delegates."""
        axis, points, columns = self._axis, lane.run.points, lane.columns
        if lane.spawned_at >= 0:
            began = axis.x(lane.spawned_at, lane.run.started_at)
            nowhere = axis.end if is_live(lane.run) else began + STEP_CELLS
            until = axis.x(columns[0], points[0].timestamp) if columns else nowhere
            _stretch(cells, began + 2, until, "─")
        seen = axis.seen(lane)
        for at in range(max(0, seen.start - 1), min(len(columns) - 1, seen.stop)):
            start = axis.x(columns[at], points[at].timestamp)
            end = axis.x(columns[at + 1], points[at + 1].timestamp)
            waiting = points[at].kind in ("delegate", "ask", "gate")
            _stretch(cells, start + 1, end, "·" if waiting else "─")
        if is_live(lane.run):
            if columns:
                start = axis.x(columns[-1], points[-1].timestamp)
                _stretch(cells, start + 1, axis.end, "─" if lane.run.state == "run" else "·")
            look = LOOKS[lane.run.state]
            _put(cells, axis.end, look.glyph, look.role)

    def _draw_points(self, cells: list[Span], lane: Lane) -> None:
        cursor = self._state.point
        for at in self._axis.seen(lane):
            point = lane.run.points[at]
            x = self._axis.x(lane.columns[at], point.timestamp)
            glyph, role = _GLYPHS[point.kind]
            chosen = point.checkpoint_id == cursor
            _put(cells, x, glyph, "accent" if chosen else role)
            if chosen:
                _put(cells, x - 1, "‹", "accent")
                _put(cells, x + 1, "›", "accent")

    def axis(self, lane: Lane) -> Line:
        """Return the times above the lanes: the cursor's, and others where there is room."""
        cells: list[Span] = [(" ", "text")] * self._room
        run, axis = lane.run, self._axis
        taken: list[int] = []
        at = place_of(run, self._state.point)
        order = [(other, place) for other in self._lanes for place in axis.seen(other)]
        for other, place in order:
            point = other.run.points[place]
            x = min(axis.x(other.columns[place], point.timestamp), self._room - LABEL_CELLS)
            if x < 0 or any(abs(x - there) <= LABEL_CELLS + 3 for there in taken):
                continue
            taken.append(x)
            _put_time(cells, x, point.timestamp, "muted")
            if len(taken) * (LABEL_CELLS + 4) > self._room:
                break
        if at is not None and lane.columns[at : at + 1]:
            # The cursor's time lies over those it meets, so that the others stay where they are.
            timestamp = run.points[at].timestamp
            x = min(axis.x(lane.columns[at], timestamp), self._room - LABEL_CELLS)
            for there in taken if x >= 0 else ():
                if abs(x - there) <= LABEL_CELLS:
                    _put_time(cells, there, None, "text")
            _put_time(cells, x, timestamp, "accent")
        head = "EXPERT · time" if self._state.time_axis else "EXPERT · steps"
        cost = "COST Σ" if self._state.cost_of_subtree else "COST"
        right = (cell(cost, NUMBER_CELLS, "right"), "muted")
        return Line(((cell(head, NAME_CELLS), "muted"), *_joined(cells), right))


def _put_time(cells: list[Span], at: int, timestamp: int | None, role: Role) -> None:
    """Put a time of day, or with None blanks in its place."""
    shown = " " * LABEL_CELLS if timestamp is None else clock_time(timestamp)
    if at >= 0:
        for offset, character in enumerate(shown):
            _put(cells, at + offset, character, role)


def _stretch(cells: list[Span], start: int, end: int, glyph: str) -> None:
    for at in range(max(0, start), min(end, len(cells))):
        if cells[at][0] == " ":
            cells[at] = (glyph, "muted")
        elif glyph == "─" and cells[at][0] == "│":
            cells[at] = ("┼", "line")


def _put(cells: list[Span], at: int, glyph: str, role: Role) -> None:
    if 0 <= at < len(cells):
        cells[at] = (glyph, role)


def _joined(cells: Sequence[Span]) -> list[Span]:
    """Join neighbours of one role, so that a lane is a handful of spans."""
    joined: list[tuple[list[str], Role]] = []
    for glyph, role in cells:
        if joined and joined[-1][1] == role:
            joined[-1][0].append(glyph)
        else:
            joined.append(([glyph], role))
    return [("".join(glyphs), role) for glyphs, role in joined]
