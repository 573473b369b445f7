"""The consensus gate across processes: one waits, another decides."""

from __future__ import annotations

import json
import sys
from collections import Counter
from pathlib import Path
from typing import Final

import anyio
import pytest

from tests.fakes.cli import SCRIPTED, Json, Program, Running

pytestmark = pytest.mark.anyio

TEAM: Final = """
[consensus]
enabled = true
reviewerStrategy = "human"

[experts."lead"]
instruction = "You are lead."
delegates = ["deployer"]

[experts."deployer"]
instruction = "You are deployer."
"""
LEAD: Final = """
[[turns]]
expert = "lead"
turn = 1
calls = [{ tool = "deployer", args = { query = "deploy to production" } }]

[[turns]]
expert = "lead"
after = "not on a Friday"
text = "I hold the release."

[[turns]]
expert = "lead"
text = "Shipped."
"""
DEPLOYER: Final = """
[[turns]]
expert = "deployer"
turn = 1
calls = [{ tool = "appendTextFile", args = { path = "deployments.log", text = "deployed\\n" } }]

[[turns]]
expert = "deployer"
text = "Deployed."
"""


@pytest.fixture
def program(tmp_path: Path) -> Program:
    made = Program.make(tmp_path, SCRIPTED + TEAM, scenario=LEAD + DEPLOYER)
    (tmp_path / "deployments.log").touch()
    return made


def deployments(program: Program) -> list[str]:
    return (program.workspace / "deployments.log").read_text().split()


async def waiting(running: Running, program: Program) -> str:
    """Wait until the run waits, and return the id of what another process sees waiting."""
    asked = await running.until("requestApproval")
    with anyio.fail_after(20):
        while not (listed := await pending(program)):
            pass
    (one,) = listed
    assert one["id"] == asked["consensusId"]
    return str(one["id"])


async def pending(program: Program) -> list[Json]:
    listed = await program.run("consensus", "list", "--json")
    assert listed.code == 0, listed.stderr
    found: list[Json] = json.loads(listed.stdout)
    return found


async def test_approving_in_another_process_releases_the_run(program: Program) -> None:
    async with program.running("run", "lead", "ship") as running:
        consensus_id = await waiting(running, program)
        assert deployments(program) == []
        approved = await program.run("consensus", "approve", consensus_id)
        ran = await running.ended()
    assert (approved.code, ran.code) == (0, 0)
    resolved = ran.one("resolveApproval")
    assert resolved["outcome"] == "approved"
    # Released soon after the decision, by the clock that both have: not at the gate's end.
    log = await program.run("consensus", "show", consensus_id, "--json")
    decided_at = json.loads(log.stdout)["decidedAt"]
    assert 0 <= resolved["timestamp"] - decided_at < 10_000
    assert deployments(program) == ["deployed"]
    assert ran.all("completeRun")[-1]["text"] == "Shipped."


async def test_rejecting_with_feedback_reaches_the_model_and_deploys_nothing(
    program: Program,
) -> None:
    async with program.running("run", "lead", "ship") as running:
        consensus_id = await waiting(running, program)
        words = ("--feedback", "not on a Friday")
        assert (await program.run("consensus", "reject", consensus_id, *words)).code == 0
        ran = await running.ended()
    assert ran.code == 0
    assert ran.one("completeRun")["text"] == "I hold the release."
    assert deployments(program) == []


@pytest.mark.sampled(1)
@pytest.mark.parametrize("approve_first", [True, False])
async def test_a_run_killed_at_its_gate_waits_again_and_is_released_once(
    program: Program, approve_first: bool
) -> None:
    async with program.running("run", "lead", "ship") as running:
        consensus_id = await waiting(running, program)
    assert await pending(program) != []
    if approve_first:
        assert (await program.run("consensus", "approve", consensus_id)).code == 0
        again = await program.run("run", "lead", "--continue")
    else:
        async with program.running("run", "lead", "--continue") as running:
            await running.until("startRun")
            assert (await program.run("consensus", "approve", consensus_id)).code == 0
            again = await running.ended()
    assert again.code == 0
    assert again.all("requestApproval") == []
    assert again.one("resolveApproval")["consensusId"] == consensus_id
    assert deployments(program) == ["deployed"]
    assert await pending(program) == []


@pytest.mark.parametrize(
    "after",
    [
        "resolveApproval",
        pytest.param("callDelegate", marks=pytest.mark.long),
        pytest.param("stopRunByDelegate", marks=pytest.mark.long),
    ],
)
async def test_a_run_killed_just_after_it_was_released_asks_nobody_again(
    program: Program, after: str
) -> None:
    async with program.running("run", "lead", "ship") as running:
        consensus_id = await waiting(running, program)
        assert (await program.run("consensus", "approve", consensus_id)).code == 0
        await running.until(after)
    again = await program.run("run", "lead", "--continue")
    # A quick run may have come to its end before it was killed.
    assert again.code == 0 or "the job is completed" in again.stderr
    assert again.all("requestApproval") == []
    doubtful = [event for event in again.all("toolReturned") if event["result"].get("inDoubt")]
    assert Counter(deployments(program))["deployed"] <= 1
    assert len(deployments(program)) == 1 or doubtful


