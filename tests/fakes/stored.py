"""Hand-made events put into a workspace's history, as runs would have."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import anyio
from typer.testing import CliRunner, Result

from perstack.cli.app import app
from perstack.domain.events import Event, StartRun
from perstack.domain.ids import ExpertKey, JobId, RunId
from perstack.domain.jobs import Job, JobStatus, RunSetting
from perstack.domain.settings import Settings
from perstack.ports.system import RandomIds
from perstack.storage.history.store import FileHistory
from tests.fakes.history import SetClock, history
from tests.unit.projection.builder import START_MS


def store(
    workspace: Path,
    events: list[Event],
    *,
    job: str = "job1",
    status: JobStatus = "completed",
    finished: bool = True,
) -> None:
    """Write a job of these events; each keeps its time."""
    clock = SetClock()
    kept = FileHistory(workspace, clock=clock, ids=RandomIds())
    first = events[0]

    async def record() -> None:
        about = Job(
            id=JobId(job),
            status=status,
            coordinator_expert_key=first.expert_key,
            coordinator_run_id=first.run_id,
            total_steps=max(event.step_number for event in events),
            max_steps=100,
            started_at=START_MS,
            finished_at=START_MS + 1000 if finished else None,
        )
        async with kept.create_job(about) as driven:
            logs = {
                run_id: await driven.create_run(setting(run_id, events, job))
                for run_id in dict.fromkeys(event.run_id for event in events)
            }
            for event in events:
                clock.at = event.timestamp
                logs[event.run_id].append(event.body, step_number=event.step_number)
            for log in logs.values():
                await log.sync()
                log.close()

    anyio.run(record)


def setting(run_id: RunId, events: Iterable[Event], job: str = "job1") -> RunSetting:
    """What a run with these events was started with."""
    own = [event for event in events if event.run_id == run_id]
    begun = next((event.body for event in own if isinstance(event.body, StartRun)), None)
    return RunSetting(
        job_id=JobId(job),
        run_id=run_id,
        expert_key=ExpertKey(own[0].expert_key),
        settings=Settings(),
        parent=begun.parent if begun else None,
        delegated_by=begun.delegated_by if begun else None,
        started_at=own[0].timestamp,
    )


def typed(*words: str, fails: bool = False) -> Result:
    """Run the program in this process; whatever it raises is raised here, too."""
    result = CliRunner().invoke(app, list(words))
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert fails or result.exit_code == 0, result.output
    return result


def read_all(workspace: Path, job: str = "job1") -> list[Event]:
    """All events of a job, by time."""

    async def read() -> list[Event]:
        kept = history(workspace)
        run_ids = [setting.run_id for setting in await kept.list_runs(JobId(job))]
        found: list[Event] = []
        async for batch in kept.read_records(JobId(job), run_ids):
            found += [record.event() for record in batch.records]
        return found

    return anyio.run(read)
