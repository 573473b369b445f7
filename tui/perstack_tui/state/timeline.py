"""The checkpoints of a job as parallel lanes.

Columns are moments in order, not equal spans of time: checkpoints of different lanes share a
column unless one had to come before the other (two of a lane, a delegation and what it started).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from perstack.domain.ids import CheckpointId, RunId
from perstack.projection.views import JobView, PointView, RunView
from perstack_tui.state.index import family, is_live
from perstack_tui.state.lines import BLANK, Line, Span, note
from perstack_tui.state.wording import LOOKS, Role, clock_time, count_of, spent, tokens
from perstack_tui.text import cell, flat

NAME_CELLS: Final = 20
NUMBER_CELLS: Final = 7
STEP_CELLS: Final = 3
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


@dataclass(slots=True)
class Lane:
    """A run with the column of each of its checkpoints; `depth` levels below the coordinator."""

    run: RunView
    depth: int
    columns: list[int] = field(default_factory=list[int])
    spawned_at: int = -1


def lanes_of(job: JobView) -> list[Lane]:
    """Return the job's lanes, parents first, with columns given to all checkpoints."""
    lanes = [Lane(run, len(flags)) for run, flags in family(job)]
    by_run = {lane.run.run_id: lane for lane in lanes}
    moments = sorted(
        (
            (point.timestamp, number, lane)
            for lane in lanes
            for number, point in enumerate(lane.run.points)
        ),
        key=lambda moment: (moment[0], moment[2].depth, moment[1]),
    )
    current = 0
    for _, _, lane in moments:
        current = max(current, _earliest(lane, by_run))
        lane.columns.append(current)
    for lane in lanes:
        lane.spawned_at = _spawn_column(lane, by_run)
    return lanes


def _earliest(lane: Lane, by_run: dict[RunId, Lane]) -> int:
    """Return the first column that the lane's next checkpoint may have."""
    least = lane.columns[-1] + 1 if lane.columns else 0
    parent = by_run.get(lane.run.parent_run_id) if lane.run.parent_run_id else None
    if parent is not None and parent.columns and not lane.columns:
        least = max(least, parent.columns[-1] + 1)
    children = [by_run[child] for child in lane.run.children if child in by_run]
    for child in children:
        if child.columns:
            least = max(least, child.columns[-1] + 1)
    return least


def _spawn_column(lane: Lane, by_run: dict[RunId, Lane]) -> int:
    """Return the column of the parent's checkpoint that this lane began after."""
    parent = by_run.get(lane.run.parent_run_id) if lane.run.parent_run_id else None
    if parent is None:
        return -1
    first = lane.columns[0] if lane.columns else 1 << 30
    before = [column for column in parent.columns if column < first]
    delegates = [
        column
        for column, point in zip(parent.columns, parent.run.points, strict=False)
        if point.kind == "delegate"
        and column < first
        and point.timestamp <= lane.run.started_at + 1
    ]
    return delegates[-1] if delegates else before[-1] if before else -1


def timeline_lines(
    job: JobView | None, width: int, cursor: CheckpointId | None, selected: RunId | None
) -> tuple[Line, ...]:
    """Return one line a lane; the line's key is the run's id."""
    lanes = lanes_of(job) if job is not None else []
    if not any(lane.columns for lane in lanes):
        return EMPTY
    room = max(6, width - NAME_CELLS - NUMBER_CELLS)
    grid = _Grid(lanes, room, _column_of(lanes, cursor, selected))
    return tuple(_lane_line(lane, row, grid, cursor) for row, lane in enumerate(lanes))


def point_detail(run: RunView | None, cursor: CheckpointId | None) -> str:
    """Return what the checkpoint under the cursor was, for the pane's border."""
    point = point_at(run, cursor)
    if point is None:
        return ""
    what = f" · {flat(point.label)}" if point.label else ""
    files = f" · {', '.join(flat(name) for name in point.files)}" if point.files else ""
    when = clock_time(point.timestamp)
    used = f"{tokens(point.usage)} tok{spent(point.cost)}"
    return f"step {point.step_number}{what} · {when} · {used}{files}"


def point_at(run: RunView | None, cursor: CheckpointId | None) -> PointView | None:
    """Return the run's checkpoint `cursor`, or its last one."""
    if run is None or not run.points:
        return None
    return next((point for point in run.points if point.checkpoint_id == cursor), run.points[-1])


def step_along(run: RunView | None, cursor: CheckpointId | None, by: int) -> CheckpointId | None:
    """Return the checkpoint `by` places along the run's lane."""
    point = point_at(run, cursor)
    if run is None or point is None:
        return None
    at = max(0, min(len(run.points) - 1, run.points.index(point) + by))
    return run.points[at].checkpoint_id


def checkpoints_in(job: JobView | None) -> str:
    """Return `12 checkpoints`."""
    return count_of(sum(len(run.points) for run in job.runs), "checkpoint") if job else ""


def _column_of(lanes: Sequence[Lane], cursor: CheckpointId | None, selected: RunId | None) -> int:
    """Return the column that must be visible: the cursor's, else the newest."""
    for lane in lanes:
        if lane.run.run_id == selected and cursor is not None:
            for column, point in zip(lane.columns, lane.run.points, strict=False):
                if point.checkpoint_id == cursor:
                    return column
    return max((lane.columns[-1] for lane in lanes if lane.columns), default=0)


