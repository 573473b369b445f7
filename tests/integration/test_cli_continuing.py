"""Continuation and limits as typed: options, exit codes and what is said on stderr."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Final

import pytest

from perstack.domain.ids import JobId, RunId
from perstack.domain.messages import text_of
from perstack.runtime import open_history
from tests.fakes.cli import SCRIPTED, Program, Ran

pytestmark = pytest.mark.anyio

TEAM: Final = """
[experts."lead"]
instruction = "x"
[experts."lead".skills."user"]
type = "interactiveSkill"
[experts."lead".skills."user".tools."askUser"]
inputJsonSchema = '{"type": "object"}'
[experts."lead".skills."user".tools."askAgain"]
inputJsonSchema = '{"type": "object"}'
[experts."busy"]
instruction = "x"
"""
SCENARIO: Final = """
[[turns]]
expert = "lead"
turn = 1
calls = [{ tool = "healthCheck" }, { tool = "askUser" }, { tool = "askAgain" }]
[[turns]]
expert = "busy"
after = "workspace"
calls = [{ tool = "healthCheck" }]
[[turns]]
expert = "busy"
after = "loop"
calls = [{ tool = "healthCheck" }]
[[turns]]
expert = "busy"
after = "think"
latency_ms = 600000
text = "late"
[[turns]]
text = "Done."
"""


@pytest.fixture
def program(tmp_path: Path) -> Program:
    return Program.make(tmp_path, SCRIPTED + TEAM, scenario=SCENARIO)


def refused(ran: Ran, code: int, *words: str) -> None:
    assert ran.code == code, ran.stderr
    assert "Traceback" not in ran.stderr
    for word in words:
        assert word in ran.stderr


# -------------------------------------------------------------------- answers


@pytest.mark.parametrize("command", [("run",), ("start", "--plain")], ids=["run", "start"])
async def test_run_and_start_take_all_answers_at_once(
    program: Program, command: tuple[str, ...]
) -> None:
    first = await program.run("run", "lead", "go")
    answers = json.dumps(["yes", "no"])
    ran = await program.run(*command, "lead", answers, "--continue", "-i")
    assert ran.code == 0, ran.stderr
    stored = await open_history(program.workspace).read_run(
        JobId(first.job_id), RunId(first.run_ids[0])
    )
    results = [event.body.result for event in stored.events if event.body.type == "toolReturned"]
    texts = {one.tool_name: text_of(one.result) for one in results}
    assert (texts["askUser"], texts["askAgain"]) == ("yes", "no")


@pytest.mark.parametrize("command", [("run",), ("start", "--plain")], ids=["run", "start"])
async def test_run_and_start_take_an_answer_in_json(
    program: Program, command: tuple[str, ...]
) -> None:
    first = await program.run("run", "lead", "go")
    second = first.one("stopRunByInteractiveTool")["checkpoint"]["pendingToolCalls"][1]
    given = {"toolCallId": second["id"], "toolName": "askAgain", "skillName": "user", "text": "no"}
    at = ("--continue-job", first.job_id, "-i")
    assert (await program.run(*command, "lead", json.dumps(given), *at)).code == 0
    again = await program.run("run", "lead", json.dumps(given), *at)
    refused(again, 4, "does not wait for an answer")


async def test_an_answer_without_a_job_to_continue_is_plain_text(program: Program) -> None:
    ran = await program.run("run", "busy", "hello", "-i")
    assert (ran.code, ran.one("completeRun")["text"]) == (0, "Done.")


async def test_an_answer_where_nothing_waits_says_so(program: Program) -> None:
    await program.run("run", "busy", "hello")
    refused(
        await program.run("run", "busy", "yes", "--continue", "-i"), 4, "nothing waits", "without"
    )


# -------------------------------------------------------------------- what is refused first


async def test_an_unknown_job_is_said_before_a_missing_key(tmp_path: Path) -> None:
    program = Program.make(tmp_path, TEAM, env={"ANTHROPIC_API_KEY": ""})
    refused(await program.run("run", "lead", "x", "--continue-job", "nobody"), 4, "no job nobody")
    refused(await program.run("run", "lead", "x", "--continue"), 4, "No jobs found")
    refused(await program.run("run", "lead", "x"), 1, "ANTHROPIC_API_KEY")


async def test_a_query_that_is_too_long_is_said_before_a_missing_key(tmp_path: Path) -> None:
    program = Program.make(tmp_path, TEAM, env={"ANTHROPIC_API_KEY": ""})
    ran = await program.run("run", "lead", "x" * 20_481)
    refused(ran, 1, "a query may have up to 20,480 characters")
    assert program.jobs() == []


@pytest.mark.parametrize(
    ("option", "value", "words"),
    [
        ("--max-tokens", "0", "--max-tokens must be a number from 1 to"),
        ("--max-cost", "-1", "--max-cost must be a number from 0.0001 to"),
        ("--max-cost", "nan", "--max-cost must be a number"),
        ("--max-duration", "0", "--max-duration must be a number from 1 to"),
    ],
)
async def test_a_budget_that_is_none_is_refused(
    program: Program, option: str, value: str, words: str
) -> None:
    refused(await program.run("run", "lead", "x", option, value), 1, words, "Hint: " + option)
    assert program.jobs() == []


# -------------------------------------------------------------------- limits


async def test_row_102_the_step_limit_is_reached_and_raised(program: Program) -> None:
    ran = await program.run("run", "busy", "loop", "--max-steps", "3")
    refused(ran, 6, "the step limit was reached", f"--continue-job {ran.job_id} --max-steps")
    assert ran.one("stopRunByExceededMaxSteps")["checkpoint"]["status"] == (
        "stoppedByExceededMaxSteps"
    )
    refused(await program.run("run", "busy", "more", "--continue", "--max-steps", "3"), 6)


@pytest.mark.parametrize("command", [("run",), ("start", "--plain")], ids=["run", "start"])
async def test_a_token_budget_ends_with_6_and_names_the_option_that_raises_it(
    program: Program, command: tuple[str, ...]
) -> None:
    ran = await program.run(*command, "busy", "loop", "--max-tokens", "1")
    (job,) = program.jobs()
    refused(ran, 6, "the job's budget is used up", f"--continue-job {job} --max-tokens ")
    again = await program.run("run", "busy", "more", "--continue", "--max-tokens", "1")
    refused(again, 6, "budget is used up", "Hint: raise it: --max-tokens")
    raised = await program.run("run", "busy", "enough", "--continue", "--max-tokens", "1000000")
    assert (raised.code, raised.one("completeRun")["text"]) == (0, "Done."), raised.stderr


async def test_a_budget_may_stand_in_the_file_and_the_command_line_wins(tmp_path: Path) -> None:
    toml = SCRIPTED + "[budget]\nmaxTokens = 1\n" + TEAM
    program = Program.make(tmp_path, toml, scenario=SCENARIO)
    refused(await program.run("run", "busy", "loop"), 6, "budget is used up")
    ran = await program.run("run", "busy", "loop", "--max-tokens", "1000000", "--max-steps", "5")
    refused(ran, 6, "the step limit was reached")


async def test_a_time_budget_ends_a_model_that_is_still_thinking(program: Program) -> None:
    ran = await program.run("run", "busy", "think", "--max-duration", "200")
    refused(ran, 6, "the job's budget is used up", "of 0.2 s", "--max-duration")
    stop = ran.one("stopRunByExceededBudget")
    assert (stop["budget"], stop["allowed"]) == ("duration", 200)


async def test_a_budget_in_usd_without_a_price_is_refused(program: Program) -> None:
    ran = await program.run("run", "busy", "x", "--max-cost", "1.50")
    refused(ran, 1, "is not known, so a budget in USD cannot be kept", "Hint:")
    assert program.jobs() == []


async def test_a_budget_in_usd_counts_what_the_price_says(tmp_path: Path) -> None:
    priced = "[defaults]\nprice = { input = 1000.0, output = 1000.0 }\n" + SCENARIO
    program = Program.make(tmp_path, SCRIPTED + TEAM, scenario=priced)
    ran = await program.run("run", "busy", "loop", "--max-cost", "0.01")
    refused(ran, 6, "of $0.0100", "--max-cost ")
    assert ran.one("stopRunByExceededBudget")["budget"] == "cost"
