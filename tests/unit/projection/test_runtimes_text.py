"""What can execute Experts, as a table and as JSON."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from perstack.ports.programs import Installed
from perstack.projection.inert import inert
from perstack.projection.runtimes_text import runtimes_json, runtimes_lines

FOUND = (
    Installed("perstack", version="0.1.0"),
    Installed("claude-code", version="2.1.197"),
    Installed(
        "gemini",
        version="0.61.0",
        problem="GEMINI_API_KEY is not set",
        kind="auth-missing",
        hint="set GEMINI_API_KEY",
        url="https://example.com",
    ),
    Installed("cursor", problem="cursor-agent was not found", kind="cli-not-found"),
)


def test_the_table_has_a_line_each_with_what_to_do_below_and_marks_the_chosen_one() -> None:
    assert list(runtimes_lines(FOUND, "gemini")) == [
        "   RUNTIME      VERSION  STATE",
        "   perstack     0.1.0    ready",
        "   claude-code  2.1.197  installed; its own login is used",
        "*  gemini       0.61.0   GEMINI_API_KEY is not set",
        "    set GEMINI_API_KEY",
        "    See: https://example.com",
        "   cursor       -        cursor-agent was not found",
    ]


def test_json_says_which_are_ready_and_why_others_are_not() -> None:
    told = runtimes_json(FOUND, "perstack")
    assert told["chosen"] == "perstack"
    rows = told["runtimes"]
    assert isinstance(rows, list)
    assert rows[2] == {
        "name": "gemini",
        "version": "0.61.0",
        "ready": False,
        "chosen": False,
        "kind": "auth-missing",
        "problem": "GEMINI_API_KEY is not set",
        "hint": "set GEMINI_API_KEY",
        "url": "https://example.com",
    }
    assert [row["ready"] for row in rows if isinstance(row, dict)] == [True, True, False, False]


@given(said=st.text(max_size=30))
def test_no_terminal_acts_on_what_a_program_said_of_itself(said: str) -> None:
    found = (Installed("codex", version=said, problem=said or None, hint=said, url=said),)
    for line in runtimes_lines(found, "perstack"):
        assert line == inert(line, newlines=False)
