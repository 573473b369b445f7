"""Any text whatever in any line: inert, exactly as wide as its pane, no exception."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from perstack.domain.ids import ToolCallId
from perstack.projection.views import CallView, EntryView
from perstack_tui.state.entry_lines import EntryKey, Manner, entry_lines
from perstack_tui.state.lines import Line
from perstack_tui.state.markdown import Growing, markdown_lines
from perstack_tui.state.spans import marked
from perstack_tui.state.stream import StreamLines, Window
from perstack_tui.text import cell, crop, cut_lines, flat, wrap
from perstack_tui.theme import ink_for
from perstack_tui.widgets.paint import Frame, edge, paint, walled
from tests.fakes.gateway import Said, run
from tests.fakes.hostile import (
    PIECES,
    WORST,
    assert_aligned,
    assert_aligned_on_a_terminal,
    assert_inert,
    texts,
)

KINDS = (
    "query",
    "reasoning",
    "text",
    "tool",
    "delegate",
    "question",
    "gate",
    "retry",
    "result",
    "error",
    "note",
)
STATUSES = (None, "running", "ok", "error", "waiting")
widths = st.integers(1, 130)


def assert_painted(line: Line, width: int, *, selected: bool = False) -> None:
    strip = paint(ink_for("dark"), line, width, selected=selected, focused=True)
    assert_inert(strip.text)
    assert_aligned(strip.text, width)
    assert walled(ink_for("dark"), strip, focused=True).cell_length == width + 4


@settings(max_examples=60)
@given(texts, widths)
def test_single_pieces_of_text_take_the_cells_they_are_given(text: str, width: int) -> None:
    assert_inert(flat(text))
    assert_aligned(cell(text, width), width)
    assert_aligned(cell(text, width, "right"), width)
    assert "\n" not in crop(flat(text), width)
    for line in (*wrap(text, width), *cut_lines(text, width)):
        assert_inert(line)


@settings(max_examples=60)
@given(
    st.lists(st.tuples(texts, st.sampled_from(("text", "code", "fail"))), max_size=4), texts, widths
)
def test_any_spans_are_painted_in_exactly_their_width(
    left: list[tuple[str, str]], right: str, width: int
) -> None:
    spans = tuple((text, role) for text, role in left)
    assert_painted(Line(spans, ((right, "muted"),)), width)  # pyright: ignore[reportArgumentType]


@settings(max_examples=60)
@given(texts, texts, widths)
def test_borders_keep_their_width_whatever_they_say(title: str, badge: str, width: int) -> None:
    frame = Frame(title, badge, badge, title)
    for top in (True, False):
        text = edge(ink_for("dark"), frame, max(4, width), top=top, focused=top).text
        assert_inert(text)
        assert_aligned(text, max(4, width))


@settings(max_examples=60)
@given(texts, st.sampled_from(KINDS), st.sampled_from(STATUSES), widths, st.booleans())
def test_every_kind_of_entry_is_painted_inert(
    text: str, kind: str, status: str | None, width: int, opened: bool
) -> None:
    call = CallView(text, text, text, text, text[::-1])
    entry = EntryView(kind, text, text, ToolCallId("t"), status, 1, 5, 9, call)  # pyright: ignore[reportArgumentType]
    manner = Manner(width, wraps=opened, times=opened)
    for line in entry_lines(entry, manner, key=EntryKey(0), opened=opened, printed=text):
        assert_painted(line, width)


@settings(max_examples=60)
@given(texts, widths)
def test_markdown_is_painted_inert_and_hides_no_word(text: str, width: int) -> None:
    for line in markdown_lines(text, width):
        assert_painted(line, width)


@settings(max_examples=40)
@given(texts, st.integers(8, 100), st.lists(st.integers(0, 200), max_size=6))
def test_markdown_that_grows_ends_as_if_it_had_come_at_once(
    text: str, width: int, cuts: list[int]
) -> None:
    growing = Growing()
    for end in sorted(cuts):
        growing.lines(text[:end], width)
    text = text.replace("\r\n", "\n")
    assert growing.lines(text, width) == markdown_lines(text, width)


@settings(max_examples=40)
@given(texts, texts)
def test_what_is_searched_changes_no_character(text: str, needle: str) -> None:
    before = Line(((flat(text), "text"), (flat(needle), "code")))
    after = marked(before, needle) if needle else before
    joined = "".join(part for part, _ in after.left)
    assert joined == "".join(part for part, _ in before.left)


@pytest.mark.parametrize("width", [1, 2, 3, 20, 80])
def test_the_worst_of_all_in_a_stream(width: int) -> None:
    entries = tuple(EntryView(kind, WORST, WORST, timestamp=1) for kind in KINDS)
    lines = StreamLines()
    lines.build(
        run("a", entries=entries), Said(WORST, WORST), width, whole=True, window=Window(0, 100)
    )
    for at in range(0, len(lines), max(1, len(lines) // 100)):
        assert_painted(lines[at], width)


@pytest.mark.parametrize("piece", PIECES)
def test_each_attack_is_drawn_as_text(piece: str) -> None:
    for line in (*markdown_lines(piece, 40), Line(((piece, "text"),))):
        assert_painted(line, 40)
        assert_aligned_on_a_terminal(paint(ink_for("dark"), line, 40).text, 40)


def test_a_line_of_a_megabyte_is_cut_to_what_is_seen() -> None:
    long = "\x1b[31m" + "x漢" * 400_000
    assert_painted(Line(((long, "text"),)), 80)
    assert all(len(line) <= 80 for line in cut_lines(long, 80))
