"""Looking back at long runs, many jobs, and jobs whose process is gone."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from itertools import islice
from pathlib import Path
from typing import Any, Final

import anyio
import pytest

from bench.writer import bodies
from perstack.domain.events import ContinueToNextStep, Event
from perstack.domain.ids import ExpertKey, JobId, RunId
from perstack.domain.jobs import Job, RunSetting
from perstack.domain.settings import Settings
from perstack.storage.history.codec import encode
from tests.fakes.cli import SCRIPTED, Program
from tests.fakes.history import history

RUN: Final = RunId("r1")
JOB: Final = JobId("long")
# An interpreter with what the command needs holds about 45 MB.
PEAK_MB: Final = 90
A_STEP: Final = 6


def write_long(workspace: Path, count: int) -> None:
    """A job with one run of `count` events."""

    async def begin() -> None:
        kept = history(workspace)
        about = Job(
            id=JOB,
            status="completed",
            coordinator_expert_key=ExpertKey("reader"),
            coordinator_run_id=RUN,
            max_steps=count,
            started_at=1,
            finished_at=2,
        )
        async with kept.create_job(about) as held:
            setting = RunSetting(
                job_id=JOB,
                run_id=RUN,
                expert_key=ExpertKey("reader"),
                settings=Settings(),
                started_at=1,
            )
            (await held.create_run(setting)).close()

    anyio.run(begin)
    step = 1
    with (workspace / "perstack/jobs/long/runs/r1/events.jsonl").open("wb") as file:
        for seq, body in enumerate(islice(bodies(0), count)):
            event = Event(
                seq=seq,
                timestamp=1_790_000_000_000 + seq,
                job_id=JOB,
                run_id=RUN,
                expert_key=ExpertKey("reader"),
                step_number=step,
                body=body,
            )
            file.write(encode(event)[1])
            step += isinstance(body, ContinueToNextStep)


# What the kernel tells of a child's peak counts what it was forked from, so it says it itself.
MEASURED: Final = """
import sys
from perstack.cli.main import main
try:
    main()
except SystemExit as ended:
    assert not ended.code, ended.code
(peak,) = [line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM")]
print(peak, file=sys.stderr)
"""


def log(workspace: Path, *options: str) -> tuple[str, float]:
    """What is printed, and the peak of the process's memory in MB."""
    return measured(workspace, "log", *options)


def measured(workspace: Path, *words: str) -> tuple[str, float]:
    """What the command prints, and the peak of its process's memory in MB."""
    ran = subprocess.run(
        [sys.executable, "-c", MEASURED, *words],
        cwd=workspace,
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    return ran.stdout, int(ran.stderr.split()[-1]) / 1024


@pytest.fixture(
    scope="module", params=[6_000, pytest.param(100_000, marks=pytest.mark.long)], ids=str
)
def long(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, int]:
    workspace = tmp_path_factory.mktemp("long")
    count: int = request.param
    write_long(workspace, count)
    return workspace, count


@pytest.mark.long
@pytest.mark.timeout(180)
def test_any_page_of_a_long_run_is_shown_in_little_memory(long: tuple[Path, int]) -> None:
    workspace, count = long
    last = count // A_STEP
    pages: dict[tuple[str, ...], str] = {
        ("--take", "100"): f"100 of {count} events shown",
        ("--offset", str(count - 100)): f"100 of {count} events shown",
        ("--step", str(last // 2)): f"[Step {last // 2}] continueToNextStep",
        ("--summary",): f"Summary: {count} events, 0 errors",
        ("--take", "0"): f"[Step {last}] callTools",
        ("--filter", f".stepNumber == {last}"): f"readTextFile f{last}.txt",
        ("--filter", f'.toolCalls[].args.path == "f{last}.txt"'): f"readTextFile f{last}.txt",
        ("--type", "callTools", "--context", "1", "--offset", "500"): "startGeneration",
    }
    for options, wanted in pages.items():
        shown, peak_mb = log(workspace, *options)
        assert wanted in shown, options
        assert peak_mb < PEAK_MB, (options, peak_mb)


@pytest.mark.timeout(180)
def test_json_of_a_late_page_has_what_the_whole_run_adds_up_to(long: tuple[Path, int]) -> None:
    workspace, count = long
    for options in (("--take", "10"), ("--offset", str(count - 10))):
        shown, peak_mb = log(workspace, "--json", *options)
        page: dict[str, Any] = json.loads(shown)
        assert len(page["events"]) == 10
        assert peak_mb < PEAK_MB, (options, peak_mb)
    done = [event for event in page["events"] if event["type"] == "continueToNextStep"][-1]
    assert done["checkpoint"]["usage"]["inputTokens"] == 1000 * done["stepNumber"]


@pytest.mark.timeout(180)
def test_a_transcript_of_a_long_run_is_written_in_little_memory(long: tuple[Path, int]) -> None:
    workspace, count = long
    transcript, peak_mb = measured(workspace, "export", "long", "--format", "md", "-o", "-")
    assert transcript.startswith("# Job long\n")
    assert transcript.count("**Step ") == (count + A_STEP - 3) // A_STEP
    assert peak_mb < PEAK_MB


def test_whole_checkpoints_are_exported_in_less_memory_than_they_take(tmp_path: Path) -> None:
    write_long(tmp_path, 3_000)
    _, peak_mb = measured(tmp_path, "export", "long")
    file = tmp_path / "long.json"
    assert file.stat().st_size > PEAK_MB * 1024 * 1024
    assert peak_mb < PEAK_MB
    assert file.read_bytes().endswith(b"\n]}\n]}\n")


@pytest.mark.anyio
async def test_a_killed_job_is_lost_in_every_listing(tmp_path: Path) -> None:
    toml = SCRIPTED + '[experts."lead"]\ninstruction = "x"\n'
    sleep = '{ tool = "exec", args = { command = "sleep", args = ["600"], cwd = "." } }'
    scenario = f'[[turns]]\nexpert = "lead"\nturn = 1\ncalls = [{sleep}]\n'
    program = Program.make(tmp_path, toml, scenario=scenario)
    async with program.running("run", "lead", "go") as running:
        await running.until("callTools")
        assert "  Status: running\n" in (await program.run("log")).stdout
        (job,) = json.loads((await program.run("jobs", "--json")).stdout)["jobs"]
        assert (job["state"], job["totalSteps"]) == ("running", 1)
        running.send(signal.SIGKILL)
        await running.ended()
    assert "  Status: lost" in (await program.run("log")).stdout
    assert json.loads((await program.run("log", "--json")).stdout)["job"]["state"] == "lost"
    assert " lost " in (await program.run("jobs", "--status", "lost")).stdout
    assert (await program.run("jobs", "--status", "running")).stdout == "No jobs.\n"
    assert (
        "- Status: lost"
        in (await program.run("export", job["id"], "--format", "md", "-o", "-")).stdout
    )
