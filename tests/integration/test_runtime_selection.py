"""Which runtime executes an Expert, what is asked of it before anything starts, what is seen of it.

What stands in for Cursor's program here is a script of these tests that speaks its stream format.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any, Final

import pytest

from tests.fakes.cli import SCRIPTED, Program, Ran

pytestmark = pytest.mark.anyio

# Writes a file as if a tool had, and says whose system prompt it was given.
STAND_IN: Final = r"""
import json, sys
if "--version" in sys.argv:
    print("2099.1.2")
    raise SystemExit
heard = sys.stdin.read()
def say(**record):
    print(json.dumps(record), flush=True)
open("started", "a").write("x")
say(type="system", subtype="init", session_id="chat-1", model="Stand-in 1")
args = {"path": "made.txt", "fileText": "made\n"}
open("made.txt", "w").write("made\n")
say(type="tool_call", subtype="started", call_id="c1", tool_call={"writeToolCall": {"args": args}})
say(type="tool_call", subtype="completed", call_id="c1",
    tool_call={"writeToolCall": {"args": args, "result": {"success": {}}}})
text = "I was told: " + heard.strip().splitlines()[-1]
say(type="assistant", message={"content": [{"type": "text", "text": text}]})
say(type="result", subtype="success", is_error=False, result=text, session_id="chat-1")
"""
CODER: Final = """
[experts."coder"]
instruction = "You write code."
[experts."coder".skills."web"]
type = "mcpStdioSkill"
command = "npx"
packageName = "some-server"
"""
LEAD: Final = """
[experts."lead"]
instruction = "You are lead."
"""
TEAM: Final = """
[experts."lead"]
instruction = "You are lead."
delegates = ["coder"]

[experts."coder"]
description = "Writes code"
instruction = "You write code."
runtime = "cursor"
"""
DELEGATES: Final = """
[[turns]]
expert = "lead"
turn = 1
calls = [{ tool = "coder", args = { query = "make the file" } }]

