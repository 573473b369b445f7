"""Folding the runs of one job along, forks included, in memory that does not grow with them."""

from __future__ import annotations

from collections.abc import Mapping, Set
from dataclasses import replace

from perstack.domain.events import Event, StartRun, ToolResult
from perstack.domain.ids import CheckpointId, RunId
from perstack.projection.event_facts import changed_files, made_checkpoint, written_paths
from perstack.projection.run_state import RunState, initial, start_from, without_messages
from perstack.projection.state_fold import fold


def state_met(event: Event, state: RunState, points: Mapping[CheckpointId, RunState]) -> RunState:
    """Return the state that `event` meets: for the first of a fork, its parent's at that point.

    `state` is what the run's earlier events come to, `points` the states at checkpoints that runs
    are forked from: a fork from any other begins with nothing. A checkpoint that was named twice
    (a run suspended in mid-step names its last one again) stands there as it was at first.
    """
    body = event.body
    if not isinstance(body, StartRun) or body.parent is None or state.parent is not None:
        return state
    point = points.get(body.parent.checkpoint_id)
    if point is None:
        return state
    return replace(start_from(point), context_window=state.context_window)


class Folds:
    """The states of a job's runs. `points` are the checkpoints that runs are forked from.

    Without `keep_messages` the message histories are dropped as they grow.
    """

    def __init__(self, *, points: Set[CheckpointId] = frozenset(), keep_messages: bool) -> None:
        self._points = points
        self._keep_messages = keep_messages
        self._states: dict[RunId, RunState] = {}
        self._at_points: dict[CheckpointId, RunState] = {}

    def step(self, event: Event) -> tuple[RunState, RunState]:
        """Take in `event`; return the run's state before it and after."""
        before = self._before(event)
        after = fold(before, event)
        kept = after if self._keep_messages else without_messages(after)
        self._states[event.run_id] = kept
        if self._points and (made := made_checkpoint(event)) in self._points and made is not None:
            # A run suspended in mid-step names its last checkpoint again: the first one counts.
            self._at_points.setdefault(made, kept)
        return before, after

    def _before(self, event: Event) -> RunState:
        state = self._states.get(event.run_id) or initial()
        return state_met(event, state, self._at_points)


def files_of(result: ToolResult, before: RunState) -> list[str]:
    """Return the files that a successful call of a base tool wrote, moved or removed."""
    if not changed_files(result):
        return []
    call = next((call for call in before.calls if call.tool_call_id == result.id), None)
    return written_paths(call) if call else []
