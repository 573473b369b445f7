"""`perstack jobs`: how each job stands, whatever became of its process."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import anyio
import pytest

from perstack.domain.events import Event, RequestApproval, ResolveApproval, SuspendRun
from perstack.domain.ids import ConsensusId, JobId, RunId, SubtaskId, ToolCallId
from perstack.domain.jobs import JobStatus
from perstack.errors import CorruptRecordError, UsageError
from perstack.ports.history import JobLook
from perstack.services.looking import see_jobs
from tests.fakes.history import history
from tests.fakes.stored import store, typed
from tests.unit.projection.builder import Run, call, chain, usage


def jobs(workspace: Path, *options: str) -> list[dict[str, Any]]:
    found = typed("jobs", "--json", "--workspace", str(workspace), *options).stdout
    return json.loads(found)["jobs"]


def states(workspace: Path, *options: str) -> dict[str, str]:
    return {job["id"]: job["state"] for job in jobs(workspace, *options)}


def gated(*, decided: bool = False, suspended: bool = False) -> list[Event]:
    run = Run("r-gate", "worker")
    run.init()
    run.start("Deploy")
    run.tools(call("t1", "exec"), gated=True, spent=usage(10, 2))
    asked = ConsensusId("gate1")
    subtasks = {SubtaskId("s1"): ToolCallId("t1")}
    run.add(
        RequestApproval(consensus_id=asked, risk_level="high", reason="exec", subtasks=subtasks)
    )
    if decided:
        run.add(
            ResolveApproval(
                consensus_id=asked, outcome="approved", approved=(ToolCallId("t1"),), rejected=()
            )
        )
    if suspended:
        run.add(SuspendRun(checkpoint_id=run.point("stop"), reason="awaitingApproval"))
    return run.events


@pytest.mark.parametrize(
    ("status", "finished", "state"),
    [
        ("completed", True, "completed"),
        ("stoppedByError", True, "failed"),
        ("stoppedByMaxSteps", True, "limit"),
        ("stoppedByInteractiveTool", True, "asks"),
        ("running", True, "stopped"),
        ("running", False, "lost"),
    ],
)
def test_a_job_that_nobody_drives_says_how_it_ended(
    tmp_path: Path, status: JobStatus, finished: bool, state: str
) -> None:
    store(tmp_path, chain(), status=status, finished=finished)
    assert states(tmp_path) == {"job1": state}
    assert states(tmp_path, "--status", state) == {"job1": state}
    assert states(tmp_path, "--status", "running") == {}


def test_a_job_that_waits_for_a_decision_says_so_until_it_is_made(tmp_path: Path) -> None:
    store(tmp_path, gated(suspended=True), job="waits", status="running")
    store(tmp_path, gated(decided=True), job="decided", status="running")
    assert states(tmp_path) == {"waits": "waiting", "decided": "stopped"}


def test_a_job_that_is_driven_runs_or_waits(tmp_path: Path) -> None:
    store(tmp_path, gated(), job="gate", status="running", finished=False)
    store(tmp_path, chain(), job="runs", status="running", finished=False)

    async def while_driven() -> dict[str, str]:
        kept = history(tmp_path)
        async with kept.drive_job(JobId("gate")), kept.drive_job(JobId("runs")):
            found = await see_jobs(kept, limit=0, states=set())
            return {seen.job.id: seen.state for seen in found}

    assert anyio.run(while_driven) == {"gate": "waiting", "runs": "running"}
    assert states(tmp_path) == {"gate": "lost", "runs": "lost"}


def test_a_killed_jobs_steps_and_tokens_are_counted_from_its_records(tmp_path: Path) -> None:
    store(tmp_path, chain(), status="running", finished=False)
    (job,) = jobs(tmp_path)
    assert job["totalSteps"] == 4
    assert job["usage"]["inputTokens"] == 4140 + 4094 + 4200
    assert job["cost"]["partial"] is True
    text = typed("jobs", "--workspace", str(tmp_path)).stdout
    assert text.splitlines()[1].split()[:3] == ["job1", "lost", "chain"]
    assert "unknown" in text


def test_the_newest_come_first_and_no_more_than_asked_for(tmp_path: Path) -> None:
    for name in ("one", "two", "three"):
        store(tmp_path, chain(), job=name)
    assert list(states(tmp_path)) == ["three", "two", "one"]
    assert list(states(tmp_path, "--limit", "2")) == ["three", "two"]
    assert list(states(tmp_path, "--limit", "0")) == ["three", "two", "one"]


def test_no_jobs_are_said_to_be_none_and_nothing_is_made(tmp_path: Path) -> None:
    assert typed("jobs", "--workspace", str(tmp_path)).stdout == "No jobs.\n"
    assert jobs(tmp_path) == []
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("words", [("--status", "weird"), ("--workspace", "/nowhere/at/all")])
def test_what_cannot_be_listed_is_refused(tmp_path: Path, words: tuple[str, ...]) -> None:
    with pytest.raises(UsageError):
        typed("jobs", "--workspace", str(tmp_path), *words)


def test_an_experts_name_cannot_act_on_the_terminal(tmp_path: Path) -> None:
    store(
        tmp_path, [event.model_copy(update={"expert_key": "x\x1b[2J\u202e"}) for event in chain()]
    )
    for shown in (typed("jobs", "--workspace", str(tmp_path)).stdout, str(jobs(tmp_path))):
        assert "\x1b" not in shown
    assert "\u202e" not in typed("jobs", "--json", "--workspace", str(tmp_path)).stdout


def test_only_as_many_jobs_are_read_as_are_listed(tmp_path: Path) -> None:
    for number in range(70):
        store(tmp_path, chain()[:1], job=f"job{number:03}")
    looked: list[JobLook] = []

    async def first() -> int:
        kept = history(tmp_path)
        async for some in kept.look_at_jobs():
            looked.extend(some)
            break
        return len(await see_jobs(kept, limit=3, states={"completed"}))

    assert anyio.run(first) == 3
    assert len(looked) < 70


def test_a_job_that_cannot_be_read_is_told_of_and_acts_on_no_terminal(tmp_path: Path) -> None:
    workspace = tmp_path / "a\x1b[2Jb"
    workspace.mkdir()
    store(workspace, chain(), job="good")
    store(workspace, chain(), job="torn")
    (workspace / "perstack/jobs/torn/job.json").write_text('{"half')
    listed = typed("jobs", "--workspace", str(workspace))
    assert "good" in listed.stdout
    assert "Warning: job left out: " in listed.stderr
    assert "torn/job.json is damaged" in listed.stderr
    assert "\x1b" not in listed.stderr


@pytest.mark.parametrize("known", [True, False], ids=["saved", "killed before it was saved"])
@pytest.mark.parametrize("gone", ["runs/r-b/run-setting.json", "runs"])
def test_a_run_that_is_gone_is_missed(tmp_path: Path, gone: str, known: bool) -> None:
    store(tmp_path, chain())
    job = tmp_path / "perstack/jobs/job1"
    if known:
        anyio.run(save_again, tmp_path)
    path = job / gone
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    for command in (("log",), ("export", "job1", "-o", "-")):
        if gone == "runs" and not known:
            continue  # nothing is left that could tell
        with pytest.raises(CorruptRecordError, match=r"run-setting\.json is missing"):
            typed(*command, "--workspace", str(tmp_path))
    assert states(tmp_path) == {"job1": "completed"}


async def save_again(workspace: Path) -> None:
    """As a job is saved at its end: its record then knows how long each run's log is."""
    async with history(workspace).drive_job(JobId("job1")) as driven:
        for run_id in ("r-chain", "r-b"):
            _, log = await driven.reopen_run(RunId(run_id))
            await log.sync()
        await driven.save(driven.job)