class _Grid:
    """Where columns are on the screen, and the connectors between lanes."""

    def __init__(self, lanes: Sequence[Lane], room: int, focus: int) -> None:
        self.lanes = lanes
        self.room = room
        self.last = max((lane.columns[-1] for lane in lanes if lane.columns), default=0)
        fit = max(1, (room - 3) // STEP_CELLS)
        newest_first = max(0, self.last - fit + 1)
        self.first = (
            min(newest_first, max(0, focus - fit // 2)) if focus < newest_first else newest_first
        )

    def x(self, column: int) -> int:
        """Return the cell of a column, counted from the lanes' left edge."""
        return (column - self.first) * STEP_CELLS + (1 if self.first else 0)

    def connectors(self, row: int) -> dict[int, str]:
        """Return the connector glyphs that cross or begin the lane in `row`, by cell."""
        found: dict[int, str] = {}
        for later in range(row, len(self.lanes)):
            lane = self.lanes[later]
            parent_row = self._parent_row(lane)
            if lane.spawned_at < 0 or parent_row is None or not parent_row < row <= later:
                continue
            cell_at = self.x(lane.spawned_at) + 1
            if later == row:
                found[cell_at] = "├" if found.get(cell_at) else "╰"
            elif cell_at in found:
                found[cell_at] = "├" if found[cell_at] in "╰├" else "│"
            else:
                found[cell_at] = "│"
        return found

    def branches(self, lane: Lane) -> set[int]:
        """Return the columns at which other lanes begin from this one."""
        parent = lane.run.run_id
        return {
            other.spawned_at
            for other in self.lanes
            if other.run.parent_run_id == parent and other.spawned_at >= 0
        }

    def _parent_row(self, lane: Lane) -> int | None:
        for number, other in enumerate(self.lanes):
            if other.run.run_id == lane.run.parent_run_id:
                return number
        return None


def _lane_line(lane: Lane, row: int, grid: _Grid, cursor: CheckpointId | None) -> Line:
    cells: list[Span] = [(" ", "text")] * grid.room
    for at, glyph in grid.connectors(row).items():
        _put(cells, at, glyph, "line")
    _draw_track(cells, lane, grid)
    for column, point in zip(lane.columns, lane.run.points, strict=False):
        glyph, role = _GLYPHS[point.kind]
        _put(cells, grid.x(column), glyph, "accent" if point.checkpoint_id == cursor else role)
        if point.checkpoint_id == cursor:
            _put(cells, grid.x(column) - 1, "‹", "accent")
            _put(cells, grid.x(column) + 1, "›", "accent")
    for column in grid.branches(lane):
        _put(cells, grid.x(column) + 1, "┬", "line")
    if grid.first:
        _put(cells, 0, "‹", "muted")
    name = cell("  " * lane.depth + lane.run.expert_key, NAME_CELLS - 1) + " "
    used = cell(tokens(lane.run.usage), NUMBER_CELLS, "right")
    spans: tuple[Span, ...] = ((name, "text"), *_joined(cells), (used, "muted"))
    return Line(spans, key=lane.run.run_id)


def _draw_track(cells: list[Span], lane: Lane, grid: _Grid) -> None:
    """Draw the line through the lane's checkpoints, dotted while it waits for its delegates."""
    if lane.spawned_at >= 0:
        until = grid.x(lane.columns[0]) if lane.columns else grid.x(lane.spawned_at) + STEP_CELLS
        _stretch(cells, grid.x(lane.spawned_at) + 2, until, "─", "muted")
    pairs = zip(lane.columns, lane.columns[1:], lane.run.points, strict=False)
    for start, end, point in pairs:
        waiting = point.kind in ("delegate", "ask", "gate")
        _stretch(cells, grid.x(start) + 1, grid.x(end), "·" if waiting else "─", "muted")
    if lane.columns and lane.run.state in ("run", "waits", "gate", "asks", "stall"):
        end = grid.x(grid.last) + STEP_CELLS
        waits = lane.run.state != "run"
        _stretch(cells, grid.x(lane.columns[-1]) + 1, end, "·" if waits else "─", "muted")
    if is_live(lane.run):
        look = LOOKS[lane.run.state]
        _put(cells, min(grid.room - 1, grid.x(grid.last) + STEP_CELLS), look.glyph, look.role)


def _stretch(cells: list[Span], start: int, end: int, glyph: str, role: Role) -> None:
    for at in range(max(0, start), min(end, len(cells))):
        if cells[at][0] == " ":
            cells[at] = (glyph, role)
        elif glyph == "─" and cells[at][0] == "│":
            cells[at] = ("┼", "line")


def _put(cells: list[Span], at: int, glyph: str, role: Role) -> None:
    if 0 <= at < len(cells):
        cells[at] = (glyph, role)


def _joined(cells: Sequence[Span]) -> list[Span]:
    """Join neighbours of one role, so that a lane is a handful of spans."""
    joined: list[Span] = []
    for glyph, role in cells:
        if joined and joined[-1][1] == role:
            joined[-1] = (joined[-1][0] + glyph, role)
        else:
            joined.append((glyph, role))
    return joined
