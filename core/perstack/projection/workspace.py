"""All jobs of a workspace as the cockpit shows them, folded along from what the history feeds.

Cost follows what changed: a run that nothing happened to keeps its view, and so does its job.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from perstack.domain.consensus import ConsensusCheckpoint
from perstack.domain.events import Delta, Event, StartRun
from perstack.domain.ids import JobId, RunId
from perstack.domain.jobs import Job
from perstack.domain.settings import RiskLevel
from perstack.domain.usage import Cost, Usage
from perstack.ports.history import FeedBatch, Presence
from perstack.projection.holdings import Holdings
from perstack.projection.live_text import SILENT, LiveText
from perstack.projection.run_fold import RunFold
from perstack.projection.screen_state import job_state, run_states
from perstack.projection.views import InboxView, JobView, QuestionView, RunView, WorkspaceView

__all__ = ["LiveText", "WorkspaceFold"]

STALL_AFTER_MS: Final = 120_000
_URGENCY: Final[dict[RiskLevel, int]] = {"high": 0, "medium": 1, "low": 2}


class _JobFold:
    """A job's runs in order of start, and what is known of who drives it."""

    def __init__(self, job_id: JobId) -> None:
        self.job_id = job_id
        self.presence: Presence | None = None
        self.runs: dict[RunId, RunFold] = {}
        self.view: JobView | None = None

    @property
    def alive(self) -> bool:
        """Whether a process drives it; while nobody has said, it counts as driven."""
        return self.presence is None or self.presence.alive

    def add(self, run: RunFold) -> None:
        """Add a run; those already there began before or are sorted in again."""
        self.runs[run.run_id] = run
        ordered = sorted(self.runs.values(), key=lambda one: (one.started_at, one.run_id))
        self.runs = {one.run_id: one for one in ordered}


