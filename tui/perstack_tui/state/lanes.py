"""Where the checkpoints of a job's runs stand beside each other.

Columns are moments in order, not equal spans of time: checkpoints of different lanes share a
column unless one had to come before the other (two of a lane, a delegation and what it started).
A column once given stays, so that only what is new has to be placed.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable
from dataclasses import dataclass, field

from perstack.domain.ids import CheckpointId, RunId
from perstack.projection.views import JobView, PointView, RunView
from perstack_tui.state.index import family


@dataclass(slots=True)
class Lane:
    """A run with the column of each of its checkpoints; `depth` levels below the coordinator.

    `parent` is the row of the lane that it was delegated from, `spawned_at` the column there, -1
    for none.
    """

    run: RunView
    depth: int
    columns: list[int] = field(default_factory=list[int])
    spawned_at: int = -1
    parent: int | None = None
    last: CheckpointId | None = None


class Lanes:
    """The lanes of one job after the other; `update` places only the checkpoints that are new."""

    def __init__(self) -> None:
        self.lanes: list[Lane] = []
        self._by_run: dict[RunId, Lane] = {}
        self._job: JobView | None = None
        self._current = 0
        self._latest = 0

    @property
    def last(self) -> int:
        """The last column."""
        return self._current

    def lane(self, run_id: RunId | None) -> Lane | None:
        """Return the run's lane."""
        return None if run_id is None else self._by_run.get(run_id)

    def update(self, job: JobView) -> list[Lane]:
        """Return the lanes of `job`, parents first."""
        known = self._job
        if known is job:
            return self.lanes
        self._job = job
        if known is None or known.job_id != job.job_id or not self._goes_on(job):
            self._by_run, self._current, self._latest = {}, 0, 0
        self.lanes = []
        for run, flags in family(job):
            lane = self._by_run.setdefault(run.run_id, Lane(run, len(flags)))
            lane.run, lane.depth = run, len(flags)
            self.lanes.append(lane)
        self._place(self._new())
        rows = {lane.run.run_id: row for row, lane in enumerate(self.lanes)}
        for lane in self.lanes:
            above = lane.run.parent_run_id
            lane.parent = rows.get(above) if above is not None else None
            lane.spawned_at = self._spawn_column(lane)
        return self.lanes

    def _goes_on(self, job: JobView) -> bool:
        """Say whether what was placed stays, with what is new behind it."""
        runs = {run.run_id: run for run in job.runs}
        for run_id, lane in self._by_run.items():
            run, count = runs.get(run_id), len(lane.columns)
            if run is None or len(run.points) < count:
                return False
            if count and run.points[count - 1].checkpoint_id != lane.last:
                return False
        earliest, new = self._latest, 0
        for run in job.runs:
            known = self._by_run.get(run.run_id)
            at = len(known.columns) if known is not None else 0
            if len(run.points) > at:
                earliest = min(earliest, run.points[at].timestamp)
                new += len(run.points) - at
        # A few that come late, say by a clock that was set back, go to the end: what is on the
        # screen does not move for them. While a history is read, all are put in order.
        return earliest >= self._latest or new * 4 < sum(
            len(lane.columns) for lane in self._by_run.values()
        )

    def _new(self) -> Iterable[tuple[PointView, Lane]]:
        found = [
            (point.timestamp, lane.depth, number, point, lane)
            for lane in self.lanes
            for number, point in enumerate(
                lane.run.points[len(lane.columns) :], start=len(lane.columns)
            )
        ]
        found.sort(key=lambda moment: moment[:3])
        return ((point, lane) for _, _, _, point, lane in found)

    def _place(self, moments: Iterable[tuple[PointView, Lane]]) -> None:
        for point, lane in moments:
            self._current = max(self._current, self._earliest(lane))
            lane.columns.append(self._current)
            lane.last = point.checkpoint_id
            self._latest = max(self._latest, point.timestamp)

    def _earliest(self, lane: Lane) -> int:
        """Return the first column that the lane's next checkpoint may have."""
        least = lane.columns[-1] + 1 if lane.columns else 0
        parent = self.lane(lane.run.parent_run_id)
        if parent is not None and parent.columns and not lane.columns:
            least = max(least, parent.columns[-1] + 1)
        for child in lane.run.children:
            below = self._by_run.get(child)
            if below is not None and below.columns:
                least = max(least, below.columns[-1] + 1)
        return least

    def _spawn_column(self, lane: Lane) -> int:
        """Return the column of the parent's checkpoint that this lane began after."""
        parent = self.lane(lane.run.parent_run_id)
        if parent is None or not parent.columns:
            return -1
        if lane.spawned_at >= 0 and lane.columns:
            return lane.spawned_at
        end = bisect_left(parent.columns, lane.columns[0]) if lane.columns else len(parent.columns)
        for at in range(end - 1, -1, -1):
            point = parent.run.points[at]
            if point.kind == "delegate" and point.timestamp <= lane.run.started_at + 1:
                return parent.columns[at]
        return parent.columns[end - 1] if end else -1
