from __future__ import annotations

import json
from pathlib import Path

import anyio
import pytest
import typer
from typer.testing import CliRunner, Result

from perstack.cli.log import register
from perstack.domain.events import Event
from perstack.domain.ids import ExpertKey, JobId, RunId
from perstack.domain.jobs import Job, RunSetting
from perstack.domain.settings import Settings
from perstack.errors import UsageError
from perstack.projection.event_facts import made_checkpoint
from perstack.runtime import open_history
from tests.unit.projection.builder import START_MS, Clock, Run, call, chain, in_order


def write(workspace: Path, events: list[Event], *, job: str = "job1") -> None:
    """Put events into a workspace's history, as a run would have."""

    async def record() -> None:
        history = open_history(workspace)
        first = events[0]
        about = Job(
            id=JobId(job),
            status="completed",
            coordinator_expert_key=first.expert_key,
            coordinator_run_id=first.run_id,
            total_steps=4,
            max_steps=100,
            started_at=START_MS,
            finished_at=START_MS + 1000,
        )
        async with history.create_job(about) as driven:
            for run_id in dict.fromkeys(event.run_id for event in events):
                own = [event for event in events if event.run_id == run_id]
                log = await driven.create_run(setting(run_id, own[0].expert_key, job))
                for event in own:
                    log.append(event.body, step_number=event.step_number)
                await log.sync()
                log.close()

    anyio.run(record)


def setting(run_id: RunId, expert_key: ExpertKey, job: str) -> RunSetting:
    return RunSetting(
        job_id=JobId(job),
        run_id=run_id,
        expert_key=expert_key,
        settings=Settings(),
        started_at=START_MS,
    )


def invoke(workspace: Path, *args: str) -> Result:
    app = typer.Typer()
    register(app)
    app.command(name="other")(lambda: None)
    result = CliRunner().invoke(app, ["log", "--workspace", str(workspace), *args])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == 0, result.output
    return result


def log(workspace: Path, *args: str) -> str:
    return invoke(workspace, *args).stdout


def test_help_says_what_it_is_for(tmp_path: Path) -> None:
    text = log(tmp_path, "--help")
    assert "View execution history" in text
    for option in ("--job", "--run", "--checkpoint", "--errors", "--tools", "--json"):
        assert option in text


@pytest.mark.parametrize("args", [[], ["--json"], ["--job", "nope"], ["--run", "r"], ["--summary"]])
def test_nothing_there_is_no_error(tmp_path: Path, args: list[str]) -> None:
    assert log(tmp_path, *args) == "No data found\n"
    assert list(tmp_path.iterdir()) == []


def test_latest_job_is_shown_and_said_to_be(tmp_path: Path) -> None:
    write(tmp_path, chain())
    shown = log(tmp_path).splitlines()
    assert shown[:4] == [
        f"Storage: {tmp_path / 'perstack'}",
        "Job: job1 (showing latest job)",
        "  Status: completed",
        "  Expert: chain",
    ]
    assert any(line.startswith("[Step 1] startRun  ") for line in shown)
    assert "    Query: Do the job" in shown
    assert "    Delegate to: worker-b Say hello" in shown
    assert "    ✓ worker-b: Hello!" in shown
    assert "    Result: All done." in shown


def test_named_job_is_shown_without_the_note(tmp_path: Path) -> None:
    write(tmp_path, chain())
    other = Run("other", "x", Clock(), job=JobId("job2"))
    other.start("Else")
    other.complete("Done")
    write(tmp_path, other.events, job="job2")
    assert "Job: job2 (showing latest job)" in log(tmp_path)
    named = log(tmp_path, "--job", "job1")
    assert "Job: job1\n" in named
    assert "Job: job1\n" in log(tmp_path, "--run", "r-b")
    assert "worker-b" in log(tmp_path, "--run", "r-b")
    assert "callDelegate" not in log(tmp_path, "--run", "r-b")


def types(shown: str) -> list[str]:
    return [event["type"] for event in json.loads(shown)["events"]]


