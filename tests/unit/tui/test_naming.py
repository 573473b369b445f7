"""What an entry names: the file at its line, links, the command with its real query."""

from __future__ import annotations

import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from perstack.domain.ids import ToolCallId
from perstack.domain.messages import ToolCallPart
from perstack.errors import PerstackError
from perstack.projection.entries import call_entry
from perstack.projection.views import CallView, EntryView
from perstack_tui.locating import locate
from perstack_tui.state.links import MOST, links_in
from perstack_tui.state.shell import run_form
from perstack_tui.state.wording import versioned
from tests.fakes.gateway import job, run


def named(
    path: str, args: str = "", before: str | None = None, after: str | None = None
) -> CallView:
    return CallView("tool", "@perstack/base", args, before, after, path=path)


def test_a_call_keeps_the_path_that_it_names() -> None:
    made = ToolCallPart(
        tool_call_id=ToolCallId("t"), tool_name="readTextFile", args={"path": "a b.md", "from": 2}
    )
    call = call_entry(made, None, 0).call
    assert call is not None
    assert call.path == "a b.md"


def test_file_is_opened_where_the_tool_was_at_work(tmp_path: Path) -> None:
    file = tmp_path / "notes.md"
    file.write_text("one\ntwo\nthree\ntwo\n")
    assert locate(tmp_path, named("notes.md", '{"from": 2}')) == (file, 3)
    assert locate(tmp_path, named("notes.md", after="all")) == (file, 1)
    assert locate(tmp_path, named("notes.md", before="zwei", after="three")) == (file, 3)
    assert locate(tmp_path, named("notes.md", before="two", after="gone")) == (file, 2)
    appended = replace(named("notes.md", after="two\n"), appends=True)
    assert locate(tmp_path, appended) == (file, 4)
    for args in ("[", "[1]", '{"from": "x"}', '{"from": -1}', "[" * 100_000):
        assert locate(tmp_path, named("notes.md", args)) == (file, 1)


@pytest.mark.parametrize("path", ["../out.md", "/etc/passwd", "out", ".", "gone", "a\0b", "loop"])
def test_what_lies_outside_or_is_no_file_is_not_opened(tmp_path: Path, path: str) -> None:
    inside = tmp_path / "w"
    inside.mkdir()
    (tmp_path / "out.md").write_text("x")
    (inside / "out").symlink_to(tmp_path / "out.md")
    (inside / "loop").symlink_to(inside / "loop")
    with pytest.raises(PerstackError):
        locate(inside, named(path))


def test_links_are_found_without_what_stands_behind_them_and_hide_nothing() -> None:
    text = "see (https://a.example/x?y=1), https://a.example/x?y=1 and http://b.example/\u202ez."
    assert links_in(EntryView("tool", "get", text)) == (
        "https://a.example/x?y=1",
        "http://b.example/",
    )
    many = " ".join(f"https://s{number}.example/" for number in range(30))
    assert len(links_in(EntryView("tool", "get", many))) == MOST
    assert links_in(EntryView("tool", "get", "https:///nowhere http://[broken")) == ()


@pytest.mark.parametrize("query", ["Write it's notes", "-x", "one\n\ttwo's \\n $HOME"])
def test_copied_command_starts_an_ended_run_with_its_real_query(query: str) -> None:
    lead = run("writer", "done", query=query, ended=1)
    form = run_form(lead, job("job-1", (lead,), alive=False))
    assert "…" not in form
    printed = form.replace("perstack", "printf '%s|'", 1)
    done = subprocess.run(["bash", "-c", printed], capture_output=True, text=True, check=True)
    dashes = "--|" if query.startswith("-") else ""
    assert done.stdout == f"start|writer|{dashes}{query}|"


def test_query_that_is_not_known_whole_or_hides_something_is_not_copied() -> None:
    for query in ("long … (cut)", "a\x1b[2Jb", ""):
        lead = run("writer", "done", query=query, ended=1)
        form = run_form(lead, job("job-1", (lead,), alive=False))
        assert form == "perstack log --job job-8f3a --run run-writer"


@pytest.mark.parametrize(
    ("key", "shown"),
    [
        ("writer", "writer@1.2.0"),
        ("@acme/writer", "@acme/writer@1.2.0"),
        ("@acme/writer@1.2.0", "@acme/writer@1.2.0"),
        ("writer@beta", "writer@1.2.0"),
    ],
)
def test_an_expert_is_shown_with_its_version_once(key: str, shown: str) -> None:
    assert versioned(key, "1.2.0") == shown
