"""What all runs of a workspace may keep in memory together."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from perstack.domain.ids import RunId
from perstack.projection.run_fold import RunFold

MAX_WEIGHT: Final = 16_000_000
"""About how many bytes the transcripts take; the others are read back when they are looked at."""
MAX_POINTS: Final = 20_000
_LEFT: Final = 0.75


class Holdings:
    """Counts along. Whoever was silent longest lets go of its transcript first."""

    def __init__(self, runs: Mapping[RunId, RunFold]) -> None:
        self._runs = runs
        self._known: dict[RunId, tuple[int, int]] = {}
        self._weight = 0
        self._points = 0

    def count(self, run: RunFold) -> None:
        """Take in that something happened to `run`."""
        before = self._known.get(run.run_id, (0, 0))
        now = (run.transcript.weight, len(run.points))
        if now != before:
            self._known[run.run_id] = now
            self._weight += now[0] - before[0]
            self._points += now[1] - before[1]

    def trim(self) -> Iterable[RunFold]:
        """Have runs let go of what is too much; return those that did."""
        if self._weight <= MAX_WEIGHT and self._points <= MAX_POINTS:
            return ()
        trimmed = [*self._let_go(), *self._thin()]
        for run in trimmed:
            self.count(run)
        return trimmed

    def _let_go(self) -> Iterable[RunFold]:
        if self._weight <= MAX_WEIGHT:
            return
        left = self._weight
        for run in sorted(self._runs.values(), key=lambda one: one.heard_at):
            if left <= MAX_WEIGHT * _LEFT:
                return
            if run.transcript.weight:
                left -= run.transcript.weight
                run.transcript.let_go()
                run.changed = True
                yield run

    def _thin(self) -> Iterable[RunFold]:
        if self._points <= MAX_POINTS:
            return
        left = self._points
        for run in sorted(self._runs.values(), key=lambda one: -len(one.points)):
            if left <= MAX_POINTS * _LEFT:
                return
            before = len(run.points)
            run.points.thin()
            run.changed = True
            left -= before - len(run.points)
            yield run
