"""Parts of long lists: of jobs, of a run's events, of a job's checkpoints."""

from __future__ import annotations

import json
from collections.abc import Set
from contextlib import aclosing

from pydantic import JsonValue

from perstack.domain.ids import CheckpointId, JobId, RunId
from perstack.domain.job_lines import CheckpointLine, JobLine, RunEvents, job_line
from perstack.errors import NotFoundError
from perstack.ports.history import History, JobLook, StoredRecord
from perstack.projection.event_facts import made_checkpoint
from perstack.projection.log_filter import LogFilter
from perstack.projection.log_scan import LogRequest, LogScan
from perstack.projection.replay import MAKES_CHECKPOINT
from perstack.services.looking import JobRuns, JobSeen, see_jobs, see_readable


async def page_of_jobs(
    history: History, *, limit: int, offset: int, states: Set[str]
) -> tuple[list[JobLine], int]:
    """Return a part of the jobs in one of `states` (any when empty), and how many there are.

    Last driven first. Without states only the records of jobs on the page are read.
    """
    if states:
        found = await see_jobs(history, limit=0, states=states)
        return [_line(seen) for seen in found[offset : offset + limit]], len(found)
    looks: list[JobLook] = []
    total = 0
    async with aclosing(history.look_at_jobs()) as batches:
        async for some in batches:
            for look in some:
                if offset <= total < offset + limit:
                    looks.append(look)
                total += 1
    return [_line(await see_readable(history, look)) for look in looks], total


async def page_of_events(
    history: History, job_id: JobId, run_id: RunId, *, after: int, limit: int
) -> RunEvents:
    """Return at most `limit` of a run's events whose `seq` is above `after` (-1: from the first).

    Raises:
        NotFoundError: no such job or run.
        CorruptRecordError: a record is damaged.
    """
    runs = JobRuns(await history.list_runs(job_id))
    if runs.setting(run_id) is None:
        raise NotFoundError("Run not found", hint=f"GET /api/v1/jobs/{job_id}/runs lists them")
    lines: list[str] = []
    want = LogRequest(
        only=LogFilter(),
        take=limit,
        offset=after + 1,
        as_json=True,
        runs={run_id},
        points=runs.points,
    )
    scan, last = LogScan(want, lines.append), None
    async with aclosing(history.read_records(job_id, runs.leading_to(run_id))) as batches:
        async for batch in batches:
            for record in batch.records:
                if scan.shown == limit:
                    return _events(lines, last, more=True)
                scan.take(record)
                last = record.seq
    return _events(lines, last, more=False)


async def page_of_checkpoints(
    history: History, job_id: JobId, *, limit: int, offset: int
) -> tuple[list[CheckpointLine], int]:
    """Return a part of a job's checkpoints, in the order in which they were made, and their count.

    Raises:
        NotFoundError: no such job.
        CorruptRecordError: a record is damaged.
    """
    made: dict[CheckpointId, StoredRecord] = {}
    run_ids = [setting.run_id for setting in await history.list_runs(job_id)]
    async with aclosing(history.read_records(job_id, run_ids)) as batches:
        async for batch in batches:
            for record in batch.records:
                if record.type not in MAKES_CHECKPOINT:
                    continue
                found = made_checkpoint(record.event())
                if found is not None:
                    # A suspended run names its last one again.
                    made.setdefault(found, record)
    some = list(made.items())[offset : offset + limit]
    return [_checkpoint(found, record) for found, record in some], len(made)


def _line(seen: JobSeen) -> JobLine:
    return job_line(seen.job, seen.state, driven_at=seen.driven_at)


def _events(lines: list[str], last: int | None, *, more: bool) -> RunEvents:
    shown: list[dict[str, JsonValue]] = [json.loads(line) for line in lines]
    return RunEvents(events=tuple(shown), last_seq=last if shown else None, more=more)


def _checkpoint(checkpoint_id: CheckpointId, record: StoredRecord) -> CheckpointLine:
    return CheckpointLine(
        checkpoint_id=checkpoint_id,
        run_id=record.run_id,
        expert=record.expert_key,
        step_number=record.step_number,
        made_by=record.type,
        created_at=record.timestamp,
    )
