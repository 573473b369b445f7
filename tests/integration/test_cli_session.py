"""`perstack session`, one process after another over one workspace."""

from __future__ import annotations

from pathlib import Path

import pytest

from perstack.errors import NotFoundError, UsageError
from tests.fakes.cli import SCRIPTED, Program
from tests.fakes.typed import Typed


@pytest.fixture
def typed(tmp_path: Path) -> Typed:
    return Typed(tmp_path)


def test_looking_where_no_session_ever_was_makes_nothing(typed: Typed) -> None:
    assert typed.says("session", "list") == "No sessions.\n"
    assert typed.says("session", "active") == "No active session.\n"
    assert typed.tells("session", "active") == {"active": False}
    assert typed.tells("session", "list") == {"count": 0, "sessions": []}
    for verb in ("end", "status"):
        assert isinstance(typed.refuses("session", verb), NotFoundError)
    assert list(typed.workspace.iterdir()) == []


def test_a_session_that_one_process_began_is_ended_by_another(typed: Typed) -> None:
    begun = typed.tells("session", "start", "--metadata", '{"goal": "ship \\u001b[2J"}')
    assert begun["status"] == "active"
    assert begun["startedAt"].endswith("Z")
    active = typed.tells("session", "active")
    assert (active["active"], active["session"]["id"]) == (True, begun["id"])
    report = typed.tells("session", "status")
    assert (report["id"], report["tasks"]["total"]) == (begun["id"], 0)
    assert "ship" in typed.says("session", "list")
    assert typed.tells("session", "end", begun["id"])["status"] == "ended"
    again = typed.refuses("session", "end", begun["id"])
    assert (again.message, again.exit_code) == ("Session not found or already ended", 4)
    assert typed.says("session", "active") == "No active session.\n"
    ended = typed.tells("session", "list", "--status", "ended")
    assert [one["id"] for one in ended["sessions"]] == [begun["id"]]


def test_agentstack_row_132_ending_a_session_forgets_what_only_it_remembered(typed: Typed) -> None:
    Program.make(typed.workspace, SCRIPTED)
    session = typed.tells("session", "start")["id"]
    typed.says("memory", "store", "-k", "plan", "-c", "own", "--session", session)
    typed.says("memory", "store", "-k", "plan", "-c", "everybody's")
    typed.tells("agent", "spawn", "-t", "coder", "-n", "bob", "-s", session)
    typed.says("session", "end", session)
    assert typed.tells("memory", "list", "-n", f"session:{session}")["total"] == 0
    assert typed.tells("memory", "get", "-k", "plan")["content"] == "everybody's"
    assert typed.tells("agent", "list")["count"] == 0


@pytest.mark.parametrize("given", ["[1]", "{", "1", '"text"', "[" * 100_000])
def test_metadata_that_is_no_object_is_refused(typed: Typed, given: str) -> None:
    error = typed.refuses("session", "start", "--metadata", given)
    assert isinstance(error, UsageError)
    assert error.message.startswith("--metadata is no JSON")
    assert list(typed.workspace.iterdir()) == []


def test_metadata_is_read_from_a_file(typed: Typed) -> None:
    file = typed.workspace / "about.json"
    file.write_text('{"goal": "ship"}')
    begun = typed.tells("session", "start", "--metadata", f"@{file}")
    assert begun["metadata"] == {"goal": "ship"}
    error = typed.refuses("session", "start", "--metadata", "@nowhere.json")
    assert error.message == "File not found: nowhere.json"


def test_a_workspace_that_is_none_is_refused(tmp_path: Path) -> None:
    for verb in ("start", "end", "status", "list", "active"):
        assert isinstance(Typed(tmp_path / "no").refuses("session", verb), UsageError)