[[turns]]
expert = "lead"
calls = [{ tool = "attemptCompletion" }]
text = "all made"
"""
KEY: Final = {"CURSOR_API_KEY": "cursor-canary-0123456789"}
Json = dict[str, Any]


def project(tmp_path: Path, toml: str, *, stand_in: bool = True, trusted: bool = True) -> Program:
    """A project whose `cursor` is the stand-in."""
    tmp_path.mkdir(exist_ok=True)
    script = tmp_path / "cursor_stand_in.py"
    script.write_text(STAND_IN)
    how = f"\n[runtimes.cursor]\ncommand = {json.dumps([sys.executable, str(script)])}\n"
    text = toml + (how if stand_in else "")
    return Program.make(tmp_path / "w", text, scenario=DELEGATES, env=KEY, trusted=trusted)


def executed_by(ran: Ran) -> list[tuple[str, str]]:
    return [(event["expertName"], event["runtime"]) for event in ran.all("initializeRuntime")]


# ---------------------------------------------------------------- selection


async def test_a_typed_runtime_executes_the_job_and_no_provider_key_is_asked_for(
    tmp_path: Path,
) -> None:
    program = project(tmp_path, CODER)
    without = {"ANTHROPIC_API_KEY": "", "OPENAI_API_KEY": ""}
    ran = await program.run("run", "coder", "make it", "--runtime", "cursor", env=without)
    assert ran.code == 0, ran.stderr
    assert executed_by(ran) == [("coder", "cursor")]
    assert ran.one("completeRun")["text"] == "I was told: make it"
    assert (program.workspace / "made.txt").read_text() == "made\n"


async def test_the_runtime_of_the_file_is_taken_unless_another_is_typed(tmp_path: Path) -> None:
    program = project(tmp_path, 'runtime = "cursor"\n' + SCRIPTED + CODER)
    ran = await program.run("run", "coder", "make it")
    assert executed_by(ran) == [("coder", "cursor")]
    other = await program.run("run", "coder", "make it", "--runtime", "perstack")
    assert other.code == 1  # npx cannot start its server here, and the scenario has no turn for it
    assert ("coder", "cursor") not in executed_by(other)


async def test_what_a_program_cannot_honour_is_noticed_wherever_the_run_is_looked_at(
    tmp_path: Path,
) -> None:
    program = project(tmp_path, CODER)
    ran = await program.run("run", "coder", "make it", "--runtime", "cursor")
    dropped = ran.one("startProgram")["dropped"]
    assert dropped == ["skill web (set up its MCP servers in the program)"]
    notice = f"cursor cannot honour: {dropped[0]}"
    log = await program.run("log", "--job", ran.job_id)
    page = await program.run("export", ran.job_id, "--format", "md", "-o", "-")
    for shown in (log.stdout, page.stdout):
        assert notice in shown
        assert "cursor asks Stand-in 1" in shown
    assert "Session: chat-1" in log.stdout


async def test_plain_progress_lines_have_the_notice(tmp_path: Path) -> None:
    program = project(tmp_path, CODER)
    words = ("start", "coder", "make it", "--plain", "--runtime", "cursor")
    ran = await program.run(*words)
    assert ran.code == 0, ran.stderr
    lines = (ran.stdout + ran.stderr).splitlines()
    assert "[coder] runs on cursor" in lines
    assert any(line.startswith("[coder] cursor cannot honour: skill web") for line in lines)
    assert any("write made.txt … ok" in line for line in lines)


async def test_status_names_a_runtime_that_is_not_the_usual_one(tmp_path: Path) -> None:
    told = (await project(tmp_path, 'runtime = "cursor"\n' + CODER).run("status")).stdout
    assert "Runtime       cursor; perstack runtimes tells whether it is ready" in told
    usual = (await project(tmp_path / "usual", CODER).run("status")).stdout
    assert "Runtime" not in usual


# ---------------------------------------------------------------- an Expert's own runtime


async def test_no_key_is_asked_for_where_programs_execute_all_experts(tmp_path: Path) -> None:
    program = project(tmp_path, CODER.replace('code."\n', 'code."\nruntime = "cursor"\n'))
    ran = await program.run("run", "coder", "make it", env={"ANTHROPIC_API_KEY": ""})
    assert ran.code == 0, ran.stderr
    assert executed_by(ran) == [("coder", "cursor")]


async def test_a_coordinator_of_ours_delegates_to_an_expert_of_a_program(tmp_path: Path) -> None:
    program = project(tmp_path, SCRIPTED + TEAM)
    ran = await program.run("run", "lead", "go")
    assert ran.code == 0, ran.stderr
    assert executed_by(ran)[:2] == [("lead", "perstack"), ("coder", "cursor")]
    assert ran.who("callDelegate", "completeRun") == [
        ("lead", "callDelegate"),
        ("coder", "completeRun"),
        ("lead", "completeRun"),
    ]
    done = ran.all("completeRun")[0]
    assert [event["runId"] for event in ran.all("startProgram")] == [done["runId"]]
    tree = await program.run("log", "--job", ran.job_id, "--json")
    assert "I was told: make the file" in tree.stdout


async def test_a_typed_runtime_is_that_of_all_experts(tmp_path: Path) -> None:
    program = project(tmp_path, SCRIPTED + TEAM)
    ran = await program.run("run", "lead", "go", "--runtime", "perstack")
    assert {name for _, name in executed_by(ran)} == {"perstack"}


async def test_the_same_gate_stands_before_a_delegation_to_a_program(tmp_path: Path) -> None:
    gates = '[consensus]\nenabled = true\nrequireForRiskLevels = ["low", "medium", "high"]\n'
    program = project(tmp_path, SCRIPTED + TEAM + gates)
    waits = await program.run("run", "lead", "go", "--no-wait")
    assert waits.code == 3, waits.stderr
    assert ("coder", "cursor") not in executed_by(waits)
    assert not (program.workspace / "started").exists()
    gate = waits.one("requestApproval")["consensusId"]
    assert (await program.run("consensus", "approve", gate)).code == 0
    goes_on = await program.run("run", "lead", "--continue-job", waits.job_id)
    assert goes_on.code == 0, goes_on.stderr
    assert ("coder", "cursor") in executed_by(goes_on)
    assert (program.workspace / "started").read_text() == "x"


# ---------------------------------------------------------------- before anything starts


async def test_an_unknown_runtime_is_refused_with_those_that_there_are(tmp_path: Path) -> None:
    program = project(tmp_path, CODER)
    ran = await program.run("run", "coder", "make it", "--runtime", "invalid-runtime")
    assert ran.code == 1
    assert (
        'Runtime "invalid-runtime" is not available. '
        "Available runtimes: perstack, docker, cursor, claude-code, gemini, codex" in ran.stderr
    )
    assert program.jobs() == []
    near = await program.run("run", "coder", "make it", "--runtime", "claude")
    assert "Hint: --runtime claude-code" in near.stderr


@pytest.mark.parametrize(
    ("toml", "expert"),
    [('runtime = "cursor"\n' + CODER, "coder"), (SCRIPTED + TEAM, "lead")],
    ids=["its own", "a delegate's"],
)
async def test_a_program_that_is_not_there_leaves_no_job_behind(
    tmp_path: Path, toml: str, expert: str
) -> None:
    missing = '[runtimes.cursor]\ncommand = ["no-such-cursor-agent"]\n'
    program = project(tmp_path, toml + missing, stand_in=False)
    ran = await program.run("run", expert, "make it")
    assert ran.code == 1
    assert 'Runtime "cursor" prerequisites not met: no-such-cursor-agent was not found' in (
        ran.stderr
    )
    assert "See: https://docs.cursor.com/cli" in ran.stderr
    assert ran.stdout == ""
    assert program.jobs() == []


async def test_a_key_that_is_missing_leaves_no_job_behind_and_starts_nothing(
    tmp_path: Path,
) -> None:
    program = project(tmp_path, CODER)
    words = ("run", "coder", "make it", "--runtime", "cursor")
    ran = await program.run(*words, env={"CURSOR_API_KEY": ""})
    assert ran.code == 1
    assert 'Runtime "cursor" prerequisites not met: CURSOR_API_KEY is not set' in ran.stderr
    assert "Hint: set CURSOR_API_KEY" in ran.stderr
    assert not (program.workspace / "started").exists()
    assert program.jobs() == []


async def test_a_variable_that_is_to_be_passed_and_is_not_set_is_said_before_anything_starts(
    tmp_path: Path,
) -> None:
    program = project(tmp_path, LEAD)
    ran = await program.run("run", "lead", "go", "--runtime", "cursor", "--env", "NO_SUCH_KEY")
    assert ran.code == 1
    assert "Missing required environment variables: NO_SUCH_KEY" in ran.stderr
    assert not (program.workspace / "started").exists()
    assert program.jobs() == []


async def test_going_on_with_a_job_asks_for_its_program_first(tmp_path: Path) -> None:
    program = project(tmp_path, 'runtime = "cursor"\n' + CODER)
    ran = await program.run("run", "coder", "make it")
    again = ("run", "coder", "more", "--continue-job", ran.job_id)
    refused = await program.run(*again, env={"CURSOR_API_KEY": ""})
    assert refused.code == 1
    assert "prerequisites not met" in refused.stderr
    went_on = await program.run(*again)
    assert went_on.code == 0, went_on.stderr
    assert went_on.one("startProgram")["continued"] == "chat-1"


# ---------------------------------------------------------------- going on


async def test_a_job_stays_with_the_program_that_executed_it_until_another_is_typed(
    tmp_path: Path,
) -> None:
    program = project(tmp_path, SCRIPTED + LEAD)
    begun = await program.run("run", "lead", "first", "--runtime", "cursor")
    on = await program.run("run", "lead", "second", "--continue")
    assert on.code == 0, on.stderr
    assert executed_by(on) == [("lead", "cursor")]
    assert on.job_id == begun.job_id
    moved = await program.run("run", "lead", "third", "--continue", "--runtime", "perstack")
    assert executed_by(moved) == [("lead", "perstack")]
    back = await program.run("run", "lead", "fourth", "--continue")
    assert executed_by(back) == [("lead", "perstack")]


async def test_no_history_starts_a_program_that_does_things_unasked_and_nobody_accepted(
    tmp_path: Path,
) -> None:
    # As in a repository that came with its history: the file says nothing of a program.
    program = project(tmp_path, SCRIPTED + LEAD, stand_in=False)
    folder = tmp_path / "bin"
    folder.mkdir()
    own = folder / "cursor-agent"
    own.write_text(f"#!{sys.executable}\n{STAND_IN}")
    own.chmod(0o755)
    env = {"PATH": f"{folder}{os.pathsep}{program.env['PATH']}"}
    begun = await program.run("run", "lead", "first", "--runtime", "cursor", env=env)
    assert executed_by(begun) == [("lead", "cursor")]
    started = program.workspace / "started"
    assert started.read_text() == "x"
    refused = await program.run("run", "lead", "second", "--continue", env=env)
    assert refused.code != 0
    assert "--runtime cursor" in refused.stderr
    assert started.read_text() == "x"
    on = await program.run("run", "lead", "second", "--continue", "--runtime", "cursor", env=env)
    assert executed_by(on) == [("lead", "cursor")]


async def test_going_on_with_a_programs_job_asks_for_no_key_of_a_provider(tmp_path: Path) -> None:
    program = project(tmp_path, LEAD)
    await program.run("run", "lead", "first", "--runtime", "cursor")
    without = {"ANTHROPIC_API_KEY": "", "OPENAI_API_KEY": ""}
    on = await program.run("run", "lead", "second", "--continue", env=without)
    assert on.code == 0, on.stderr
    assert executed_by(on) == [("lead", "cursor")]


# ---------------------------------------------------------------- consent


async def test_a_found_file_starts_no_program_that_nobody_accepted(tmp_path: Path) -> None:
    program = project(tmp_path, 'runtime = "cursor"\n' + CODER, trusted=False)
    ran = await program.run("run", "coder", "make it")
    assert ran.code == 1
    assert "to run Experts, and let it do anything unasked" in ran.stderr
    listed = await program.run("runtimes", "--json")
    assert listed.code == 0
    assert "left out" in listed.stderr
    assert json.loads(listed.stdout)["chosen"] == "perstack"
    assert not (program.workspace / "started").exists()
    assert program.jobs() == []


# ---------------------------------------------------------------- perstack runtimes


def only(path: str) -> Json:
    """An environment in which no program is found but those at `path`."""
    return {"PATH": path}


async def test_runtimes_are_listed_with_what_is_missing_and_how_to_get_it(tmp_path: Path) -> None:
    program = project(tmp_path, 'runtime = "cursor"\n' + SCRIPTED)
    ran = await program.run("runtimes", env=only(str(tmp_path)))
    assert ran.code == 0, ran.stderr
    lines = [" ".join(line.split()) for line in ran.stdout.splitlines()]
    assert lines[0] == "RUNTIME VERSION STATE"
    assert any(line.startswith("perstack ") and line.endswith(" ready") for line in lines)
    assert "* cursor 2099.1.2 ready" in lines
    missing = lines.index("claude-code - claude was not found")
    assert lines[missing + 1] == "npm install -g @anthropic-ai/claude-code"
    assert lines[missing + 2].startswith("See: https://")
    assert not (program.workspace / "started").exists()


async def test_runtimes_tell_programs_what_is_ready_and_why_not(tmp_path: Path) -> None:
    program = project(tmp_path, SCRIPTED)
    ran = await program.run("runtimes", "--json", env=only("") | {"CURSOR_API_KEY": ""})
    told = json.loads(ran.stdout)
    found = {one["name"]: one for one in told["runtimes"]}
    assert told["chosen"] == "perstack"
    assert list(found) == ["perstack", "docker", "claude-code", "gemini", "codex", "cursor"]
    assert found["docker"]["kind"] == "cli-not-found"
    assert found["perstack"]["ready"] is True
    assert found["gemini"]["kind"] == "cli-not-found"
    assert (found["cursor"]["kind"], found["cursor"]["ready"]) == ("auth-missing", False)
    assert found["cursor"]["version"] == "2099.1.2"


async def test_runtimes_need_no_definitions(tmp_path: Path) -> None:
    program = project(tmp_path, "")
    (program.workspace / "perstack.toml").unlink()
    ran = await program.run("runtimes", env=only(""))
    assert ran.code == 0, ran.stderr
    assert "perstack" in ran.stdout
    assert not (program.workspace / "perstack").exists()
