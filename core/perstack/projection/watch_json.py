"""What the cockpit shows, as lines of JSON: everything first, then whatever changed."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from pydantic import JsonValue

from perstack.domain.usage import Cost
from perstack.ports.history import FeedBatch
from perstack.projection.perstack_parts import plain, to_line
from perstack.projection.views import InboxView, JobView, QuestionView, RunView, WorkspaceView

VERSION: Final = 1


class WatchJson:
    """Turns views into lines. A line's `type` is `snapshot`, `job`, `run` or `inbox`.

    Jobs and runs are told whole, but only when something of them changed; a job's `runs` are ids,
    in order of start. Times are Unix ms.
    """

    def __init__(self) -> None:
        self._shown: WorkspaceView | None = None

    def batch(self, batch: FeedBatch) -> Iterator[str]:
        """Yield nothing: the view has it."""
        return iter(())

    def view(self, view: WorkspaceView, now_ms: int) -> Iterator[str]:
        """Yield all of the first view that is complete, then what is not as it was told last."""
        before = self._shown
        if before is None:
            if view.caught_up:
                self._shown = view
                yield _snapshot(view, now_ms)
            return
        self._shown = view
        for kind, told in _changes(before, view):
            yield to_line({"type": kind, "at": now_ms, kind: told})


def _snapshot(view: WorkspaceView, now_ms: int) -> str:
    jobs: list[JsonValue] = [_job(job) for job in view.jobs]
    runs: list[JsonValue] = [_run(run) for job in view.jobs for run in job.runs]
    return to_line(
        {
            "type": "snapshot",
            "version": VERSION,
            "at": now_ms,
            "jobs": jobs,
            "runs": runs,
            "inbox": _inbox(view.inbox),
        }
    )


def _changes(before: WorkspaceView, view: WorkspaceView) -> Iterator[tuple[str, JsonValue]]:
    known = {job.job_id: job for job in before.jobs}
    for job in reversed(view.jobs):
        old = known.get(job.job_id)
        if old is job:
            continue
        if old is None or _job(old) != _job(job):
            yield "job", _job(job)
        old_runs = {run.run_id: run for run in old.runs} if old is not None else {}
        for run in job.runs:
            was = old_runs.get(run.run_id)
            if was is not run and (was is None or _run(was) != _run(run)):
                yield "run", _run(run)
    if before.inbox is not view.inbox:
        yield "inbox", _inbox(view.inbox)


def _job(job: JobView) -> dict[str, JsonValue]:
    return {
        "jobId": job.job_id,
        "expertKey": job.expert_key,
        "coordinatorRunId": job.coordinator_run_id,
        "state": job.state,
        "alive": job.alive,
        "pid": job.pid,
        "host": job.host,
        "startedAt": job.started_at,
        "finishedAt": job.finished_at,
        "totalSteps": job.total_steps,
        "maxSteps": job.max_steps,
        "usage": plain(job.usage),
        "cost": _cost(job.cost),
        "runs": [run.run_id for run in job.runs],
        "damage": list(job.damage),
    }


def _run(run: RunView) -> dict[str, JsonValue]:
    last = run.points[-1] if run.points else None
    return {
        "runId": run.run_id,
        "jobId": run.job_id,
        "expertKey": run.expert_key,
        "expertVersion": run.expert_version,
        "parentRunId": run.parent_run_id,
        "forkedFrom": run.forked_from,
        "state": run.state,
        "status": run.status,
        "doing": run.doing,
        "stepNumber": run.step_number,
        "steps": run.steps,
        "usage": plain(run.usage),
        "cost": _cost(run.cost),
        "contextWindowUsage": run.context_window_usage,
        "startedAt": run.started_at,
        "finishedAt": run.finished_at,
        "lastEventAt": run.last_event_at,
        "model": run.model,
        "providerName": run.provider_name,
        "query": run.query,
        "error": plain(run.error) if run.error is not None else None,
        "checkpoints": len(run.points),
        "checkpointId": last.checkpoint_id if last is not None else None,
        "consensusId": run.consensus_id,
        "question": _question(run.question) if run.question is not None else None,
    }


def _inbox(inbox: InboxView) -> dict[str, JsonValue]:
    return {
        "pending": [plain(one) for one in inbox.pending],
        "questions": [_question(one) for one in inbox.questions],
        "decided": [plain(one) for one in inbox.decided],
    }


def _question(asked: QuestionView) -> dict[str, JsonValue]:
    return {
        "jobId": asked.job_id,
        "runId": asked.run_id,
        "expertKey": asked.expert_key,
        "toolCallId": asked.tool_call_id,
        "toolName": asked.tool_name,
        "text": asked.text,
        "choices": list(asked.choices),
        "askedAt": asked.asked_at,
        "position": asked.position,
        "of": asked.of,
    }


def _cost(cost: Cost) -> JsonValue:
    return {"usd": cost.usd, "partial": cost.partial}
