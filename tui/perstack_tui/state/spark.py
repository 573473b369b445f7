"""How busy a run was lately, in cells: tokens per time as a row of small bars."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from perstack.domain.ids import RunId
from perstack.projection.views import PointView, RunView
from perstack_tui.state.glyphs import SPARKS

BUCKET_MS: Final = 15_000
CELLS: Final = 8
_MOST_KEPT: Final = 500
# By run, cells and bucket: what the bars were made of, and the bars. A checkpoint that is not the
# last one never changes but by being joined with others, which changes how many there are.
_MadeOf = tuple[int, PointView, PointView, int]
_KEPT: Final[dict[tuple[RunId, int, int], tuple[_MadeOf, str]]] = {}


def spark(run: RunView, now_ms: int, cells: int = CELLS, bucket_ms: int = BUCKET_MS) -> str:
    """Return `cells` bars of the tokens used in each `bucket_ms` up to now, empty for none.

    Only the checkpoints of that time are looked at, from the newest back, and only when there is
    a new one or a new bucket begins.
    """
    points = run.points
    if not points:
        return ""
    place = (run.run_id, cells, bucket_ms)
    made_of = (len(points), points[0], points[-1], now_ms // bucket_ms)
    kept = _KEPT.get(place)
    if kept is not None and kept[0] == made_of:
        return kept[1]
    if len(_KEPT) > _MOST_KEPT:
        _KEPT.clear()
    bars = _bars(points, now_ms, cells, bucket_ms)
    _KEPT[place] = (made_of, bars)
    return bars


def _bars(points: Sequence[PointView], now_ms: int, cells: int, bucket_ms: int) -> str:
    # Buckets begin at whole multiples, so that bars move along and do not change on their way.
    last = now_ms // bucket_ms
    used = [0] * cells
    for point in reversed(points):
        at = cells - 1 - (last - point.timestamp // bucket_ms)
        if at < 0:
            break
        used[min(at, cells - 1)] += point.usage.total_tokens
    most = max(used)
    if most == 0:
        return ""
    top = len(SPARKS) - 1
    return "".join(SPARKS[-(-count * top // most)] for count in used)


def recent_tokens(run: RunView, now_ms: int) -> int:
    """Return the tokens of the time that `spark` shows."""
    since = now_ms - CELLS * BUCKET_MS
    total = 0
    for point in reversed(run.points):
        if point.timestamp < since:
            break
        total += point.usage.total_tokens
    return total
