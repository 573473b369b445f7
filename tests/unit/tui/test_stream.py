"""The stream as lines: what is made, opened, found, and what stays where it is."""

from __future__ import annotations

from dataclasses import replace

import pytest

from perstack.domain.ids import RunId, ToolCallId
from perstack.projection.views import CallView, EntryView, RunView, WorkspaceView
from perstack_tui.state.branches import STAY_MS, speaking
from perstack_tui.state.entry_lines import EntryKey
from perstack_tui.state.index import index_of
from perstack_tui.state.lines import Line
from perstack_tui.state.past import CHUNK
from perstack_tui.state.stream import Place, StreamLines, Window
from tests.fakes.gateway import NOW, Said, job, run


def text_of(line: Line) -> str:
    return "".join(text for text, _ in (*line.left, *line.right))


def shown(lines: StreamLines) -> list[str]:
    return [text_of(line).rstrip() for line in lines]


def with_entries(*entries: EntryView, earlier: int = 0) -> RunView:
    return replace(run("a", entries=tuple(entries)), earlier=earlier)


def tool(text: str = "", **changes: object) -> EntryView:
    call = CallView("exec", "@perstack/base", '{\n  "command": "ls"\n}')
    entry = EntryView("tool", "exec ls", text, ToolCallId("t1"), "ok", size=len(text), call=call)
    return replace(entry, **changes)


def said(count: int) -> tuple[EntryView, ...]:
    return tuple(EntryView("text", "", f"text {number}") for number in range(count))


def test_a_call_is_one_line_until_it_is_opened() -> None:
    text = "\n".join(f"line {number}" for number in range(8))
    entries = with_entries(tool(text, duration_ms=400))
    lines = StreamLines()
    assert shown(lines.build(entries, None, 60)) == ["✓ exec ls  55 chars  0.4s"]
    opened = shown(lines.build(entries, None, 60, opened=frozenset({0})))
    assert '      "command": "ls"' in opened
    assert opened[-1] == "    line 7"
    assert len(shown(lines.build(entries, None, 60))) == 1
    assert shown(lines.build(entries, None, 60, whole=True)) == opened


def test_a_failed_call_shows_the_beginning_of_what_went_wrong() -> None:
    text = "\n".join(f"line {number}" for number in range(8))
    lines = shown(StreamLines().build(with_entries(tool(text, status="error")), None, 60))
    assert lines[1] == "    line 0"
    assert lines[-1] == "    … 2 more lines · ⏎ shows all"


def test_an_edit_shows_what_came_and_went() -> None:
    call = CallView(
        "editTextFile", "@perstack/base", '{"path": "a"}', "one\ntwo\nthree", "one\n2\nthree"
    )
    edit = replace(tool(), title="editTextFile a.txt", call=call)
    lines = StreamLines()
    assert shown(lines.build(with_entries(edit), None, 60)) == ["✓ editTextFile a.txt  +1 −1"]
    opened = shown(lines.build(with_entries(edit), None, 60, opened=frozenset({0})))
    assert opened[-4:] == ["      one", "    - two", "    + 2", "      three"]


def test_running_call_shows_the_last_lines_that_it_printed() -> None:
    running = tool(status="running")
    printed = Said(output={ToolCallId("t1"): "\n".join(f"out {number}" for number in range(20))})
    lines = StreamLines()
    assert shown(lines.build(with_entries(running), printed, 60))[-1] == "    out 19"
    more = Said(output={ToolCallId("t1"): "out 20"})
    assert shown(lines.build(with_entries(running), more, 60))[1:] == ["    out 20"]
    assert len(shown(lines.build(with_entries(running), None, 60))) == 1


def test_thoughts_are_folded_to_their_length() -> None:
    entry = EntryView("reasoning", "reasoning", "hm " * 500)
    assert shown(StreamLines().build(with_entries(entry), None, 60)) == [
        "· thought · 1.5k characters"
    ]


def test_times_stand_before_each_entry_once() -> None:
    entry = EntryView("text", "", "one\ntwo", timestamp=NOW)
    first, second, _ = shown(StreamLines().build(with_entries(entry), None, 60, times=True))
    assert first.endswith(" one")
    assert first.count(":") == 2
    assert second == " " * 9 + "two"