class WorkspaceFold:
    """Takes what the history feeds; `view` returns what is to be shown.

    A run that is being driven but was not heard of for `stall_after_ms` counts as stalled. Events
    that were seen before, and those of runs never heard of, do no harm.
    """

    def __init__(self, *, stall_after_ms: int = STALL_AFTER_MS) -> None:
        self._stall_after_ms = stall_after_ms
        self._now_ms = 0
        self._jobs: dict[JobId, _JobFold] = {}
        self._runs: dict[RunId, RunFold] = {}
        self._holdings = Holdings(self._runs)
        self._damage: dict[RunId, str] = {}
        self._spoke: set[RunId] = set()
        self._silent_ms: dict[RunId, int] = {}
        self._questions: dict[RunId, QuestionView] = {}
        self._checkpoints: tuple[ConsensusCheckpoint, ...] = ()
        self._inbox_changed = False
        self._caught_up = False
        self._dirty_jobs: set[JobId] = set()
        self._dirty_runs: set[RunId] = set()
        self._view = WorkspaceView()

    # ---------------------------------------------------------------- taking in

    def apply(self, batch: FeedBatch) -> None:
        """Take in what happened."""
        for presence in batch.presences:
            self._apply_presence(presence)
        # What was being said is told by an event at its end, so it comes before the events; only
        # a run that begins in this very batch has to be met first.
        early = [self._speak(delta) for delta in batch.deltas]
        for event in batch.events:
            self._apply_event(event)
        for run in self._holdings.trim():
            self._dirty_jobs.add(run.job_id)
        for delta, heard in zip(batch.deltas, early, strict=True):
            if not heard:
                self._speak(delta)
        for run_id, damage in batch.damaged:
            self._damage[run_id] = damage
            if run := self._runs.get(run_id):
                self._dirty_jobs.add(run.job_id)
        self._caught_up = self._caught_up or batch.caught_up

    def _speak(self, delta: Delta) -> bool:
        run = self._runs.get(delta.run_id)
        if run is None:
            return False
        run.speak(delta)
        self._spoke.add(run.run_id)
        self._dirty_runs.add(run.run_id)
        if run.changed:
            self._dirty_jobs.add(run.job_id)
        return True

    def apply_inbox(self, checkpoints: Sequence[ConsensusCheckpoint]) -> None:
        """Take in all pending consensus checkpoints and the latest decided ones."""
        found = tuple(checkpoints)
        if found != self._checkpoints:
            self._checkpoints = found
            self._inbox_changed = True

    def tick(self, now_ms: int) -> None:
        """Take in that it is `now_ms` (Unix ms): runs may have stalled since."""
        self._now_ms = now_ms
        for run_id in self._spoke:
            self._runs[run_id].heard_at = max(self._runs[run_id].heard_at, now_ms)
        self._spoke.clear()
        for run_id, silent_ms in self._silent_ms.items():
            if _shown_silence(self._quiet_ms(self._runs[run_id])) != _shown_silence(silent_ms):
                self._dirty_jobs.add(self._runs[run_id].job_id)

    def _apply_presence(self, presence: Presence) -> None:
        job = self._job(presence.job.id)
        known = job.presence
        if known is None or _essence(known) != _essence(presence):
            self._dirty_jobs.add(job.job_id)
        job.presence = presence

    def _apply_event(self, event: Event) -> None:
        run = self._runs.get(event.run_id)
        if run is None:
            run = RunFold(event.run_id, event.job_id, event.expert_key)
            run.started_at = event.timestamp
            self._runs[event.run_id] = run
            self._job(event.job_id).add(run)
        body = event.body
        fork = body.parent if isinstance(body, StartRun) else None
        run.apply(event, self._runs.get(fork.run_id) if fork else None)
        self._holdings.count(run)
        self._dirty_jobs.add(run.job_id)
        self._dirty_runs.add(run.run_id)

    def _job(self, job_id: JobId) -> _JobFold:
        return self._jobs.setdefault(job_id, _JobFold(job_id))

    # ---------------------------------------------------------------- showing

    def dirty(self) -> frozenset[RunId]:
        """Return the runs that something happened to, or that spoke, since the last `view`."""
        return frozenset(self._dirty_runs)

    def live(self, run_id: RunId) -> LiveText:
        """Return what the run's model is saying; nothing for a run never heard of."""
        run = self._runs.get(run_id)
        return run.speech.live if run is not None else SILENT

    def view(self) -> WorkspaceView:
        """Return the view; it, and each part of it, is the same object while nothing changed."""
        self._dirty_runs.clear()
        for job_id in self._dirty_jobs:
            self._build_job(self._jobs[job_id])
        jobs = self._view.jobs
        if self._dirty_jobs:
            ordered = sorted(self._job_views(), key=lambda job: (-job.started_at, job.job_id))
            jobs = jobs if _same(jobs, ordered) else tuple(ordered)
        inbox = self._inbox() if self._inbox_changed else self._view.inbox
        self._dirty_jobs.clear()
        self._inbox_changed = False
        old = self._view
        if jobs is not old.jobs or inbox is not old.inbox or self._caught_up != old.caught_up:
            self._view = WorkspaceView(jobs=jobs, inbox=inbox, caught_up=self._caught_up)
        return self._view

    def _job_views(self) -> Iterable[JobView]:
        return [job.view for job in self._jobs.values() if job.view is not None]

    def _build_job(self, job: _JobFold) -> None:
        quiet = {run.run_id: self._quiet_ms(run) for run in job.runs.values()}
        states = run_states(job.runs, quiet, alive=job.alive)
        runs = tuple(run.build(states[run.run_id], quiet[run.run_id]) for run in job.runs.values())
        for run in runs:
            self._watch(run, quiet[run.run_id])
            self._track_question(run)
        view = self._job_view(job, runs)
        job.view = job.view if view == job.view else view

    def _watch(self, run: RunView, quiet_ms: int) -> None:
        """Remember the runs that time alone can change: those that should be heard of."""
        if run.state in ("run", "stall"):
            self._silent_ms[run.run_id] = quiet_ms
        else:
            self._silent_ms.pop(run.run_id, None)

    def _track_question(self, run: RunView) -> None:
        if self._questions.get(run.run_id) == run.question:
            return
        self._inbox_changed = True
        if run.question is None:
            del self._questions[run.run_id]
        else:
            self._questions[run.run_id] = run.question

    def _quiet_ms(self, run: RunFold) -> int:
        """How long the run was silent, 0 while that is less than it takes to count as stalled."""
        silent = self._now_ms - run.heard_at
        return silent if silent >= self._stall_after_ms else 0

    def _job_view(self, job: _JobFold, runs: tuple[RunView, ...]) -> JobView:
        record = job.presence.job if job.presence else None
        coordinator = record.coordinator_run_id if record else _first_run(runs)
        own = next((run for run in runs if run.run_id == coordinator), None)
        return JobView(
            job_id=job.job_id,
            expert_key=record.coordinator_expert_key if record else runs[0].expert_key,
            coordinator_run_id=coordinator,
            state=job_state(own, runs, record, alive=job.alive),
            alive=job.alive and job.presence is not None,
            pid=job.presence.pid if job.presence else None,
            host=job.presence.host if job.presence else None,
            started_at=record.started_at if record else runs[0].started_at,
            finished_at=record.finished_at if record else None,
            total_steps=max([record.total_steps if record else 0, *(r.step_number for r in runs)]),
            max_steps=record.max_steps if record else _max_steps(job),
            usage=_sum_usage(runs, record),
            cost=_sum_cost(runs, record),
            runs=runs,
            damage=tuple(
                f"{run.run_id}: {self._damage[run.run_id]}"
                for run in runs
                if run.run_id in self._damage
            ),
        )

    def _inbox(self) -> InboxView:
        pending = [one for one in self._checkpoints if one.status == "pending"]
        pending.sort(key=lambda one: (_URGENCY[one.risk_level], one.expires_at or one.created_at))
        decided = [one for one in self._checkpoints if one.status != "pending"]
        decided.sort(key=lambda one: -(one.decided_at or one.expires_at or one.created_at))
        questions = sorted(self._questions.values(), key=lambda question: question.asked_at)
        return InboxView(pending=tuple(pending), questions=tuple(questions), decided=tuple(decided))


