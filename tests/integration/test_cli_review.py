"""`perstack review`: loops that one process drives, others look at, end and go on with."""

from __future__ import annotations

import json
import signal
from pathlib import Path
from typing import Final

import pytest

from perstack.errors import ConfigError, ConflictError, NotFoundError, UsageError
from tests.fakes.cli import SCRIPTED, Program
from tests.fakes.typed import Typed

EXPERTS: Final = """
[experts."coder"]
instruction = "You are coder."
[experts."adversarial"]
instruction = "You are adversarial."
"""
CODES: Final = """
[[turns]]
expert = "coder"
turn = 1
calls = [{ tool = "submitCode", args = { code = "x = 1  # \\u001b[2J" } }]
[[turns]]
expert = "coder"
text = "done"
"""
APPROVES: Final = """
[[turns]]
expert = "adversarial"
turn = 1
calls = [{ tool = "submitVerdict", args = { verdict = "APPROVE", summary = "good" } }]
[[turns]]
expert = "adversarial"
text = "done"
"""
REJECTS: Final = """
[[turns]]
expert = "adversarial"
turn = 1
[[turns.calls]]
tool = "submitVerdict"
[turns.calls.args]
verdict = "REJECT"
issues = [{ severity = "HIGH", title = "No \\u001b[2J types", requiredFix = "Add them" }]
[[turns]]
expert = "adversarial"
text = "done"
"""
GATED: Final = """
[experts."coder"]
instruction = "You are coder."
[experts."coder".skills."@perstack/base"]
type = "mcpStdioSkill"
command = "npx"
packageName = "@perstack/base"
requireApproval = ["writeTextFile"]
[experts."adversarial"]
instruction = "You are adversarial."
"""
WRITES: Final = """
[[turns]]
expert = "coder"
turn = 1
calls = [{ tool = "writeTextFile", args = { path = "x.txt", text = "x" } }]
[[turns]]
expert = "coder"
turn = 2
calls = [{ tool = "submitCode", args = { code = "x = 1" } }]
[[turns]]
expert = "coder"
text = "done"
"""
ENDLESS: Final = """
[defaults]
latency_ms = 20
[[turns]]
expert = "coder"
calls = [{ tool = "listDirectory", args = { path = "." } }]
"""


def stage(folder: Path, scenario: str) -> Typed:
    return Typed(Program.make(folder, SCRIPTED + EXPERTS, scenario=scenario).workspace)


def test_looking_where_no_loop_ever_was_makes_nothing(tmp_path: Path) -> None:
    typed = Typed(tmp_path)
    assert typed.says("review", "list") == "No review loops.\n"
    assert typed.tells("review", "list", "--all") == {"count": 0, "loops": []}
    for verb in ("status", "issues", "code", "abort", "resume"):
        error = typed.refuses("review", verb, "x")
        assert (type(error), error.message) == (NotFoundError, "Review loop not found"), verb
    assert list(tmp_path.iterdir()) == []


def test_agentstack_row_120_code_that_is_approved_ends_with_zero(tmp_path: Path) -> None:
    typed = stage(tmp_path, CODES + APPROVES)
    file = tmp_path / "what.txt"
    file.write_text("assign one")
    ended = typed.ends("review", "start", f"@{file}", "--json")
    assert ended.exit_code == 0
    told = json.loads(ended.stdout)
    assert told["message"] == "Code approved after 1 iteration(s)"
    assert told["finalCode"] == "x = 1  # \x1b[2J"
    assert "Review 1: APPROVE, 0 issues." in ended.stderr
    loop = told["loop"]["id"]
    assert typed.tells("review", "list")["count"] == 0
    assert typed.tells("review", "list", "--all")["loops"][0]["id"] == loop
    assert typed.says("review", "code", loop) == "x = 1  # ‹U+001B›[2J\n"
    assert typed.tells("review", "code", loop)["originalInput"] == "assign one"
    assert "approved" in typed.says("review", "status", loop)
    again = typed.refuses("review", "abort", loop)
    assert (type(again), again.exit_code) == (ConflictError, 4)


