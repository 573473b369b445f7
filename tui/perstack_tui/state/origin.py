"""Where a run is at work: here, in another process of this host, or on another host."""

from __future__ import annotations

from perstack.domain.ids import JobId
from perstack.projection.views import JobView, RunView
from perstack_tui.state.index import Index
from perstack_tui.text import flat


def origin_of(job: JobView, local: frozenset[JobId], host: str) -> str:
    """Return `here`, `:4121`, the name of another host, or `-` for a job that nobody drives."""
    if job.job_id in local:
        return "here"
    if not job.alive or job.pid is None:
        return "-"
    return flat(job.host) if job.host and host and job.host != host else f":{job.pid}"


def processes(index: Index) -> int:
    """Count the processes that drive a job now."""
    return len({(job.host, job.pid) for job in index.view.jobs if job.alive})


def doing_of(run: RunView, job: JobView) -> str:
    """Return what the run does, or why it does nothing; a stalled one tells of its process."""
    if run.paused is not None:
        return f"paused by {'limits' if run.paused.by_limits else run.paused.by}" + (
            f": {run.paused.reason}" if run.paused.reason else ""
        )
    if run.state == "stall" and run.doing.endswith(")"):
        return f"{run.doing[:-1]}, process {'alive' if job.alive else 'gone'})"
    if run.state == "lost":
        return "process gone · i goes on"
    return run.doing or run.state
