"""All jobs of a workspace as calm lines: each is printed once and never painted over."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Final

from perstack.domain.ids import JobId, RunId
from perstack.ports.history import FeedBatch
from perstack.projection.inert import inert
from perstack.projection.plain import PlainLines
from perstack.projection.views import JobView, RunView, ScreenState, WorkspaceView

STATE_WORDS: Final[dict[ScreenState, str]] = {
    "idle": "idle",
    "run": "running",
    "waits": "waits for its delegates",
    "gate": "waits for your approval",
    "asks": "asks you",
    "stall": "stalled",
    "lost": "lost: its process is gone",
    "fail": "failed",
    "stop": "stopped",
    "limit": "reached a limit",
    "done": "completed",
}
_UNSAID: Final[frozenset[ScreenState]] = frozenset({"stall", "lost"})


class WatchPlain:
    """Turns what is fed into lines `HH:MM:SS JOB …` in local time.

    Nothing is said of the backlog but how each job stands that has not ended; from then on each
    event has its line. What no event says (a run that stalls, a process that is gone) has one, too.
    Shell commands to type are left out unless it `teaches` them.
    """

    def __init__(self, *, width: int = 100, teaches: bool = True) -> None:
        self._width = width
        self._teaches = teaches
        self._jobs: dict[JobId, PlainLines] = {}
        self._states: dict[RunId, ScreenState] = {}
        self._caught_up = False

    def batch(self, batch: FeedBatch) -> Iterator[str]:
        """Yield the lines that the events of a batch add."""
        for event in batch.events:
            made = PlainLines(width=self._width, teaches=self._teaches)
            lines = self._jobs.setdefault(event.job_id, made)
            told = lines.event(event)
            if self._caught_up:
                yield from (_line(event.timestamp, event.job_id, text) for text in told)

    def view(self, view: WorkspaceView, now_ms: int) -> Iterator[str]:
        """Yield the lines that the view adds to what the events said."""
        if not self._caught_up:
            if view.caught_up:
                self._caught_up = True
                yield from self._overview(view, now_ms)
            return
        for job in view.jobs:
            for run in job.runs:
                before = self._states.get(run.run_id)
                self._states[run.run_id] = run.state
                if run.state != before and run.state in _UNSAID:
                    yield _line(now_ms, run.job_id, f"[{run.expert_key}] {_stands(run)}")

    def _overview(self, view: WorkspaceView, now_ms: int) -> Iterator[str]:
        self._states = {run.run_id: run.state for job in view.jobs for run in job.runs}
        shown = [job for job in reversed(view.jobs) if job.state not in ("done", "fail", "idle")]
        for job in shown:
            yield _line(now_ms, job.job_id, f"{job.expert_key}: {_job_stands(job)}")
        more = len(view.jobs) - len(shown)
        ended = f", {more} ended" if more else ""
        yield f"Watching {len(shown)} open job{'' if len(shown) == 1 else 's'}{ended}."


def _stands(run: RunView) -> str:
    if run.state == "stall":
        return f"stalled: nothing heard while {run.doing}; its process lives"
    return f"{STATE_WORDS[run.state]}; it can go on from step {run.step_number}"


def _job_stands(job: JobView) -> str:
    where = f", pid {job.pid}" if job.alive and job.pid is not None else ""
    return f"{STATE_WORDS[job.state]}, {job.total_steps} of {job.max_steps} steps{where}"


def _line(timestamp_ms: int, job_id: JobId, text: str) -> str:
    moment = datetime.fromtimestamp(timestamp_ms / 1000, tz=UTC).astimezone()
    return inert(f"{moment:%H:%M:%S} {job_id[:8]} {text}", newlines=False)
