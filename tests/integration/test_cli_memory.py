"""`perstack memory`, one process after another over one workspace."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from perstack.errors import ConfigError, DeniedError, NotFoundError, UsageError
from tests.fakes.cli import SCRIPTED, Program
from tests.fakes.typed import Typed


@pytest.fixture
def typed(tmp_path: Path) -> Typed:
    return Typed(tmp_path)


def test_looking_where_nothing_was_kept_makes_nothing(typed: Typed) -> None:
    assert typed.says("memory", "search", "-q", "x") == "No results found.\n"
    assert typed.says("memory", "list") == "No entries.\n"
    assert typed.says("memory", "delete", "-k", "x") == "Entry not found.\n"
    assert typed.tells("memory", "stats")["stats"]["total"] == 0
    assert typed.tells("memory", "tags") == {"count": 0, "tags": []}
    for verb in (("get",), ("versions",), ("restore", "--version", "1")):
        assert isinstance(typed.refuses("memory", *verb, "-k", "x"), NotFoundError)
    assert list(typed.workspace.iterdir()) == []


def test_the_seeds_examples_work(typed: Typed) -> None:
    words = ("memory", "store", "-k", "pattern", "-c", "Use singleton for config")
    entry = typed.tells(*words)["entry"]
    assert (entry["key"], entry["namespace"]) == ("pattern", "default")
    typed.says("memory", "store", "-k", "pattern", "-c", "content", "-n", "architecture")
    found = typed.says("memory", "search", "-q", "singleton")
    assert "Key           pattern\n" in found
    assert "(fts)\n    Use singleton for config\n" in found
    told = typed.tells("memory", "search", "-q", "content", "-n", "architecture", "-l", "5")
    assert [one["entry"]["content"] for one in told["results"]] == ["content"]
    assert told["results"][0]["matchType"] == "fts"


def test_agentstack_row_46_deleting_what_is_not_there_says_so_and_is_no_error(typed: Typed) -> None:
    typed.says("memory", "store", "-k", "a", "-c", "x")
    assert typed.says("memory", "delete", "-k", "b") == "Entry not found.\n"
    assert typed.tells("memory", "delete", "-k", "b") == {
        "success": False,
        "message": "Entry not found",
    }
    assert typed.says("memory", "delete", "-k", "a") == "Entry deleted.\n"
    assert typed.tells("memory", "list")["total"] == 0


def test_what_was_replaced_is_listed_and_restored(typed: Typed) -> None:
    for content in ("one", "two"):
        typed.says("memory", "store", "-k", "a", "-c", content)
    (old,) = typed.tells("memory", "versions", "-k", "a")["versions"]
    assert old["content"] == "one"
    assert old["createdAt"].endswith("Z")
    typed.says("memory", "restore", "-k", "a", "--version", str(old["version"]))
    assert typed.tells("memory", "get", "-k", "a")["content"] == "one"
    assert "Earlier       2 versions" in typed.says("memory", "get", "-k", "a")
    error = typed.refuses("memory", "restore", "-k", "a", "--version", "9")
    assert isinstance(error, NotFoundError)


def test_lists_are_paged_and_filtered_by_tags(typed: Typed) -> None:
    for number in range(3):
        tags = ("--tag", "odd") if number % 2 else ("--tag", "even", "--tag", "x")
        typed.says("memory", "store", "-k", f"k{number}", "-c", "text", *tags)
    page = typed.tells("memory", "list", "-l", "2", "-o", "1")
    assert (page["total"], [one["key"] for one in page["entries"]]) == (3, ["k1", "k0"])
    assert "2 to 3 of 3" in typed.says("memory", "list", "-l", "2", "-o", "1")
    both = typed.tells("memory", "list", "--tag", "even", "--tag", "x")
    assert both["total"] == 2
    tags = typed.tells("memory", "tags")["tags"]
    assert {one["tag"]: one["count"] for one in tags} == {"even": 2, "x": 2, "odd": 1}


def test_agentstack_row_53_a_session_sees_its_own_namespace_and_no_other_sessions(
    typed: Typed,
) -> None:
    typed.says("memory", "store", "-k", "a", "-c", "mine", "--session", "s1")
    assert typed.tells("memory", "list", "-n", "session:s1")["total"] == 1
    words = ("memory", "get", "-k", "a", "-n", "session:s1", "--session", "s2")
    error = typed.refuses(*words)
    assert (type(error), error.exit_code) == (DeniedError, 4)
    assert typed.tells("memory", "list", "--all", "--session", "s2")["total"] == 0


def test_a_content_is_read_from_a_file_and_shown_inert(typed: Typed) -> None:
    file = typed.workspace / "note.txt"
    file.write_text("first\n\x1b]52;c;eA==\x07second")
    typed.says("memory", "store", "-k", "a\x1b[2J", "-c", f"@{file}")
    assert "‹U+001B›]52" in typed.says("memory", "get", "-k", "a\x1b[2J")
    assert "a‹U+001B›" in typed.says("memory", "list")
    assert typed.tells("memory", "get", "-k", "a\x1b[2J")["content"] == file.read_text()
    error = typed.refuses("memory", "store", "-k", "a", "-c", "@gone.txt")
    assert error.message == "File not found: gone.txt"


def test_a_vector_that_cannot_be_made_is_said(typed: Typed) -> None:
    result = typed.ends("memory", "store", "-k", "a", "-c", "x", "--embed")
    assert result.exit_code == 0
    assert "vector search is off" in result.stderr
    assert isinstance(typed.refuses("memory", "reindex"), UsageError)


def test_a_mistake_in_the_configuration_ends_what_writes_and_not_what_looks(typed: Typed) -> None:
    typed.says("memory", "store", "-k", "a", "-c", "x")
    (typed.workspace / "perstack.toml").write_text("experts = 3")
    assert isinstance(typed.refuses("memory", "store", "-k", "b", "-c", "y"), ConfigError)
    assert typed.tells("memory", "list")["total"] == 1
    assert "is left out" in typed.ends("memory", "list").stderr


@pytest.mark.parametrize(
    "words",
    [
        ("store", "-k", "", "-c", "x"),
        ("store", "-k", "k" * 501, "-c", "x"),
        ("store", "-k", "a", "-c", ""),
        ("store", "-k", "a", "-c", "x", "--tag", "a b"),
        ("search", "-q", "x", "-l", "0"),
        ("search", "-q", "x", "--threshold", "2"),
        ("list", "-l", "1001"),
        ("list", "-o", "-1"),
    ],
)
def test_agentstack_row_43_what_is_out_of_bounds_is_refused(
    typed: Typed, words: tuple[str, ...]
) -> None:
    typed.says("memory", "store", "-k", "there", "-c", "x")
    assert isinstance(typed.refuses("memory", *words), UsageError)


@settings(
    max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(query=st.text(max_size=40).filter(lambda text: not text.startswith(("@", "-"))))
def test_agentstack_row_47_no_query_is_an_error_of_the_search(typed: Typed, query: str) -> None:
    if not (typed.workspace / "perstack").exists():
        typed.says("memory", "store", "-k", "a", "-c", "error-handling, what's up? C++ user.name")
    assert typed.tells("memory", "search", f"--query={query}")["count"] in (0, 1)


@pytest.mark.anyio
async def test_two_programs_share_what_is_remembered(tmp_path: Path) -> None:
    program = Program.make(tmp_path, SCRIPTED)
    stored = await program.run("memory", "store", "-k", "a", "-c", "Use singleton")
    assert stored.code == 0, stored.stderr
    found = await program.run_words(
        sys.executable, "-m", "perstack", "memory", "search", "-q", "singleton", "--json"
    )
    assert (found.code, "Use singleton" in found.stdout) == (0, True)