def test_filters_choose_events(tmp_path: Path) -> None:
    write(tmp_path, chain())
    assert types(log(tmp_path, "--json", "--delegations")) == ["callDelegate", "stopRunByDelegate"]
    assert types(log(tmp_path, "--json", "--tools")) == ["callTools"]
    assert types(log(tmp_path, "--json", "--type", "completeRun")) == ["completeRun"] * 2
    assert log(tmp_path, "--errors") == "No data found\n"
    assert log(tmp_path, "--errors", "--json") == "No data found\n"
    steps = json.loads(log(tmp_path, "--json", "--step", ">3"))
    assert {event["stepNumber"] for event in steps["events"] if "stepNumber" in event} == {4}
    assert steps["summary"]["stepRange"] == {"min": 4, "max": 4}
    found = json.loads(log(tmp_path, "--json", "--filter", '.text == "Hello!"'))
    assert [event["expertKey"] for event in found["events"]] == ["worker-b"]


def test_paging_says_what_is_missing(tmp_path: Path) -> None:
    write(tmp_path, chain())
    everything = types(log(tmp_path, "--json", "--take", "0"))
    assert len(everything) == len(chain())
    page = json.loads(log(tmp_path, "--json", "--take", "3", "--offset", "2"))
    assert [event["type"] for event in page["events"]] == everything[2:5]
    assert (page["totalEventsBeforeLimit"], page["matchedAfterPagination"]) == (len(everything), 3)
    assert f"3 of {len(everything)} events shown" in log(tmp_path, "--take", "3")
    summary = json.loads(log(tmp_path, "--json", "--summary", "--take", "3", "--offset", "2"))
    assert summary["summary"] == page["summary"]
    assert (summary["totalEventsBeforeLimit"], summary["matchedAfterPagination"]) == (
        len(everything),
        3,
    )


def test_json_has_the_keys_of_perstack(tmp_path: Path) -> None:
    write(tmp_path, chain())
    shown = json.loads(log(tmp_path, "--json"))
    assert shown["job"]["id"] == "job1"
    assert shown["isLatestJob"] is True
    assert shown["storagePath"] == str(tmp_path / "perstack")
    assert shown["summary"] == {
        "totalEvents": len(chain()),
        "errorCount": 0,
        "toolCallCount": 1,
        "delegationCount": 1,
        "stepRange": {"min": 1, "max": 4},
    }
    assert log(tmp_path, "--pretty").startswith("{\n  ")
    assert "events" not in json.loads(log(tmp_path, "--json", "--summary"))


def test_checkpoint_is_assembled_whole(tmp_path: Path) -> None:
    events = chain()
    write(tmp_path, events)
    made = [point for event in events if (point := made_checkpoint(event))][-1]
    shown = json.loads(log(tmp_path, "--json", "--checkpoint", made))
    messages = shown["checkpoint"]["messages"]
    assert [one["type"].removesuffix("Message") for one in messages] == [
        "instruction",
        "user",
        "expert",
        "tool",
        "expert",
    ]
    assert log(tmp_path, "--checkpoint", "nope") == "No data found\n"


def test_hostile_text_is_inert(tmp_path: Path) -> None:
    run = Run("r", "x")
    run.start("Go \x1b[31m\n\u202e")
    part = call("t1", "exec\x1b[2J", command="\x9bls")
    run.tools(part, text="\x1b]0;t\x07")
    run.returns(part, "\x1b[H\r")
    run.complete("\x1b[31m")
    write(tmp_path, in_order(run))
    for shown in (log(tmp_path), log(tmp_path, "--json"), log(tmp_path, "--pretty")):
        assert not any((ord(c) < 32 and c != "\n") or 127 <= ord(c) < 160 for c in shown)
        assert "\u202e" not in shown


@pytest.mark.parametrize(
    "args",
    [
        ["--step", "x"],
        ["--step", "5-2"],
        ["--filter", "x"],
        ["--job", "../x"],
        ["--job", "a\x00b"],
        ["--workspace", "/nowhere/at/all"],
    ],
)
def test_what_cannot_be_asked_is_refused(tmp_path: Path, args: list[str]) -> None:
    with pytest.raises(UsageError):
        log(tmp_path, *args)


def test_torn_last_record_is_reported_not_fatal(tmp_path: Path) -> None:
    write(tmp_path, chain())
    (record,) = tmp_path.glob("perstack/jobs/job1/runs/r-b/*.jsonl")
    record.write_bytes(record.read_bytes()[:-20])
    result = invoke(tmp_path)
    assert "Job: job1" in result.stdout
    assert result.stdout.count("skillDisconnected") == 1
    assert "Warning: run r-b: " in result.stderr


def test_checkpoints_are_named(tmp_path: Path) -> None:
    events = chain()
    write(tmp_path, events)
    made = [made_checkpoint(event) for event in events]
    text = log(tmp_path, "--take", "0")
    assert all(f"checkpoint {point}" in text for point in made if point)
