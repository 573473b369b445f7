"""How busy a run was lately, in cells: tokens per time as a row of small bars."""

from __future__ import annotations

from typing import Final

from perstack.projection.views import RunView
from perstack_tui.state.glyphs import SPARKS

BUCKET_MS: Final = 15_000
CELLS: Final = 8


def spark(run: RunView, now_ms: int, cells: int = CELLS, bucket_ms: int = BUCKET_MS) -> str:
    """Return `cells` bars of the tokens used in each `bucket_ms` up to now, empty for none.

    Only the checkpoints of that time are looked at, from the newest back.
    """
    # Buckets begin at whole multiples, so that bars move along and do not change on their way.
    last = now_ms // bucket_ms
    used = [0] * cells
    for point in reversed(run.points):
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
