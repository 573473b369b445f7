"""Cursor executes an Expert, as far as that can be shown without its program.

No registry has `cursor-agent`, so a stand-in of ours says what its documentation says that it says
(`tests.fakes.cursor_agent`). The process, its output and all that is made of it are real.
"""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Final

import pytest

from tests.fakes.cli import Json, Program, Ran, is_subsequence
from tests.fakes.cursor import KEY, calls_of, cursor_project
from tests.fakes.cursor_agent import SESSION
from tests.fakes.left_over import none_is_left

pytestmark = pytest.mark.anyio

RUN: Final = ("run", "lead", "Write the note.")
LS: Final[Json] = {
    "tool": "shell",
    "args": {"command": "ls"},
    "result": {"success": {"stdout": "a.txt", "exitCode": 0}},
}
READ: Final[Json] = {
    "tool": "read",
    "args": {"path": "a.txt"},
    "result": {"success": {"content": "of a", "totalLines": 1}},
}
DONE: Final[list[Json]] = [{"say": "All done."}]


def results(ran: Ran) -> list[Json]:
    return [event["result"] for event in ran.all("toolReturned")]


def text_of(result: Json) -> str:
    return "".join(part["text"] for part in result["result"])


async def goes_on(program: Program, ran: Ran, query: str = "And more?") -> Ran:
    return await program.run("run", "lead", query, "--continue-job", ran.job_id)


async def test_row_7_cursor_runs_an_expert_with_the_stand_in_for_its_program(
    tmp_path: Path,
) -> None:
    program = cursor_project(tmp_path, DONE, runtime="")
    ran = await program.run(*RUN, "--runtime", "cursor")
    assert ran.code == 0, ran.stderr
    assert is_subsequence(["startRun", "completeRun"], ran.types())
    assert ran.one("completeRun")["text"] == "All done."


async def test_tool_calls_are_steps_and_partial_output_is_said_once(tmp_path: Path) -> None:
    said: list[Json] = [
        {"think": "Hm."},
        {"say": "I look."},
        LS,
        {"write": "note.txt", "text": "x"},
    ]
    program = cursor_project(tmp_path, [*said, *DONE])
    ran = await program.run(*RUN)
    assert ran.code == 0, ran.stderr
    assert (tmp_path / "note.txt").read_text() == "x"
    looked, wrote = ran.all("callTools")
    contents = looked["newMessage"]["contents"]
    assert [part.get("thinking") or part.get("text") for part in contents[:2]] == ["Hm.", "I look."]
    assert [part["toolName"] for part in contents[2:]] == ["shell"]
    assert [part["type"] for part in wrote["newMessage"]["contents"]] == ["toolCallPart"]
    assert (looked["stepNumber"], wrote["stepNumber"]) == (1, 2)
    assert "a.txt" in text_of(results(ran)[0])
    assert ran.one("completeRun")["text"] == "All done."


async def test_tools_called_at_once_each_have_their_result(tmp_path: Path) -> None:
    program = cursor_project(tmp_path, [{"both": [LS, READ]}, *DONE])
    ran = await program.run(*RUN)
    assert ran.code == 0, ran.stderr
    found = {result["toolName"]: text_of(result) for result in results(ran)}
    assert "a.txt" in found["shell"]
    assert found["read"] == "of a"


async def test_a_tool_that_failed_and_one_without_a_name_of_its_own_are_understood(
    tmp_path: Path,
) -> None:
    refused: Json = {**LS, "result": {"rejected": {"reason": "not allowed"}}}
    odd: Json = {"function": "grep", "arguments": '{"q": 1}', "result": {"success": "two lines"}}
    program = cursor_project(tmp_path, [refused, odd, *DONE])
    ran = await program.run(*RUN)
    assert ran.code == 0, ran.stderr
    rejected, found = results(ran)
    assert rejected["isError"] is True
    assert "not allowed" in text_of(rejected)
    assert text_of(found) == "two lines"
    called = ran.all("callTools")[1]["newMessage"]["contents"][0]
    assert (called["toolName"], called["args"]) == ("grep", {"q": 1})


