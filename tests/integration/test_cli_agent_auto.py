"""`perstack agent auto`: a model says who does it, then that one does it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Final

import pytest
from typer.testing import CliRunner, Result

from perstack.cli.agent import agent_app
from perstack.errors import PerstackError
from tests.fakes.cli import SCRIPTED, Program

STORY: Final = """
[[turns]]
expert = "dispatcher"
[[turns.calls]]
tool = "choose"
args = { agentType = "tester", confidence = 0.93, reasoning = "It asks for tests\\u001b[2J" }

[[turns]]
expert = "tester"
text = "Tested."
"""


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    return Program.make(tmp_path, SCRIPTED, scenario=STORY).workspace


def invoke(workspace: Path, *args: str, typed: str | None = None) -> Result:
    return CliRunner().invoke(
        agent_app(), ["auto", *args, "--workspace", str(workspace)], input=typed
    )


def test_a_dry_run_says_who_and_why_and_spawns_nobody(workspace: Path) -> None:
    said = invoke(workspace, "Write tests for the parser", "--dry-run")
    assert said.exit_code == 0, said.exception
    assert "Agent         tester" in said.stdout
    assert "Confidence    93%" in said.stdout
    assert "It asks for tests" in said.stdout
    assert "\x1b" not in said.stdout
    listed = CliRunner().invoke(agent_app(), ["list", "--json", "--workspace", str(workspace)])
    assert json.loads(listed.stdout)["count"] == 0


def test_the_one_that_was_chosen_does_it(workspace: Path) -> None:
    said = invoke(workspace, "Write tests", "-n", "bob")
    assert said.exit_code == 0, said.exception
    assert "Tested." in said.stdout
    listed = CliRunner().invoke(agent_app(), ["list", "--json", "--workspace", str(workspace)])
    assert [(one["name"], one["type"]) for one in json.loads(listed.stdout)["agents"]] == [
        ("bob", "tester")
    ]


@pytest.mark.parametrize(("answer", "code"), [("n\n", 1), ("\n", 1), ("y\n", 0)])
def test_confirm_asks_first(workspace: Path, answer: str, code: int) -> None:
    said = invoke(workspace, "Write tests", "--confirm", typed=answer)
    assert said.exit_code == code
    assert ("Tested." in said.stdout) is (code == 0)


def test_the_task_may_be_in_a_file(workspace: Path) -> None:
    (workspace / "task.txt").write_text("Write tests")
    said = invoke(workspace, f"@{workspace / 'task.txt'}", "--json")
    assert json.loads(said.stdout)["response"] == "Tested."
    error = invoke(workspace, "@nothing.txt").exception
    assert isinstance(error, PerstackError)
    assert error.message == "File not found: nothing.txt"


def test_without_a_dispatcher_it_is_said(tmp_path: Path) -> None:
    toml = SCRIPTED + "[smartDispatcher]\nenabled = false\n"
    workspace = Program.make(tmp_path, toml, scenario=STORY).workspace
    error = invoke(workspace, "Write tests").exception
    assert isinstance(error, PerstackError)
    assert "not enabled" in error.message
