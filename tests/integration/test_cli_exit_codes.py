"""What the program ends with, and that it says why in words."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Final

import anyio
import pytest

from tests.fakes.cli import (
    ANTHROPIC_KEY,
    PROGRAM,
    SCRIPTED,
    Program,
    Ran,
    by_expert,
    events_of,
)
from tests.fakes.model_server import model_server
from tests.fakes.model_wire import Refusal, Reply

pytestmark = pytest.mark.anyio

TEAM: Final = """
[consensus]
enabled = true
reviewerStrategy = "human"

[experts."solo"]
instruction = "You are solo."

[experts."asker"]
instruction = "You are asker."
[experts."asker".skills."user"]
type = "interactiveSkill"
[experts."asker".skills."user".tools."askUser"]
inputJsonSchema = '{"type": "object"}'

[experts."lead"]
instruction = "You are lead."
delegates = ["deployer"]
[experts."deployer"]
instruction = "You are deployer."
"""
SCENARIO: Final = """
[[turns]]
expert = "asker"
turn = 1
calls = [{ tool = "askUser" }]

[[turns]]
expert = "lead"
turn = 1
calls = [{ tool = "deployer", args = { query = "deploy to production" } }]

[[turns]]
expert = "solo"
after = "loop"
calls = [{ tool = "healthCheck" }]

[[turns]]
expert = "solo"
after = "workspace"
calls = [{ tool = "healthCheck" }]

