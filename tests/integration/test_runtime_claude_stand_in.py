"""`perstack run` with a stand-in for `claude`, where no npm is needed: it plays written records.

The real program is in `test_runtime_claude.py`.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any, Final

import pytest

from tests.fakes import claude_program
from tests.fakes.cli import ANTHROPIC_KEY, Program, accept_all, is_subsequence
from tests.unit.runtimes.test_claude_reader import call, ends, gives, result, says, starts, text

pytestmark = pytest.mark.anyio

STAND_IN: Final = [sys.executable, str(Path(claude_program.__file__))]
TOML: Final = f"""
runtime = "claude-code"
[runtimes.claude-code]
command = {json.dumps(STAND_IN)}
[experts."lead"]
instruction = "You are lead."
"""
INIT: Final = {"type": "system", "subtype": "init", "session_id": "s1", "model": "claude-x"}


def playing(folder: Path, *script: dict[str, Any]) -> Program:
    program = Program.make(folder, TOML)
    (folder / "claude-script.json").write_text(json.dumps(script))
    return program


async def test_its_steps_are_steps_of_the_run_and_its_users_key_stays_here(tmp_path: Path) -> None:
    script = [INIT, starts(), says(call("t1")), *ends(), gives("t1", "seen")]
    script += [starts("msg_2"), says(text("All done."), id_="msg_2"), *ends(), result()]
    ran = await playing(tmp_path, *script).run("run", "lead", "Do it.")
    assert ran.code == 0, ran.stderr
    wanted = ["startRun", "startProgram", "beginSession", "callTools", "toolReturned"]
    assert is_subsequence([*wanted, "continueToNextStep", "completeRun"], ran.types())
    last = ran.one("completeRun")
    assert last["text"] == "All done."
    assert last["checkpoint"]["metadata"] == {"runtime": "claude-code", "sessionId": "s1"}
    assert last["checkpoint"]["costUsd"] == pytest.approx(0.25)
    began = (tmp_path / "claude-call.json").read_text()
    assert json.loads(began)["prompt"] == "Do it."
    assert ANTHROPIC_KEY not in began


async def test_without_a_login_the_run_fails_and_says_what_to_do(tmp_path: Path) -> None:
    error = says(text("Please run /login"), error="authentication_failed")
    failed = result(is_error=True, result="Please run /login")
    ran = await playing(tmp_path, INIT, error, failed).run("run", "lead", "Do it.")
    assert ran.code == 1
    assert "claude failed: Please run /login" in ran.stderr
    assert "sign in" in ran.stderr


@pytest.mark.parametrize("name", ["claude-code", "claude_code"])
async def test_an_agent_s_provider_may_be_the_program(tmp_path: Path, name: str) -> None:
    script = [INIT, starts(), says(text("All done.")), *ends(), result()]
    program = playing(tmp_path, *script)
    toml = program.workspace / "perstack.toml"
    # Another runtime is the project's.
    toml.write_text(toml.read_text().replace('runtime = "claude-code"', "", 1))
    accept_all(toml, program.env)
    words = ("-p", "Look.", "-n", "ann", "--provider", name, "--json")
    ran = await program.run("agent", "run", "-t", "lead", *words)
    assert ran.code == 0, ran.stderr
    assert json.loads(ran.stdout)["response"] == "All done."
    more = await program.run("agent", "exec", *words)
    assert more.code == 0, more.stderr
    assert "--resume=s1" in json.loads((tmp_path / "claude-call.json").read_text())["argv"]