def test_agentstack_row_122_code_that_is_rejected_ends_with_one_and_its_issues(
    tmp_path: Path,
) -> None:
    typed = stage(tmp_path, CODES + REJECTS)
    told = typed.tells("review", "start", "assign one", "--max-iterations", "1", code=1)
    assert (told["success"], told["loop"]["phase"]) == (False, "max_iterations_reached")
    loop = told["loop"]["id"]
    issues = typed.tells("review", "issues", loop)["reviews"][0]["issues"]
    assert [(one["severity"], one["requiredFix"]) for one in issues] == [("high", "Add them")]
    shown = typed.says("review", "issues", loop)
    assert "  [HIGH] No ‹U+001B›[2J types\n    Fix: Add them\n" in shown
    # One that has ended is only shown.
    assert typed.tells("review", "resume", loop, code=1)["loop"]["id"] == loop


def test_a_loop_that_is_only_written_is_driven_later(tmp_path: Path) -> None:
    typed = stage(tmp_path, CODES + APPROVES)
    written = typed.tells("review", "start", "assign one", "--no-wait")["loop"]
    assert (written["phase"], typed.tells("review", "list")["count"]) == ("pending", 1)
    assert typed.says("review", "code", written["id"]) == "No code yet.\n"
    assert typed.says("review", "issues", written["id"]) == "No reviews yet.\n"
    assert typed.tells("review", "resume", written["id"])["success"]
    other = typed.tells("review", "start", "another", "--no-wait")["loop"]["id"]
    assert typed.says("review", "abort", other) == "Review loop aborted.\n"
    assert typed.tells("review", "resume", other, code=1)["loop"]["phase"] == "aborted"


def test_without_a_key_nothing_is_begun(tmp_path: Path) -> None:
    typed = Typed(tmp_path)
    assert isinstance(typed.refuses("review", "start", "x"), ConfigError)
    assert typed.tells("review", "list", "--all")["count"] == 0


@pytest.mark.parametrize(
    "words", [("start", " "), ("start", "x", "--max-iterations", "11"), ("list", "-l", "0")]
)
def test_agentstack_row_128_what_does_not_fit_is_refused(
    tmp_path: Path, words: tuple[str, ...]
) -> None:
    assert isinstance(stage(tmp_path, CODES).refuses("review", *words), UsageError)


@pytest.mark.long
@pytest.mark.anyio
async def test_ctrl_c_stops_a_loop_at_a_checkpoint_and_says_how_to_go_on(tmp_path: Path) -> None:
    program = Program.make(tmp_path, SCRIPTED + EXPERTS, scenario=ENDLESS)
    async with program.running("review", "start", "assign one") as running:
        await running.wait_for(lambda: b"writes the code" in running.err)
        running.send(signal.SIGINT)
        ended = await running.ended()
    assert ended.code == 130, ended.stderr
    (again,) = [line for line in ended.stderr.splitlines() if line.startswith("Stopped.")]
    words = again.split("perstack ", 1)[1].split()
    assert words[:2] == ["review", "resume"]
    (tmp_path / "scenario.toml").write_text(CODES + APPROVES)
    resumed = await program.run(*words, "--json")
    assert resumed.code == 0, resumed.stderr
    assert json.loads(resumed.stdout)["loop"]["id"] == words[2]


@pytest.mark.anyio
async def test_an_expert_that_waits_for_a_person_is_said_with_what_to_type(tmp_path: Path) -> None:
    program = Program.make(tmp_path, SCRIPTED + GATED, scenario=WRITES + APPROVES)
    mark = "A decision is awaited: perstack consensus show "
    async with program.running("review", "start", "assign one") as running:
        await running.wait_for(lambda: mark in running.err.decode() and running.err.endswith(b"\n"))
        gate = running.err.decode().split(mark)[1].split()[0]
        approved = await program.run("consensus", "approve", gate)
        assert approved.code == 0, approved.stderr
        ended = await running.ended()
    assert ended.code == 0, ended.stderr
    assert (tmp_path / "x.txt").read_text() == "x"
