"""Jobs as a table for a reader, or as JSON."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Protocol

from pydantic import JsonValue

from perstack.domain.jobs import Job
from perstack.domain.usage import NO_USAGE, Usage
from perstack.projection.inert import inert
from perstack.projection.log_header import JobState, moment
from perstack.projection.money import cost_words
from perstack.projection.perstack_parts import plain, to_line

NO_JOBS = "No jobs."
_HEAD = ("JOB", "STATUS", "EXPERT", "STARTED", "STEPS", "TOKENS", "COST", "LAST ACTIVITY")


class Listed(Protocol):
    """A job and how it stands; `driven_at` is Unix ms."""

    @property
    def job(self) -> Job:
        """The job."""
        ...

    @property
    def state(self) -> JobState:
        """How it stands."""
        ...

    @property
    def driven_at(self) -> int:
        """When a process last drove it."""
        ...


def job_rows(jobs: Sequence[Listed]) -> Iterator[str]:
    """Return a heading and a line a job, in columns."""
    rows = [_HEAD, *(_row(one) for one in jobs)]
    widths = [max(len(cell) for cell in column) for column in zip(*rows, strict=True)]
    for row in rows:
        yield "  ".join(map(str.ljust, row, widths)).rstrip()


def jobs_line(jobs: Sequence[Listed]) -> str:
    """Return one line of JSON: `{"jobs": [...]}`, each with `state` and `lastActivityAt`."""
    listed: list[JsonValue] = [
        {**plain(one.job), "state": one.state, "lastActivityAt": one.driven_at} for one in jobs
    ]
    return to_line({"jobs": listed})


def _row(one: Listed) -> tuple[str, ...]:
    job = one.job
    cells = (
        job.id,
        one.state,
        job.coordinator_expert_key,
        moment(job.started_at),
        str(job.total_steps),
        _tokens(job.usage),
        cost_words(job.cost) if job.usage != NO_USAGE else "-",
        moment(one.driven_at),
    )
    return tuple(inert(cell, newlines=False) for cell in cells)


def _tokens(usage: Usage) -> str:
    if not usage.partial:
        return str(usage.total_tokens)
    return f"≥ {usage.total_tokens}" if usage.total_tokens else "unknown"
