"""The checkpoints of one run, in order; where there are too many, old ones are joined."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from perstack.domain.usage import Usage
from perstack.projection.views import PointView

_FIELDS: Final = set(Usage.model_fields)
_FILES: Final = 100


class Points:
    """What the timeline shows of a run."""

    def __init__(self) -> None:
        self._points: list[PointView] = []

    def __len__(self) -> int:
        return len(self._points)

    def shown(self) -> tuple[PointView, ...]:
        """Return the points in order."""
        return tuple(self._points)

    def is_new(self, point: PointView) -> bool:
        """Say whether no point names that checkpoint yet; only the last one can."""
        return not self._points or self._points[-1].checkpoint_id != point.checkpoint_id

    def place(self, point: PointView) -> None:
        """Add a point. A suspended run names its last one again: it shows where the run stopped."""
        if self.is_new(point):
            self._points.append(replace(point, usage=_light(point.usage)))
            return
        last = self._points[-1]
        joined = _joined(last, point)
        self._points[-1] = replace(joined, step_number=last.step_number)

    def thin(self) -> None:
        """Join each two plain steps of the older half to one, so that sums stay what they were."""
        half = len(self._points) // 2
        older: list[PointView] = []
        alone = False
        for point in self._points[:half]:
            if alone and older[-1].kind == point.kind == "step":
                older[-1] = _joined(older[-1], point)
                alone = False
            else:
                older.append(point)
                alone = True
        self._points[:half] = older


def _joined(first: PointView, second: PointView) -> PointView:
    return replace(
        second,
        usage=_light(first.usage.plus(second.usage)),
        cost=first.cost.joined(second.cost),
        files=tuple(dict.fromkeys((*first.files, *second.files)))[:_FILES],
    )


def _light(usage: Usage) -> Usage:
    """The same, at half the memory: which of its fields were given is told once for all."""
    return Usage.model_construct(_fields_set=_FIELDS, **usage.__dict__)
