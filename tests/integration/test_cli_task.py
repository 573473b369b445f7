"""`perstack task`, one process after another over one workspace."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import pytest

from perstack.errors import ConfigError, ConflictError, NotFoundError, UsageError
from tests.fakes.cli import SCRIPTED, Program
from tests.fakes.typed import Typed

GATES: Final = SCRIPTED + "[consensus]\nenabled = true\n"
DISPATCHES: Final = """
[[turns]]
text = '{"agentType": "tester", "confidence": 0.9, "reasoning": "It is about tests"}'
"""
DRIFT: Final = """
[driftDetection]
enabled = true
behavior = "prevent"
[memory.vectorSearch]
enabled = true
provider = "hashed"
"""


@pytest.fixture
def typed(tmp_path: Path) -> Typed:
    return Typed(tmp_path)


@pytest.fixture
def gated(tmp_path: Path) -> Typed:
    return Typed(Program.make(tmp_path, GATES, scenario=DISPATCHES).workspace)


def make(typed: Typed, *words: str) -> str:
    return typed.tells("task", "create", "-t", "coder", *words)["task"]["id"]


def test_looking_where_no_task_ever_was_makes_nothing(typed: Typed) -> None:
    assert typed.says("task", "list") == "No tasks.\n"
    assert typed.tells("task", "list") == {"count": 0, "tasks": []}
    assert typed.says("task", "queue") == "0 waiting, 0 being done\n"
    assert typed.says("task", "relationships", "x") == "No relationships.\n"
    assert typed.says("task", "delete", "x") == "Task not found.\n"
    for verb in (("get", "x"), ("assign", "x", "-a", "y"), ("complete", "x"), ("fail", "x")):
        error = typed.refuses("task", *verb)
        assert (type(error), error.message) == (NotFoundError, "Task not found"), verb
    assert list(typed.workspace.iterdir()) == []


def test_agentstack_row_66_a_task_goes_from_command_to_command(typed: Typed) -> None:
    Program.make(typed.workspace, SCRIPTED)
    file = typed.workspace / "what.txt"
    file.write_text("write it \x1b[2J")
    first = make(typed, "-i", f"@{file}")
    agent = typed.tells("agent", "spawn", "-t", "coder", "-n", "bob")["agent"]["id"]
    assert typed.says("task", "assign", first, "-a", agent) == "Task assigned and running.\n"
    again = typed.refuses("task", "assign", first, "-a", agent)
    assert isinstance(again, ConflictError)
    assert typed.tells("task", "list", "--status", "running")["count"] == 1
    failed = typed.tells("task", "fail", first, "--output", "no room")
    assert (failed["status"], failed["output"]) == ("failed", "no room")
    assert "completedAt" in failed
    shown = typed.says("task", "get", first)
    assert "write it ‹U+001B›[2J" in shown
    assert "    no room\n" in shown
    second = make(typed)
    assert typed.tells("task", "complete", second)["status"] == "completed"
    assert isinstance(typed.refuses("task", "complete", second), ConflictError)
    assert typed.says("task", "delete", second) == "Task deleted.\n"
    assert [one["id"] for one in typed.tells("task", "list")["tasks"]] == [first]


def test_a_task_with_a_priority_is_queued(typed: Typed) -> None:
    low, high = make(typed, "--priority", "3"), make(typed, "--priority", "9")
    queue = typed.tells("task", "queue")
    assert queue["status"] == {"queued": 2, "processing": 0, "total": 2}
    assert [one["task"]["id"] for one in queue["queued"]] == [high, low]
    assert typed.says("task", "queue", "-l", "1").splitlines()[-1].startswith(high)


def test_a_child_is_related_to_its_parent_which_cannot_be_deleted_before_it(typed: Typed) -> None:
    parent = make(typed, "-i", "all of it")
    child = make(typed, "-i", "a part", "--parent", parent)
    (found,) = typed.tells("task", "relationships", child)["relationships"]
    assert (found["fromTaskId"], found["relationshipType"]) == (parent, "parent_of")
    outgoing = typed.tells("task", "relationships", child, "--direction", "outgoing")
    assert outgoing["count"] == 0
    assert isinstance(typed.refuses("task", "delete", parent), ConflictError)


def test_agentstack_row_101_a_risky_child_waits_for_a_decision_and_no_task_is_there(
    gated: Typed,
) -> None:
    parent = make(gated, "-i", "release it")
    words = ("task", "create", "-t", "devops", "-i", "deploy to production", "--parent", parent)
    waiting = gated.tells(*words, code=3)
    assert (waiting["success"], waiting["consensusRequired"]) == (False, True)
    assert waiting["checkpoint"]["riskLevel"] == "high"
    assert gated.tells("task", "list")["count"] == 1
    asked = gated.ends(*words)
    assert asked.exit_code == 3
    assert "Checkpoint" in asked.stdout
    assert "A decision is awaited: perstack consensus show " in asked.stderr
    gated.ends("consensus", "approve", waiting["checkpointId"])
    made = gated.tells("task", "list")["tasks"]
    assert [one["agentType"] for one in made] == ["devops", "coder"]


def test_a_mistake_in_the_configuration_never_drops_a_gate(gated: Typed) -> None:
    parent = make(gated, "-i", "release it")
    (gated.workspace / "perstack.toml").write_text("consensus = 3")
    words = ("task", "create", "-t", "devops", "-i", "deploy", "--parent", parent)
    assert isinstance(gated.refuses(*words), ConfigError)
    assert gated.tells("task", "list")["count"] == 1


def test_agentstack_row_64_a_task_without_a_type_gets_one(gated: Typed) -> None:
    made = gated.tells("task", "create", "-i", "test the parser")
    assert made["task"]["agentType"] == "tester"
    assert made["dispatch"]["confidence"] == 0.9
    assert gated.tells("task", "create")["task"]["agentType"] == "coder"


def test_agentstack_row_85_a_task_that_repeats_its_parent_is_refused(tmp_path: Path) -> None:
    typed = Typed(Program.make(tmp_path, SCRIPTED + DRIFT).workspace)
    parent = make(typed, "-i", "write the parser of the configuration")
    words = ("-i", "write the parser of the configuration", "--parent", parent)
    refused = typed.tells("task", "create", "-t", "coder", *words, code=4)
    assert refused["error"] == "Task creation prevented due to semantic drift"
    assert typed.tells("task", "list")["count"] == 1
    checked = typed.tells("task", "drift", "check", "-t", "coder", *words)
    assert (checked["result"]["isDrift"], checked["result"]["action"]) == (True, "prevented")
    assert typed.tells("task", "drift", "metrics")["metrics"]["preventedCount"] == 2
    later = typed.tells("task", "drift", "metrics", "--since", "2999-01-01")
    assert later["metrics"]["totalEvents"] == 0
    assert "prevented" in typed.says("task", "drift", "metrics")


def test_agentstack_row_93_metrics_without_checks_are_zeros(typed: Typed) -> None:
    assert typed.tells("task", "drift", "metrics")["metrics"]["totalEvents"] == 0


@pytest.mark.parametrize(
    "words",
    [
        ("create", "--risk", "huge"),
        ("create", "--priority", "11"),
        ("create", "-t", ""),
        ("list", "--status", "lost"),
        ("list", "-l", "0"),
        ("queue", "-l", "0"),
        ("relationships", "x", "--direction", "up"),
        ("drift", "check", "-t", "coder", "-i", ""),
        ("drift", "metrics", "--since", "yesterday"),
    ],
)
def test_what_does_not_fit_is_refused(typed: Typed, words: tuple[str, ...]) -> None:
    make(typed)
    assert isinstance(typed.refuses("task", *words), UsageError)


def test_what_is_not_there_is_said(typed: Typed) -> None:
    first = make(typed)
    for words, said in (
        (("create", "--parent", "nope"), "Parent task not found"),
        (("create", "--session", "nope"), "Session not found"),
        (("assign", first, "-a", "nope"), "Agent not found"),
    ):
        error = typed.refuses("task", *words)
        assert (error.message, error.exit_code) == (said, 4)
