"""`perstack log` on one long run, and `perstack jobs` on many."""

from __future__ import annotations

import sys
import tempfile
from itertools import islice
from pathlib import Path
from typing import Final

import anyio

from bench.measure import ROOT, Took, alternately, heading, process, program, row
from bench.writer import bodies
from perstack.domain.events import ContinueToNextStep
from perstack.domain.ids import ExpertKey, JobId, RunId
from perstack.domain.jobs import Job, RunSetting
from perstack.domain.settings import Settings
from perstack.ports.system import SystemClock
from perstack.runtime import open_history
from perstack.storage.history.records import JobRecord, dump_job

EVENTS: Final = 100_000
JOBS: Final = 10_000
_EXPERT: Final = ExpertKey("reader")
_RUN: Final = RunId("run")
_PAGES: Final = (
    ("--take 100", "2"),
    ("--offset 99900", "2"),
    ("--step 5000", "2"),
    ("--summary", "2"),
    ("--json --take 10", "2"),
    ("--json --offset 99900", ""),
    ("--take 0", ""),
)


def log(rounds: int) -> None:
    """Pages of a run of 100,000 events, against reading and parsing its file."""
    heading(f"perstack log, one run of {EVENTS} events (whole process)")
    with tempfile.TemporaryDirectory(prefix="perstack-bench-") as name:
        folder = Path(name)
        anyio.run(_long_job, folder)
        (file,) = folder.glob("perstack/jobs/*/runs/*/events.jsonl")
        floor = [sys.executable, "-m", "bench.floors", "parse", str(file)]
        for options, aim in _PAGES:
            ours, least = alternately(
                rounds,
                lambda options=options: _ours(folder, "log", *options.split()),
                lambda: process(floor, cwd=ROOT),
            )
            row(options, ours.wall_s, least.wall_s, "s", aim)
            row(f"{options}, peak", ours.peak_mb, least.peak_mb, "MB", "")


def jobs(rounds: int) -> None:
    """The newest of 10,000 jobs, against looking at each job's folder once."""
    heading(f"perstack jobs, {JOBS} of them (whole process)")
    with tempfile.TemporaryDirectory(prefix="perstack-bench-") as name:
        folder = Path(name)
        _many_jobs(folder)
        floor = [sys.executable, "-m", "bench.floors", "list", str(folder / "perstack" / "jobs")]
        for options in ("", "--limit 0"):
            ours, least = alternately(
                rounds,
                lambda options=options: _ours(folder, "jobs", *options.split()),
                lambda: process(floor, cwd=ROOT),
            )
            row(f"jobs {options}".rstrip(), ours.wall_s, least.wall_s, "s", "")


def _ours(folder: Path, *words: str) -> Took:
    return process(program(*words), cwd=folder)


async def _long_job(folder: Path) -> None:
    history, step = open_history(folder), 1
    async with history.create_job(_job("long")) as held:
        log = await held.create_run(_setting("long"))
        for body in islice(bodies(0), EVENTS):
            log.append(body, step_number=step)
            step += isinstance(body, ContinueToNextStep)
        await log.sync()
        log.close()


def _many_jobs(folder: Path) -> None:
    """One job, and copies of its record under other names: the records are what is read."""
    for number in range(JOBS):
        name = f"job{number:05}"
        home = folder / "perstack" / "jobs" / name
        home.mkdir(parents=True)
        (home / "lock").touch()
        (home / "job.json").write_bytes(dump_job(JobRecord(_job(name), {})))


def _job(name: str) -> Job:
    now_ms = SystemClock().now_ms()
    return Job(
        id=JobId(name),
        status="completed",
        coordinator_expert_key=_EXPERT,
        coordinator_run_id=_RUN,
        max_steps=EVENTS,
        started_at=now_ms,
        finished_at=now_ms,
    )


def _setting(name: str) -> RunSetting:
    return RunSetting(
        job_id=JobId(name),
        run_id=_RUN,
        expert_key=_EXPERT,
        settings=Settings(),
        query="Read it.",
        started_at=SystemClock().now_ms(),
    )
