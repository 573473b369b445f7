"""Which of the runs below one is followed: the one that spoke last, without hurrying about."""

from __future__ import annotations

from typing import Final

from perstack.domain.ids import RunId
from perstack.projection.views import RunView
from perstack_tui.state.index import Index
from perstack_tui.state.wording import LIVE

STAY_MS: Final = 2_000
"""How long a branch must have been silent, in ms, before another that speaks takes its place."""


def speaking(index: Index, leader: RunView, shown: RunId | None) -> RunView:
    """Return which of `leader` and the runs below it is to be shown, `shown` being so far."""
    below = _family(index, leader)
    at_work = [run for run in below if run.state in LIVE and run.state != "waits"]
    if not at_work:
        return leader
    last = max(at_work, key=lambda run: run.last_event_at)
    now = next((run for run in at_work if run.run_id == shown), None)
    if now is not None and last.last_event_at - now.last_event_at < STAY_MS:
        return now
    return last


def _family(index: Index, leader: RunView) -> list[RunView]:
    found: dict[RunId, RunView] = {}
    waiting = [leader.run_id]
    while waiting:
        run = index.run(waiting.pop())
        if run is not None and run.run_id not in found:
            found[run.run_id] = run
            waiting.extend(run.children)
    return list(found.values())
