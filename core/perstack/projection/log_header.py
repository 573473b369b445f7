"""What `perstack log` and `perstack jobs` say of a job, and the counts over its events."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, Literal

from pydantic import JsonValue

from perstack.domain.jobs import Job
from perstack.domain.usage import Cost, Usage
from perstack.ports.history import StoredRecord
from perstack.projection.inert import inert
from perstack.projection.money import cost_words

JobState = Literal[
    "running", "waiting", "paused", "asks", "stopped", "lost", "completed", "failed", "limit"
]
_ENDED: Final[dict[str, JobState]] = {
    "completed": "completed",
    "stoppedByMaxSteps": "limit",
    "stoppedByInteractiveTool": "asks",
    "stoppedByError": "failed",
}
_SAID: Final[dict[JobState, str]] = {
    "waiting": "waiting for a decision",
    "paused": "paused until somebody resumes it",
    "asks": "asks the user",
    "stopped": "stopped, can go on",
    "lost": "lost: no process drives it any more; it can go on",
    "limit": "stopped at a limit",
}


def job_state(job: Job, *, alive: bool, waits: bool = False, paused: bool = False) -> JobState:
    """Return how a job stands: `alive` if a process drives it, `waits` if for a decision.

    `paused`: a run of it stands still until somebody resumes it.

    A job whose process was killed never got to save how it ended: it is "lost", not "running".
    """
    if job.status != "running":
        return _ENDED[job.status]
    if not alive and job.finished_at is None:
        return "lost"
    if waits:
        return "waiting"
    if paused and alive:
        return "paused"
    return "running" if alive else "stopped"


def state_words(job: Job, state: JobState) -> str:
    """Return the state for a reader: Perstack's own word where that says it."""
    return _SAID.get(state, job.status if state in ("completed", "failed") else state)


@dataclass(slots=True)
class LogSummary:
    """Counts over the events that a selection found; `add` each of them once."""

    total: int = 0
    errors: int = 0
    tool_calls: int = 0
    delegations: int = 0
    low_step: int = 0
    high_step: int = 0

    def add(self, record: StoredRecord) -> None:
        """Count a record."""
        step = record.step_number
        self.low_step = min(self.low_step, step) if self.total else step
        self.high_step = max(self.high_step, step)
        self.total += 1
        match record.type:
            case "stopRunByError" | "retry":
                self.errors += 1
            case "callTools":
                self.tool_calls += _length(record.peek().get("routes"))
            case "callDelegate":
                self.delegations += _length(record.peek().get("toolCallIds"))
            case _:
                pass

    def line(self) -> str:
        """Return the counts in one line."""
        steps = f", steps {self.low_step}-{self.high_step}" if self.total else ""
        return (
            f"Summary: {self.total} events, {self.errors} errors, "
            f"{self.tool_calls} tool calls, {self.delegations} delegations{steps}"
        )

    def json(self) -> dict[str, JsonValue]:
        """Return the counts as Perstack names them."""
        return {
            "totalEvents": self.total,
            "errorCount": self.errors,
            "toolCallCount": self.tool_calls,
            "delegationCount": self.delegations,
            "stepRange": {"min": self.low_step, "max": self.high_step},
        }


def _length(value: JsonValue | None) -> int:
    return len(value) if isinstance(value, list) else 0


def header_lines(job: Job, state: JobState, *, storage: str, is_latest: bool) -> Iterator[str]:
    """Return what is known of the job."""
    yield inert(f"Storage: {storage}", newlines=False)
    yield inert(f"Job: {job.id}{' (showing latest job)' if is_latest else ''}", newlines=False)
    yield f"  Status: {state_words(job, state)}"
    yield inert(f"  Expert: {job.coordinator_expert_key}", newlines=False)
    yield f"  Started: {moment(job.started_at)}"
    yield f"  Steps: {job.total_steps} of {job.max_steps}"
    if job.finished_at is not None:
        yield f"  Finished: {moment(job.finished_at)}"


def spent_lines(usage: Usage, cost: Cost) -> Iterator[str]:
    """Return what was used, for a header."""
    yield f"  Tokens: {usage_words(usage)}"
    yield f"  Cost: {cost_words(cost)}"


def usage_words(usage: Usage) -> str:
    """Return token counts: `1000 in (200 cached), 50 out (20 reasoning); some unknown`."""
    cached = [f"{usage.cached_input_tokens} cached"] if usage.cached_input_tokens else []
    if usage.cache_write_tokens:
        cached.append(f"{usage.cache_write_tokens} written to the cache")
    read = f"{usage.input_tokens} in" + (f" ({', '.join(cached)})" if cached else "")
    thought = f" ({usage.reasoning_tokens} reasoning)" if usage.reasoning_tokens else ""
    untold = "; some unknown" if usage.partial else ""
    return f"{read}, {usage.output_tokens} out{thought}{untold}"


def clock_time(timestamp: int) -> str:
    """Return the time of day (UTC) of a moment in Unix ms."""
    return _utc(timestamp).strftime("%H:%M:%S")


def moment(timestamp: int) -> str:
    """Return the date and time (UTC) of a moment in Unix ms."""
    return _utc(timestamp).strftime("%Y-%m-%d %H:%M:%S UTC")


def _utc(timestamp: int) -> dt.datetime:
    """The moment; one that no calendar has (a damaged record) becomes the epoch."""
    try:
        return dt.datetime.fromtimestamp(timestamp / 1000, tz=dt.UTC)
    except (OverflowError, ValueError, OSError):
        return dt.datetime.fromtimestamp(0, tz=dt.UTC)