def test_only_what_changed_is_made_again() -> None:
    lines = StreamLines()
    entries = said(50)
    first = list(lines.build(with_entries(*entries), None, 40))
    later = list(lines.build(with_entries(*entries, EntryView("text", "", "new")), None, 40))
    assert all(one is other for one, other in zip(first, later, strict=False))
    assert len(later) == len(first) + 2


def test_a_long_run_makes_only_the_lines_around_the_window() -> None:
    lines = StreamLines()
    run_ = with_entries(*said(100), earlier=100_000)
    lines.build(run_, None, 80, window=Window(height=20, tails=True))
    assert len(lines) > 200_000
    assert text_of(lines[len(lines) - 2]) == "text 99"
    assert lines.past.ask() is None
    lines.build(run_, None, 80, window=Window(50_000, 20, tails=False))
    assert "reading this back" in text_of(lines[50_001])
    first = lines.past.ask()
    assert first is not None
    lines.past.take(first, [EntryView("text", "", f"old {first + n}") for n in range(CHUNK)])
    lines.build(run_, None, 80, window=Window(50_000, 20, tails=False))
    assert any(text_of(line).startswith("old 2") for line in lines[50_000:50_020])


@pytest.mark.parametrize("width", [20, 37, 120])
def test_the_line_that_was_read_is_found_again_at_another_width(width: int) -> None:
    lines = StreamLines()
    entries = tuple(EntryView("text", "", f"{n} " + "word " * 60) for n in range(300))
    lines.build(with_entries(*entries), None, 80, window=Window(600, 20, tails=False))
    place = lines.place_of(lines.anchor_at(600))
    assert place == 600
    anchor = lines.anchor_at(600)
    assert isinstance(anchor, Place)
    before = text_of(lines[lines.places_of(EntryKey(anchor.number))[0]])
    lines.build(with_entries(*entries), None, width, window=Window(600, 20, tails=False))
    again = lines.place_of(anchor)
    assert again is not None
    first = lines.places_of(EntryKey(anchor.number))[0]
    assert text_of(lines[first]).split()[0] == before.split()[0]
    assert first <= again < first + 40


def test_what_is_said_grows_below_what_was_said() -> None:
    lines = StreamLines()
    entries = with_entries(*said(2))
    text = "# Title\n\nsome **bold** words\n```\ncode\n"
    for end in range(1, len(text)):
        lines.build(entries, Said(text=text[:end]), 60)
    assert shown(lines)[4:] == ["Title", "", "some bold words", " code", "▌"] or shown(lines)[
        -1
    ].endswith("▌")
    lines.build(entries, Said(reasoning="\n".join(map(str, range(9)))), 60)
    assert shown(lines)[-5:] == ["thinking", "  5", "  6", "  7", "  8"]


def test_search_finds_lines_and_marks_them() -> None:
    lines = StreamLines()
    lines.build(with_entries(*said(300)), None, 60, window=Window(height=10, tails=True))
    lines.needle = "TEXT 7"
    found = lines.find("TEXT 7")
    assert [text_of(lines[at]) for at in found[:3]] == ["text 7", "text 70", "text 71"]
    assert lines[found[0]].left == (("text 7", "match"),)
    assert lines.find("") == []


def test_a_run_without_words_says_what_it_waits_for() -> None:
    assert "nothing said yet" in shown(StreamLines().build(run("a"), None, 60))[1]
    assert "Select a run" in shown(StreamLines().build(None, None, 60))[1]


def test_the_branch_that_speaks_is_followed_until_it_has_been_silent() -> None:
    leader = run("lead", "waits", children=("a", "b"))
    a, b = run("a", parent="lead"), run("b", parent="lead")
    b = replace(b, last_event_at=a.last_event_at + STAY_MS - 1)

    def now(*runs: RunView) -> RunId:
        index = index_of(WorkspaceView((job("job-8f3a", runs),)))
        return speaking(index, leader, RunId("run-a")).run_id

    assert now(leader, a, b) == "run-a"
    assert now(leader, a, replace(b, last_event_at=a.last_event_at + STAY_MS)) == "run-b"
    assert now(leader, replace(a, state="done"), b) == "run-b"
    assert now(leader) == "run-lead"
