"""A workspace view with its runs and jobs found by id."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from perstack.domain.ids import ExpertKey, JobId, RunId
from perstack.projection.views import JobView, RunView, WorkspaceView
from perstack_tui.state.wording import ENDED, LIVE, LOOKS

if TYPE_CHECKING:
    from perstack.domain.usage import Cost


@dataclass(frozen=True, slots=True)
class Index:
    """Lookups over one `WorkspaceView`."""

    view: WorkspaceView = field(default_factory=WorkspaceView)
    jobs: dict[JobId, JobView] = field(default_factory=dict[JobId, JobView])
    runs: dict[RunId, RunView] = field(default_factory=dict[RunId, RunView])

    def run(self, run_id: RunId | None) -> RunView | None:
        """Return the run, None when the view has none of that id."""
        return None if run_id is None else self.runs.get(run_id)

    def job_of(self, run_id: RunId | None) -> JobView | None:
        """Return the run's job."""
        run = self.run(run_id)
        return None if run is None else self.jobs.get(run.job_id)

    def path_to(self, run: RunView) -> tuple[RunView, ...]:
        """Return the runs from the coordinator down to `run`."""
        path, seen = [run], {run.run_id}
        while (parent := self.run(path[0].parent_run_id)) is not None and parent.run_id not in seen:
            seen.add(parent.run_id)
            path.insert(0, parent)
        return tuple(path)


def index_of(view: WorkspaceView) -> Index:
    """Return the lookups of `view`."""
    runs = {run.run_id: run for job in view.jobs for run in job.runs}
    return Index(view, {job.job_id: job for job in view.jobs}, runs)


def subtree_cost(index: Index, run: RunView) -> Cost:
    """Return what the run and all that it delegated cost together."""
    cost, seen, waiting = run.cost, {run.run_id}, list(run.children)
    while waiting:
        below = index.run(waiting.pop())
        if below is not None and below.run_id not in seen:
            seen.add(below.run_id)
            cost = cost.joined(below.cost)
            waiting.extend(below.children)
    return cost


def is_at_work(run: RunView) -> bool:
    """Say whether the run can still be told something; a paused one can."""
    return run.state in ("run", "waits", "gate", "stall") or run.paused is not None


def is_live(run: RunView) -> bool:
    """Say whether time matters for the run."""
    return run.state in LIVE


def unmended(job: JobView) -> Iterable[RunView]:
    """Yield the runs that failed or ended at a limit and were not done again.

    What takes the place of a delegate is a later run of the same query for the same parent; of a
    coordinator, the one that the job goes on with.
    """
    ended = [run for run in job.runs if run.state in ("fail", "lost", "limit")]
    if not ended:
        return
    newest: dict[tuple[RunId | None, ExpertKey, str], int] = {}
    for run in job.runs:
        place = (run.parent_run_id, run.expert_key, run.query)
        newest[place] = max(newest.get(place, 0), run.started_at)
    for run in ended:
        last = newest[run.parent_run_id, run.expert_key, run.query]
        again = last > run.started_at and last >= (run.finished_at or run.last_event_at)
        if not again if run.parent_run_id else run.run_id == job.coordinator_run_id:
            yield run


def counts_of(index: Index) -> dict[str, int]:
    """Count runs: at work, stalled, failed, at a limit. What was done again counts as that."""
    found = {"run": 0, "stall": 0, "fail": 0, "limit": 0}
    for at, job in enumerate(index.view.jobs):
        for run in job.runs:
            if (role := LOOKS[run.state].role) in ("run", "stall"):
                found[role] += 1
        for run in unmended(job) if job.alive or not at else ():
            found["limit" if run.state == "limit" else "fail"] += 1
    return found


def has_ended(job: JobView) -> bool:
    """Say whether nothing more happens in the job unless somebody goes on with it."""
    return job.state in ENDED


def family(job: JobView) -> Iterable[tuple[RunView, tuple[bool, ...]]]:
    """Yield the job's runs, parents before children.

    The flags say for each level below the root whether the branch is the last of its siblings;
    a root has none.
    """
    by_id = {run.run_id: run for run in job.runs}
    nested = {child for run in job.runs for child in run.children}
    roots = [run for run in job.runs if run.run_id not in nested and run.parent_run_id not in by_id]
    seen: set[RunId] = set()
    for root in roots:
        yield from _descend(root, (), by_id, seen)


def _descend(
    run: RunView, flags: tuple[bool, ...], by_id: dict[RunId, RunView], seen: set[RunId]
) -> Iterable[tuple[RunView, tuple[bool, ...]]]:
    if run.run_id in seen:
        return
    seen.add(run.run_id)
    yield run, flags
    children = [by_id[child] for child in _children(run, by_id)]
    for child in children:
        yield from _descend(child, (*flags, child is children[-1]), by_id, seen)


def _children(run: RunView, by_id: dict[RunId, RunView]) -> list[RunId]:
    named = [child for child in run.children if child in by_id]
    others = [
        other.run_id
        for other in by_id.values()
        if other.parent_run_id == run.run_id and other.run_id not in named
    ]
    return named + others