def _essence(presence: Presence) -> tuple[Job, bool, int | None, str | None]:
    """A presence without its heartbeat, which changes all the time and is not shown."""
    return presence.job, presence.alive, presence.pid, presence.host


def _shown_silence(quiet_ms: int) -> tuple[bool, int]:
    return quiet_ms > 0, quiet_ms // 60_000


def _same(old: Sequence[JobView], new: Sequence[JobView]) -> bool:
    return len(old) == len(new) and all(a is b for a, b in zip(old, new, strict=True))


def _first_run(runs: Sequence[RunView]) -> RunId:
    """The run that nobody delegated, while the job's own record is not known."""
    return next((run.run_id for run in runs if run.parent_run_id is None), runs[0].run_id)


def _max_steps(job: _JobFold) -> int:
    return max((run.max_steps for run in job.runs.values()), default=0)


def _sum_usage(runs: Sequence[RunView], record: Job | None) -> Usage:
    """The runs' own usages together; the record's while no run is known."""
    if not runs and record is not None:
        return record.usage
    return Usage(
        input_tokens=sum(run.usage.input_tokens for run in runs),
        output_tokens=sum(run.usage.output_tokens for run in runs),
        reasoning_tokens=sum(run.usage.reasoning_tokens for run in runs),
        total_tokens=sum(run.usage.total_tokens for run in runs),
        cached_input_tokens=sum(run.usage.cached_input_tokens for run in runs),
        cache_write_tokens=sum(run.usage.cache_write_tokens for run in runs),
        partial=any(run.usage.partial for run in runs),
    )


def _sum_cost(runs: Sequence[RunView], record: Job | None) -> Cost:
    """What the runs cost together; what the record says while no run is known."""
    if not runs and record is not None:
        return record.cost
    return Cost(
        usd=sum(run.cost.usd for run in runs), partial=any(run.cost.partial for run in runs)
    )
