"""`perstack watch`: what the cockpit shows, as lines, of jobs that other processes run."""

from __future__ import annotations

import json
import signal
from pathlib import Path
from typing import Any, Final

import pytest

from tests.fakes.cli import SCRIPTED, Program, Running

pytestmark = pytest.mark.anyio
Json = dict[str, Any]

TEAM: Final = """
[consensus]
enabled = true
reviewerStrategy = "human"

[experts."lead"]
instruction = "Release."
delegates = ["deployer"]

[experts."deployer"]
instruction = "Deploy."
"""
STORY: Final = """
[[turns]]
expert = "lead"
turn = 1
calls = [{ tool = "deployer", args = { query = "deploy \\u001b[31mred" } }]

[[turns]]
expert = "lead"
text = "Shipped."

[[turns]]
expert = "deployer"
text = "Deployed."
"""
ASKING: Final = """
[[turns]]
expert = "asker"
turn = 1
calls = [{ tool = "askUser", args = { question = "Which one?", choices = ["left", "right"] } }]
"""
ASKER: Final = """
[experts."asker"]
instruction = "Ask."

[experts."asker".skills.user]
type = "interactiveSkill"

[experts."asker".skills.user.tools.askUser]
inputJsonSchema = '{"type":"object","properties":{"question":{"type":"string"}}}'
"""


@pytest.fixture
def program(tmp_path: Path) -> Program:
    return Program.make(tmp_path, SCRIPTED + TEAM + ASKER, scenario=STORY + ASKING)


def records(running: Running) -> list[Json]:
    """What `--json` has printed so far; every line is JSON that no terminal acts on."""
    whole = running.out.decode().rpartition("\n")[0].splitlines()
    assert all(line.isprintable() for line in whole)
    return [json.loads(line) for line in whole]


def states(running: Running, expert: str) -> list[str]:
    """The states that were told of an Expert's runs, in order."""
    told = [record["run"] for record in records(running) if record["type"] == "run"]
    return [run["state"] for run in told if run["expertKey"] == expert]


def job_states(running: Running) -> list[str]:
    """The states that were told of jobs, in order."""
    return [record["job"]["state"] for record in records(running) if record["type"] == "job"]


def decided_as(running: Running) -> list[str]:
    """How the gates were decided that the inbox had when it was told last."""
    inboxes = [record["inbox"] for record in records(running) if record["type"] == "inbox"]
    return [gate["status"] for gate in inboxes[-1]["decided"]]


async def test_a_program_hears_of_a_job_of_another_process_from_start_to_end(
    program: Program,
) -> None:
    async with program.running("watch", "--json") as watching:
        await watching.wait_for(lambda: bool(records(watching)))
        assert records(watching)[0]["type"] == "snapshot"
        assert records(watching)[0]["version"] == 1
        assert records(watching)[0]["jobs"] == []
        async with program.running("run", "lead", "ship") as running:
            await running.until("requestApproval")
            await watching.wait_for(
                lambda: any(r["inbox"]["pending"] for r in records(watching) if "inbox" in r)
            )
            (gate,) = next(
                r["inbox"]["pending"]
                for r in reversed(records(watching))
                if r["type"] == "inbox" and r["inbox"]["pending"]
            )
            await watching.wait_for(lambda: "gate" in states(watching, "lead"))
            assert (await program.run("consensus", "approve", gate["id"])).code == 0
            assert (await running.ended()).code == 0
        # Files and tables are looked at apart: what ended is told in no order of its own.
        await watching.wait_for(lambda: states(watching, "lead")[-1:] == ["done"])
        await watching.wait_for(lambda: states(watching, "deployer")[-1:] == ["done"])
        await watching.wait_for(lambda: job_states(watching)[-1:] == ["done"])
        await watching.wait_for(lambda: decided_as(watching) == ["approved"])


@pytest.mark.long
async def test_a_reader_is_told_what_to_type_at_a_gate_and_how_it_ended(program: Program) -> None:
    async with program.running("watch", "--plain") as watching:
        await watching.wait_for(lambda: b"Watching 0 open jobs." in watching.out)
        async with program.running("run", "lead", "ship") as running:
            gate = (await running.until("requestApproval"))["consensusId"]
            told = f"perstack consensus reject {gate}".encode()
            await watching.wait_for(lambda: told in watching.out)
            assert (await program.run("consensus", "reject", gate)).code == 0
            await running.ended()
        await watching.wait_for(lambda: b"Shipped." in watching.out)
        assert b"\x1b" not in watching.out


async def test_a_question_is_printed_with_its_choices_by_number_and_the_way_to_answer(
    program: Program,
) -> None:
    async with program.running("watch", "--plain") as watching:
        await watching.wait_for(lambda: b"Watching" in watching.out)
        asked = await program.run("run", "asker", "go")
        assert asked.code == 0, asked.stderr
        await watching.wait_for(lambda: b"--continue-job" in watching.out)
        assert b"1 left" in watching.out
        assert b"2 right" in watching.out


async def test_once_prints_how_all_stands_and_ends(program: Program) -> None:
    assert (await program.run("watch", "--once")).stdout == "Watching 0 open jobs.\n"
    asked = await program.run("run", "asker", "go")
    plain = await program.run("watch", "--once")
    assert plain.code == 0, plain.stderr
    assert f"{asked.job_id[:8]} asker: asks you, 1 of 100 steps" in plain.stdout
    whole = await program.run("watch", "--once", "--json")
    (line,) = whole.stdout.splitlines()
    snapshot = json.loads(line)
    assert [run["state"] for run in snapshot["runs"]] == ["asks"]
    assert snapshot["inbox"]["questions"][0]["choices"] == ["left", "right"]


@pytest.mark.long
async def test_a_job_whose_process_is_gone_is_told_to_be_lost(program: Program) -> None:
    async with program.running("watch", "--plain") as watching:
        await watching.wait_for(lambda: b"Watching" in watching.out)
        async with program.running("run", "lead", "ship") as running:
            await running.until("requestApproval")
            running.send(signal.SIGKILL)
            await running.ended()
        await watching.wait_for(lambda: b"lost: its process is gone" in watching.out)


@pytest.mark.parametrize(
    ("number", "code"),
    [(signal.SIGINT, 130), pytest.param(signal.SIGTERM, -15, marks=pytest.mark.long)],
)
async def test_a_signal_ends_it_without_a_traceback(
    program: Program, number: signal.Signals, code: int
) -> None:
    async with program.running("watch", "--json") as watching:
        await watching.wait_for(lambda: bool(records(watching)))
        watching.send(number)
        ended = await watching.ended()
    assert (ended.code, ended.stderr) == (code, "")


async def test_two_ways_of_printing_at_once_are_refused(program: Program) -> None:
    both = await program.run("watch", "--json", "--plain")
    assert both.code == 1
    assert "--json and --plain" in both.stderr
