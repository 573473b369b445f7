"""Where panes are: at every size, for every pane and zoom."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perstack_tui.state.layout import (
    PANES,
    ZOOMS,
    PaneName,
    Place,
    Zoom,
    arrange,
    size_class,
    zoomed,
)

SIZES = st.tuples(st.integers(1, 400), st.integers(1, 120))


def cells(place: Place) -> set[tuple[int, int]]:
    return {
        (x, y)
        for x in range(place.x, place.x + place.width)
        for y in range(place.y, place.y + place.height)
    }


@given(SIZES, st.sampled_from(PANES), st.sampled_from(ZOOMS), st.booleans())
def test_panes_fill_the_body_without_overlap_and_the_active_one_is_there(
    size: tuple[int, int], active: PaneName, zoom: Zoom, peek: bool
) -> None:
    found = arrange(*size, active, zoom=zoom, peek=peek)
    width, height = found.body
    places = found.places(width, height)
    assert active in places
    area = sum(place.width * place.height for place in places.values())
    assert area == width * height
    for name, place in places.items():
        assert place.x >= 0
        assert place.y >= 0
        assert place.x + place.width <= width
        assert place.y + place.height <= height
        for other, there in places.items():
            apart = (
                place.x + place.width <= there.x
                or there.x + there.width <= place.x
                or place.y + place.height <= there.y
                or there.y + there.height <= place.y
            )
            assert name == other or apart or not (place.width * place.height)


@given(SIZES, st.sampled_from(PANES))
def test_a_prompt_that_takes_a_row_leaves_the_active_pane_in_view(
    size: tuple[int, int], active: PaneName
) -> None:
    found = arrange(*size, active)
    width, height = found.body
    place = found.places(width, max(0, height - 1))[active]
    assert place.width == 0 or place.height == 0 or cells(place)


@given(SIZES, st.sampled_from(PANES), st.sampled_from(ZOOMS))
def test_the_active_pane_has_room_for_a_line_where_the_screen_has_two(
    size: tuple[int, int], active: PaneName, zoom: Zoom
) -> None:
    columns, rows = size
    found = arrange(columns, rows, active, zoom=zoom)
    place = found.places(*found.body)[active]
    frame = 2 if found.framed else 0
    assert place.height - frame >= (1 if rows >= 2 else 0)


@pytest.mark.parametrize(
    ("columns", "rows", "name"),
    [
        (39, 50, "line"),
        (200, 7, "line"),
        (40, 8, "list"),
        (300, 11, "list"),
        (80, 24, "tabs"),
        (99, 60, "tabs"),
        (100, 12, "desk"),
        (159, 60, "desk"),
        (160, 60, "wall"),
    ],
)
def test_size_has_its_class(columns: int, rows: int, name: str) -> None:
    assert size_class(columns, rows) == name


def test_zoom_stops_at_both_ends() -> None:
    assert [zoomed(zoom, 1) for zoom in ZOOMS] == ["half", "full", "full"]
    assert [zoomed(zoom, -1) for zoom in ZOOMS] == ["normal", "normal", "half"]


def test_timeline_is_a_tab_of_the_stream_below_thirty_rows() -> None:
    assert "timeline" not in arrange(120, 29, "agents").visible
    assert "stream" not in arrange(120, 29, "timeline").visible
    assert {"timeline", "stream"} <= arrange(120, 30, "agents").visible
