"""Going on from earlier points, with other words, and as somebody else already does."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Final

import anyio
import pytest

from tests.fakes.cli import SCRIPTED, Program, Ran

pytestmark = pytest.mark.anyio

TEAM: Final = """
[experts."lead"]
instruction = "x"
delegates = ["a", "b"]
[experts."lead".skills."user"]
type = "interactiveSkill"
[experts."lead".skills."user".tools."askUser"]
inputJsonSchema = '{"type": "object"}'
[experts."lead".skills."user".tools."askAgain"]
inputJsonSchema = '{"type": "object"}'
[experts."a"]
instruction = "x"
[experts."b"]
instruction = "x"
"""
SCENARIO: Final = """
[[turns]]
expert = "lead"
turn = 1
calls = [{ tool = "healthCheck" }]
[[turns]]
expert = "lead"
turn = 2
calls = [{ tool = "a", args = { query = "go" } }, { tool = "b", args = { query = "go" } }]
[[turns]]
expert = "lead"
turn = 3
calls = [{ tool = "askUser" }, { tool = "askAgain" }]
[[turns]]
text = "Done {{turn}}."
"""


@pytest.fixture
def program(tmp_path: Path) -> Program:
    return Program.make(tmp_path, SCRIPTED + TEAM, scenario=SCENARIO)


async def asked_and_answered(program: Program) -> list[Ran]:
    """Run to the questions, answer both, one after the other."""
    first = await program.run("run", "lead", "go")
    second = await program.run("run", "lead", "yes", "--continue", "-i")
    third = await program.run("run", "lead", "no", "--continue", "-i")
    assert [ran.code for ran in (first, second, third)] == [0, 0, 0]
    return [first, second, third]


async def test_two_questions_are_answered_one_after_the_other(program: Program) -> None:
    first, second, third = await asked_and_answered(program)
    assert first.one("stopRunByInteractiveTool")["checkpoint"]["pendingToolCalls"][0][
        "toolName"
    ] == ("askUser")
    (left,) = second.one("stopRunByInteractiveTool")["checkpoint"]["pendingToolCalls"]
    assert left["toolName"] == "askAgain"
    answers = third.one("finishAllToolCalls")["newMessages"][0]["contents"]
    assert [part["contents"][0]["text"] for part in answers] == ["yes", "no"]
    assert third.one("completeRun")["text"] == "Done 4."


async def test_an_answer_may_name_its_question(program: Program) -> None:
    first = await program.run("run", "lead", "go")
    pending = first.one("stopRunByInteractiveTool")["checkpoint"]["pendingToolCalls"][1]
    answer = {
        "toolCallId": pending["id"],
        "toolName": pending["toolName"],
        "skillName": pending["skillName"],
        "text": "later first",
    }
    second = await program.run("run", "lead", json.dumps(answer), "--continue", "-i")
    assert second.code == 0, second.stderr
    (left,) = second.one("stopRunByInteractiveTool")["checkpoint"]["pendingToolCalls"]
    assert left["toolName"] == "askUser"
    twice = await program.run("run", "lead", json.dumps(answer), "--continue", "-i")
    assert twice.code == 4


@pytest.mark.long
async def test_every_checkpoint_can_be_resumed_from_and_the_past_stays_as_it_was(
    program: Program,
) -> None:
    rans = await asked_and_answered(program)
    job = rans[0].job_id
    lead = rans[0].run_ids[0]
    points = {
        event["checkpoint"]["id"]: event["type"]
        for ran in rans
        for event in ran.events
        if "checkpoint" in event and event["runId"] == lead
    }
    before = hashes(program)
    assert set(points.values()) == {
        "continueToNextStep",
        "stopRunByDelegate",
        "stopRunByInteractiveTool",
        "completeRun",
    }
    for point, type_ in points.items():
        answer = ("-i",) if type_ == "stopRunByInteractiveTool" else ()
        at = ("--continue-job", job, "--resume-from", point, *answer)
        again = await program.run("run", "lead", "so", *at)
        assert again.code == 0, (type_, again.stderr)
        assert lead not in again.run_ids
        assert again.types("stopRunByError") == []
    after = hashes(program)
    assert {path: after[path] for path in before} == before


async def test_a_delegates_checkpoint_is_refused(program: Program) -> None:
    first = await program.run("run", "lead", "go")
    child = next(e for e in first.all("completeRun") if e["expertKey"] == "a")
    at = ("--continue-job", first.job_id, "--resume-from", child["checkpoint"]["id"])
    ran = await program.run("run", "lead", "again", *at)
    assert ran.code == 1
    assert "delegated Expert a" in ran.stderr


async def test_the_expert_must_be_the_jobs_own(program: Program) -> None:
    await program.run("run", "a", "go")
    ran = await program.run("run", "b", "go on", "--continue")
    assert ran.code == 1
    assert "does not match" in ran.stderr


async def test_an_id_that_is_taken_is_refused_whoever_has_it(program: Program) -> None:
    outcomes: list[int] = []

    async def one() -> None:
        outcomes.append((await program.run("run", "a", "go", "--job-id", "mine")).code)

    async with anyio.create_task_group() as group:
        for _ in range(4):
            group.start_soon(one)
    assert sorted(outcomes) == [0, 4, 4, 4]
    assert (await program.run("run", "a", "go", "--job-id", "mine")).code == 4


def hashes(program: Program) -> dict[str, str]:
    """What each run's files hold."""
    runs = (program.workspace / "perstack" / "jobs").glob("*/runs/*/*")
    return {str(path): hashlib.sha256(path.read_bytes()).hexdigest() for path in runs}