@pytest.mark.long  # half a minute is the shortest that a gate may wait
async def test_an_expired_gate_is_a_refusal_that_the_model_reads(tmp_path: Path) -> None:
    toml = SCRIPTED + TEAM.replace("enabled = true", "enabled = true\ntimeout = 30000")
    late = '[[turns]]\nexpert = "lead"\nafter = "Nobody decided in time"\ntext = "Held."\n'
    program = Program.make(tmp_path, toml, scenario=late + LEAD + DEPLOYER)
    ran = await program.run("run", "lead", "ship")
    assert ran.code == 0, ran.stderr
    assert ran.one("resolveApproval")["outcome"] == "expired"
    assert ran.one("completeRun")["text"] == "Held."


# ---------------------------------------------------------------- a run that decides for itself


def selfish(*words: str) -> str:
    """A deployer's turn that tries to approve what its own lead waits for."""
    args = json.dumps(list(words))
    call = (
        f'{{ tool = "exec", args = {{ command = {json.dumps(sys.executable)}, args = {args} }} }}'
    )
    return f'[[turns]]\nexpert = "mole"\nturn = 1\ncalls = [{call}]\n'


SHEDS_ITS_MARKS: Final = (
    "import os, sys\n"
    "for name in list(os.environ):\n"
    "    if name.startswith('PERSTACK_'): del os.environ[name]\n"
    "os.execv(sys.executable, [sys.executable, '-m', 'perstack', *sys.argv[1:]])\n"
)


@pytest.mark.parametrize(
    "how", ["plainly", "without its marks", pytest.param("as a daemon", marks=pytest.mark.long)]
)
async def test_a_run_cannot_approve_its_own_gate(tmp_path: Path, how: str) -> None:
    approve = ("consensus", "approve", "ID")
    words = {
        "plainly": ("-m", "perstack", *approve),
        "without its marks": ("-c", SHEDS_ITS_MARKS, *approve),
        "as a daemon": (
            "-c",
            f"import os\nif os.fork() == 0: os.setsid()\n{SHEDS_ITS_MARKS}",
            *approve,
        ),
    }[how]
    toml = SCRIPTED + TEAM + '[experts."mole"]\ninstruction = "x"\n'
    mole_done = '[[turns]]\nexpert = "mole"\ntext = "tried"\n'
    program = Program.make(tmp_path, toml, scenario=LEAD + DEPLOYER + mole_done)
    (tmp_path / "deployments.log").touch()
    first = await program.run("run", "lead", "ship", "--no-wait")
    consensus_id: str = first.one("requestApproval")["consensusId"]
    tries = selfish(*(word.replace("ID", consensus_id) for word in words))
    (tmp_path / "scenario.toml").write_text(tries + LEAD + DEPLOYER + mole_done)
    ran = await program.run("run", "mole", "approve it")
    assert ran.code == 0
    told = "".join(part["text"] for part in ran.one("toolReturned")["result"]["result"])
    if how != "as a daemon":
        assert "a run cannot decide a consensus checkpoint" in told
        assert "exit code 4" in told
    (still,) = await pending(program)
    assert still["id"] == consensus_id


async def test_a_tool_marked_for_approval_waits_as_well(tmp_path: Path) -> None:
    base = '[experts."solo".skills."@perstack/base"]\ntype = "baseSkill"\n'
    toml = SCRIPTED + f'[experts."solo"]\ninstruction = "x"\n{base}requireApproval = ["exec"]\n'
    call = '{ tool = "exec", args = { command = "touch", args = ["made.txt"], cwd = "." } }'
    turns = f'[[turns]]\nturn = 1\ncalls = [{call}]\n[[turns]]\ntext = "Made."\n'
    program = Program.make(tmp_path, toml, scenario=turns)
    async with program.running("run", "solo", "go") as running:
        consensus_id = await waiting(running, program)
        assert not (tmp_path / "made.txt").exists()
        await program.run("consensus", "approve", consensus_id)
        assert (await running.ended()).code == 0
    assert (tmp_path / "made.txt").exists()


async def test_who_decides_for_a_job_that_no_process_runs_is_told_how_it_goes_on(
    program: Program,
) -> None:
    stopped = await program.run("run", "lead", "ship", "--no-wait")
    consensus_id = stopped.one("requestApproval")["consensusId"]
    assert stopped.code == 3
    assert stopped.stderr.count("A decision is awaited") == 1
    decided = await program.run("consensus", "approve", consensus_id)
    (told,) = [line for line in decided.stdout.splitlines() if "No process runs the job" in line]
    *_, command = told.partition("perstack ")
    ended = await program.run(*command.split())
    assert ended.all("completeRun")[-1]["text"] == "Shipped."
    assert deployments(program) == ["deployed"]


async def test_who_decides_for_a_run_that_waits_is_told_nothing_more(program: Program) -> None:
    async with program.running("run", "lead", "ship") as running:
        consensus_id = await waiting(running, program)
        rejected = await program.run("consensus", "reject", consensus_id)
        await running.ended()
    assert rejected.stdout == f"Rejected {consensus_id}.\n"
