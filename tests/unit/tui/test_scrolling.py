"""What is read stays where it is, whatever comes, goes or is resized."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from perstack_tui.state.lines import Line, Rows
from perstack_tui.widgets.scrolling import Scroller

KEYS = st.lists(st.integers(0, 60), unique=True, max_size=60)


def rows(keys: list[int]) -> Rows:
    return Rows(keys, lambda at: Line(((f"row {keys[at]}", "text"),), key=keys[at]))


@given(st.lists(KEYS, min_size=1, max_size=6), st.integers(0, 12), st.integers(-9, 30))
def test_window_never_leaves_the_lines(updates: list[list[int]], height: int, by: int) -> None:
    scroller = Scroller(heads=0)
    for keys in updates:
        scroller.update_lines(rows(keys), keys[0] if keys else None, (40, height))
        scroller.scroll_to_line(scroller.top + by)
        assert 0 <= scroller.top <= max(0, len(keys) - height)


def test_lines_that_come_above_move_nothing_that_is_read() -> None:
    scroller = Scroller()
    scroller.update_lines(rows(list(range(10, 40))), 30, (40, 5))
    scroller.scroll_to_line(12)
    read = scroller.line_at(scroller.top).key
    scroller.update_lines(rows(list(range(40))), 30, (40, 5))
    assert scroller.line_at(scroller.top).key == read


def test_selection_in_view_stays_in_view_when_the_window_shrinks() -> None:
    scroller = Scroller()
    scroller.update_lines(rows(list(range(40))), 19, (40, 20))
    for height in (7, 3, 1, 20):
        scroller.update_lines(rows(list(range(40))), 19, (40, height))
        assert scroller.top <= 19 < scroller.top + height


def test_selection_that_was_scrolled_away_from_is_left_alone_by_a_resize() -> None:
    scroller = Scroller()
    scroller.update_lines(rows(list(range(40))), 0, (40, 10))
    scroller.scroll_to_line(20)
    scroller.update_lines(rows(list(range(40))), 0, (30, 8))
    assert scroller.top == 20


def test_tail_is_followed_until_it_is_scrolled_away_from() -> None:
    scroller = Scroller(tails=True)
    scroller.update_lines(rows(list(range(40))), None, (40, 10))
    assert scroller.top == 30
    scroller.scroll_to_line(5)
    scroller.update_lines(rows(list(range(60))), None, (40, 10))
    assert scroller.top == 5
    scroller.scroll_to_line(50)
    assert scroller.following


def test_lines_are_made_only_when_they_are_looked_at() -> None:
    made: list[int] = []

    def make(at: int) -> Line:
        made.append(at)
        return Line((("x", "text"),), key=at)

    scroller = Scroller(heads=0)
    scroller.update_lines(Rows(range(10_000), make), 5_000, (40, 20))
    scroller.reveal(5_000)
    assert len(set(made)) <= 40