async def test_it_gets_its_key_and_the_prompt_but_no_other_key(tmp_path: Path) -> None:
    program = cursor_project(tmp_path, DONE)
    assert (await program.run(*RUN, "--model", "gpt-5")).code == 0
    (call,) = calls_of(tmp_path)
    assert "--force" in call["argv"]
    assert call["argv"][-1] == "--model=gpt-5"
    assert call["prompt"].startswith("## Instructions\n\nYou are lead.")
    assert call["prompt"].endswith("## User Request\n\nWrite the note.")
    assert call["env"]["CURSOR_API_KEY"] == KEY
    assert "ANTHROPIC_API_KEY" not in call["env"]
    assert not any(KEY in word for word in call["argv"])


async def test_without_its_key_nothing_is_started(tmp_path: Path) -> None:
    program = cursor_project(tmp_path, DONE)
    ran = await program.run(*RUN, env={"CURSOR_API_KEY": ""})
    assert ran.code == 1
    assert "CURSOR_API_KEY is not set" in ran.stderr
    assert not (tmp_path / "cursor-calls.jsonl").exists()


# ---------------------------------------------------------------- going on


async def test_killed_in_the_middle_it_goes_on_in_its_session(tmp_path: Path) -> None:
    program = cursor_project(tmp_path, [{"say": "I look."}, LS, {"wait": True}], DONE)
    async with program.running(*RUN) as running:
        await running.until("toolReturned")
        running.send(signal.SIGKILL)
        killed = await running.ended()
    await none_is_left(tmp_path)
    ran = await goes_on(program, killed)
    assert ran.code == 0, ran.stderr
    again = calls_of(tmp_path)[-1]
    assert again["argv"][-1] == f"--resume={SESSION}"
    assert "You are lead." not in again["prompt"]
    assert ran.one("completeRun")["text"] == "All done."


async def test_interrupted_it_stops_with_the_program(tmp_path: Path) -> None:
    program = cursor_project(tmp_path, [{"write": "pid.txt", "text": "x"}, {"wait": True}], DONE)
    async with program.running(*RUN) as running:
        await running.until("toolReturned")
        running.send(signal.SIGINT)
        stopped = await running.ended()
    assert stopped.code == 130
    assert stopped.one("suspendRun")
    await none_is_left(tmp_path)
    ran = await goes_on(program, stopped)
    assert ran.one("startProgram")["continued"] == SESSION


async def test_a_chat_that_it_does_not_know_is_begun_anew_with_what_was_said(
    tmp_path: Path,
) -> None:
    program = cursor_project(tmp_path, [{"say": "I look."}, LS, *DONE])
    first = await program.run(*RUN)
    script = tmp_path / "cursor-script.json"
    script.write_text(script.read_text().replace(SESSION, "another"))
    ran = await goes_on(program, first)
    assert ran.code == 0, ran.stderr
    assert [event.get("continued") for event in ran.all("startProgram")] == [SESSION, None]
    prompt = calls_of(tmp_path)[-1]["prompt"]
    assert "You called shell" in prompt
    assert prompt.endswith("And more?")


# ---------------------------------------------------------------- errors


@pytest.mark.parametrize(
    ("step", "words"),
    [
        ({"fail": "No such model", "code": 2}, "cursor CLI failed with exit code 2: No such model"),
        ({"fail": "", "code": 0}, "cursor ended without a result"),
        ({"is_error": "usage limit reached"}, "cursor failed: usage limit reached"),
    ],
)
async def test_a_failure_is_told_in_its_words(tmp_path: Path, step: Json, words: str) -> None:
    program = cursor_project(tmp_path, [{"say": "I look."}, {"raw": "not a record"}, step])
    ran = await program.run(*RUN)
    assert ran.code == 1
    assert words in ran.stderr
    assert words in ran.one("stopRunByError")["error"]["message"]


async def test_lines_that_are_no_records_are_passed_over(tmp_path: Path) -> None:
    program = cursor_project(tmp_path, [{"raw": "A new version is there!"}, {"raw": "[1]"}, *DONE])
    ran = await program.run(*RUN)
    assert ran.code == 0, ran.stderr
    assert ran.one("completeRun")["text"] == "All done."
