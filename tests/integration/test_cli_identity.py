"""`perstack identity`, one process after another over one workspace."""

from __future__ import annotations

from pathlib import Path

import pytest

from perstack.errors import NotFoundError, UsageError
from tests.fakes.typed import Typed


@pytest.fixture
def typed(tmp_path: Path) -> Typed:
    return Typed(tmp_path)


def test_looking_where_no_identity_ever_was_makes_nothing(typed: Typed) -> None:
    assert typed.says("identity", "list") == "No identities.\n"
    assert typed.tells("identity", "list") == {"count": 0, "identities": []}
    for verb in ("get", "update", "activate", "deactivate", "retire", "audit"):
        error = typed.refuses("identity", verb, "-i", "x")
        assert (type(error), error.message) == (NotFoundError, "Identity not found"), verb
    assert list(typed.workspace.iterdir()) == []


def test_an_identity_lives_from_command_to_command(typed: Typed) -> None:
    made = typed.tells(
        *("identity", "create", "-t", "coder", "-n", "Bob", "--description", "Writes"),
        *("--capabilities", '[{"name": "review", "enabled": true, "version": "2"}]'),
        *("--metadata", '{"team": 1}', "--created-by", "ann"),
    )
    assert (made["status"], made["createdBy"], made["metadata"]) == ("created", "ann", {"team": 1})
    which = made["agentId"]
    assert typed.tells("identity", "get", "-n", "Bob") == typed.tells(
        "identity", "get", "-i", which
    )
    assert typed.tells("identity", "activate", "-i", which)["status"] == "active"
    assert typed.tells("identity", "update", "-i", which, "-n", "Bo")["version"] == 2
    assert typed.tells("identity", "deactivate", "-i", which)["status"] == "dormant"
    gone = typed.tells("identity", "retire", "-i", which, "--reason", "old", "--actor", "eve")
    assert (gone["status"], gone["retirementReason"]) == ("retired", "old")
    error = typed.refuses("identity", "retire", "-i", which)
    assert (error.message, error.exit_code) == ("Identity is already retired", 4)
    audit = typed.tells("identity", "audit", "-i", which)
    assert audit["entries"][0]["actorId"] == "eve"
    assert [entry["action"] for entry in audit["entries"]] == [
        *("retired", "deactivated", "updated", "activated", "created"),
    ]
    assert len(typed.tells("identity", "audit", "-i", which, "-l", "2")["entries"]) == 2
    assert "active -> dormant" in typed.says("identity", "audit", "-i", which)


def test_lists_are_filtered_and_hostile_names_are_inert(typed: Typed) -> None:
    typed.says("identity", "create", "-t", "coder", "-n", "a\x1b[2J\u202eb", "--activate")
    typed.says("identity", "create", "-t", "tester")
    assert typed.tells("identity", "list", "--status", "active")["count"] == 1
    assert typed.tells("identity", "list", "-t", "tester")["count"] == 1
    assert typed.tells("identity", "list", "-l", "1", "-o", "1")["count"] == 1
    assert "‹U+001B›" in typed.says("identity", "list")


@pytest.mark.parametrize(
    "words",
    [
        ("get",),
        ("create", "-t", ""),
        ("create", "-t", "coder", "--capabilities", '{"name": "x"}'),
        ("create", "-t", "coder", "--capabilities", "nonsense"),
        ("create", "-t", "coder", "--metadata", "[]"),
        ("list", "--status", "gone"),
        ("list", "-l", "0"),
    ],
)
def test_what_does_not_fit_is_refused(typed: Typed, words: tuple[str, ...]) -> None:
    typed.says("identity", "create", "-t", "coder")
    assert isinstance(typed.refuses("identity", *words), UsageError)