[[turns]]
text = "All done."
"""


@pytest.fixture
def program(tmp_path: Path) -> Program:
    return Program.make(tmp_path, SCRIPTED + TEAM, scenario=SCENARIO)


def check(ran: Ran, code: int, *words: str) -> None:
    """The code, one sentence that holds `words`, no traceback, nothing that moves a cursor."""
    assert ran.code == code, ran.stderr
    assert "Traceback" not in ran.stderr
    assert "\x1b" not in ran.stderr
    for word in words:
        assert word in ran.stderr
    if ran.stdout.startswith("{"):
        events_of(ran.stdout)


# ---------------------------------------------------------------- 0


async def test_a_completed_job_ends_with_0(program: Program) -> None:
    ran = await program.run("run", "solo", "hi")
    check(ran, 0)
    assert ran.stderr == ""
    assert ran.one("completeRun")["text"] == "All done."


async def test_a_question_ends_with_0_and_cannot_be_answered_twice(program: Program) -> None:
    check(await program.run("run", "asker", "hi"), 0)
    check(await program.run("run", "asker", "hm", "--continue"), 1, "waits for an answer", "-i")
    check(await program.run("run", "asker", "yes", "--continue", "-i"), 0)
    check(await program.run("run", "asker", "yes", "--continue", "-i"), 4, "nothing waits")


# ---------------------------------------------------------------- 1


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (("run", "solo", "  "), ("query",)),
        (("run", "solo", "hi", "--max-steps", "many"), ("--max-steps",)),
        (("run", "solo", "hi", "--max-steps", "0"), ("--max-steps",)),
        (("run", "solo", "hi", "--no-such-option"), ("--no-such-option",)),
        (("run", "nobody", "hi"), ("nobody", "solo")),
        (("run", "solo", "hi", "--scenario", "gone.toml"), ("gone.toml",)),
        (("run", "solo", "hi", "--workspace", "gone"), ("gone",)),
        (("no-such-command",), ("no-such-command",)),
        (("log", "--step", "x"), ("step",)),
        (("consensus", "list", "--workspace", "gone"), ("gone",)),
    ],
)
async def test_what_cannot_be_done_as_asked_ends_with_1_and_leaves_nothing(
    program: Program, args: tuple[str, ...], words: tuple[str, ...]
) -> None:
    ran = await program.run(*args)
    check(ran, 1, *words)
    assert ran.stdout == ""
    assert program.jobs() == []


async def test_a_configuration_that_is_no_toml_is_named_with_its_line(tmp_path: Path) -> None:
    program = Program.make(tmp_path, 'model = "a"\nmodel = \x07"b"\n')
    check(await program.run("run", "solo", "hi"), 1, "perstack.toml", "line 2")


async def test_a_missing_key_is_named(tmp_path: Path) -> None:
    program = Program.make(tmp_path, TEAM, env={"ANTHROPIC_API_KEY": ""})
    ran = await program.run("run", "solo", "hi")
    check(ran, 1, "ANTHROPIC_API_KEY", "Hint:")
    assert (ran.stdout, program.jobs()) == ("", [])


@pytest.mark.parametrize("status", [401, pytest.param(400, marks=pytest.mark.long)])
async def test_a_refusal_by_the_vendor_ends_with_1_after_one_request(
    tmp_path: Path, status: int
) -> None:
    said = f"no entry for {ANTHROPIC_KEY}"
    async with model_server(Refusal(status, said, "authentication_error")) as server:
        ran = await Program.make(tmp_path, TEAM, base_url=server.url).run("run", "solo", "hi")
        assert len(server.requests) == 1
    check(ran, 1, str(status), "no entry for")
    assert ran.one("stopRunByError")["error"]["statusCode"] == status
    assert ANTHROPIC_KEY not in ran.stdout + ran.stderr


# ---------------------------------------------------------------- 3


async def test_not_waiting_at_a_gate_ends_with_3_until_it_is_decided(program: Program) -> None:
    first = await program.run("run", "lead", "ship", "--no-wait")
    check(first, 3, "perstack consensus show")
    consensus_id: str = first.one("requestApproval")["consensusId"]
    assert consensus_id in first.stderr
    check(await program.run("run", "lead", "--continue", "--no-wait"), 3, consensus_id)
    check(await program.run("consensus", "approve", consensus_id), 0)
    last = await program.run("run", "lead", "--continue", "--no-wait")
    check(last, 0)
    assert last.who("completeRun") == [("deployer", "completeRun"), ("lead", "completeRun")]


# ---------------------------------------------------------------- 4


async def test_what_is_not_there_ends_with_4(program: Program) -> None:
    check(await program.run("run", "solo", "--continue"), 4, "No jobs found", "perstack run")
    check(await program.run("run", "solo", "--continue-job", "nowhere"), 4, "nowhere")
    check(await program.run("consensus", "approve", "nothing"), 4, "nothing")
    assert not (program.workspace / "perstack").exists()


async def test_an_unknown_checkpoint_ends_with_4(program: Program) -> None:
    done = await program.run("run", "solo", "hi")
    at = ("--continue-job", done.job_id, "--resume-from", "nowhere")
    check(await program.run("run", "solo", "again", *at), 4, "checkpoint not found: nowhere")
    known: str = done.one("completeRun")["checkpoint"]["id"]
    at = ("--continue-job", done.job_id, "--resume-from", known)
    check(await program.run("run", "solo", "again", *at), 0)


async def test_a_second_decision_ends_with_4(program: Program) -> None:
    first = await program.run("run", "lead", "ship", "--no-wait")
    consensus_id: str = first.one("requestApproval")["consensusId"]
    check(await program.run("consensus", "reject", consensus_id), 0)
    check(await program.run("consensus", "approve", consensus_id), 4, "already rejected")


async def test_of_two_that_go_on_with_a_job_one_runs_and_the_other_ends_with_4(
    tmp_path: Path,
) -> None:
    released = anyio.Event()
    async with model_server(Refusal(401)) as server:
        program = Program.make(tmp_path, TEAM, base_url=server.url)
        job = (await program.run("run", "solo", "hi")).job_id
        server.decide = by_expert({"solo": [Reply(["later"], gate=released)]})
        async with program.running("run", "solo", "hi", "--continue-job", job) as one:
            await one.until("startGeneration")
            check(await program.run("run", "solo", "hi", "--continue"), 4, job, "driven by")
            released.set()
            check(await one.ended(), 0)
    assert program.jobs() == [job]


# ---------------------------------------------------------------- 5


@pytest.mark.parametrize("place", ["perstack", "perstack/jobs", "perstack/live"])
async def test_a_history_that_cannot_be_written_ends_with_5_before_the_vendor_is_asked(
    tmp_path: Path, place: str
) -> None:
    async with model_server() as server:
        program = Program.make(tmp_path, TEAM, base_url=server.url)
        in_the_way = tmp_path / place
        in_the_way.parent.mkdir(exist_ok=True)
        in_the_way.write_text("a file in the way")
        ran = await program.run("run", "solo", "hi")
        assert server.requests == []
    check(ran, 5, place)
    assert ran.stdout == ""


async def test_a_full_disk_ends_with_5_and_the_job_goes_on_when_there_is_room(
    program: Program,
) -> None:
    # A limit on the size of files stands in for the disk; Python turns its signal into an error.
    shell = f"ulimit -f 12; exec {shlex.join(PROGRAM)} run solo loop --max-steps 60"
    full = await program.run_words("sh", "-c", shell)
    check(full, 5, "events.jsonl")
    steps = full.all("continueToNextStep")
    assert steps
    room = await program.run("run", "solo", "now stop", "--continue", "--max-steps", "60")
    check(room, 0)
    log = await program.run("log", "--json", "--type", "continueToNextStep", "--take", "0")
    kept = {event["id"] for event in log.events[0]["events"]}
    assert kept >= {event["id"] for event in steps}


# ---------------------------------------------------------------- 6


async def test_the_step_limit_ends_with_6_and_more_steps_may_be_given(program: Program) -> None:
    limited = await program.run("run", "solo", "loop", "--max-steps", "3")
    check(limited, 6, "--max-steps", limited.job_id)
    assert limited.types()[-1] == "stopRunByExceededMaxSteps"
    assert len(limited.all("startGeneration")) == 3
    again = await program.run("run", "solo", "loop", "--continue", "--max-steps", "3")
    check(again, 6, "--max-steps 6")
    more = await program.run("run", "solo", "that is enough", "--continue", "--max-steps", "6")
    check(more, 0)


# ---------------------------------------------------------------- ids that are paths


HOSTILE: Final = ("../../x", "/tmp/x", "..", "a" * 5000, "", "a\nb")


@pytest.mark.sampled(1)
@pytest.mark.parametrize("option", ["--job-id", "--continue-job", "--resume-from"])
async def test_an_id_that_is_a_path_is_refused_and_nothing_written(
    program: Program, option: str
) -> None:
    before = everything(program.workspace.parent)
    for hostile in HOSTILE:
        options = [f"{option}={hostile}"]
        if option == "--resume-from":
            options.append("--continue-job=j1")
        ran = await program.run("run", "solo", "hi", *options)
        check(ran, 1, "id")
        assert ran.stdout == ""
    assert everything(program.workspace.parent) == before


@pytest.mark.sampled(1)
@pytest.mark.parametrize(
    ("command", "kind"),
    [
        ("log --job", "job id"),
        ("log --run", "run id"),
        ("log --checkpoint", "checkpoint id"),
        ("export", "job id"),
    ],
)
async def test_who_reads_refuses_an_id_that_is_a_path(
    program: Program, command: str, kind: str
) -> None:
    check(await program.run("run", "solo", "hi"), 0)
    check(await program.run(*command.split(), "../../x"), 1, kind)


def everything(folder: Path) -> set[str]:
    return {str(path) for path in folder.rglob("*")}


# ---------------------------------------------------------------- standard output


@pytest.mark.parametrize("into", ["| head -1", "> /dev/full"])
async def test_an_output_that_goes_away_ends_calmly_and_the_job_goes_on(
    program: Program, into: str
) -> None:
    command = f"{shlex.join(PROGRAM)} run solo loop --max-steps 90 {into}"
    ran = await program.run_words("bash", "-o", "pipefail", "-c", command)
    assert ran.code == 1
    assert "Traceback" not in ran.stderr
    assert "Exception ignored" not in ran.stderr
    (job,) = program.jobs()
    again = await program.run("run", "solo", "stop now", "--continue-job", job)
    check(again, 0)


@pytest.mark.sampled(1)
@pytest.mark.parametrize(
    "command", ["run solo hi", "log", "log --json", "consensus list", "--help"]
)
async def test_nothing_is_ever_printed_badly_into_a_full_disk(
    program: Program, command: str
) -> None:
    check(await program.run("run", "solo", "hi"), 0)
    shell = f"{shlex.join(PROGRAM)} {command} > /dev/full"
    ran = await program.run_words("sh", "-c", shell)
    assert ran.code != 0
    assert "Traceback" not in ran.stderr
    assert "Exception ignored" not in ran.stderr


async def test_without_any_standard_streams_the_job_is_done(program: Program) -> None:
    shell = f"exec {shlex.join(PROGRAM)} run solo hi <&- >&- 2>&-"
    await program.run_words("sh", "-c", shell)
    log = await program.run("log")
    assert "completed" in log.stdout
