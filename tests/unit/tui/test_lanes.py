"""The timeline: lanes placed as they grow, drawn where they are visible, gone along by key."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from perstack.domain.ids import CheckpointId, RunId
from perstack.projection.views import JobView
from perstack_tui.state.lanes import Lanes
from perstack_tui.state.timeline import Timeline, lane_along, point_detail, step_along
from perstack_tui.text import width_of
from tests.fakes.gateway import NOW, job, points, run, running_job
from tests.fakes.wide import long_job
from tests.unit.tui.test_tree import state_of, text_of


def cut(made: JobView, until: int) -> JobView:
    """The job as it was at a moment: without what came later."""
    runs = tuple(
        replace(one, points=tuple(p for p in one.points if p.timestamp <= until))
        for one in made.runs
    )
    return replace(made, runs=runs)


KINDS = st.lists(st.text("sdag", min_size=0, max_size=12), min_size=1, max_size=5)


@given(KINDS, st.lists(st.integers(0, 200_000), max_size=6))
def test_lanes_that_grow_are_those_made_at_once(kinds: list[str], cuts: list[int]) -> None:
    names = [f"c{number}" for number in range(len(kinds) - 1)]
    boss = run("boss", "waits", started=200_000, kinds=kinds[0], children=tuple(names))
    below = [
        replace(
            run(name, parent="boss", started=180_000),
            points=points(name, kind, start=NOW - 180_000 + 777 * at, every=9_973),
        )
        for at, (name, kind) in enumerate(zip(names, kinds[1:], strict=True))
    ]
    whole = job("job-8f3a", (boss, *below))
    grown = Lanes()
    for until in sorted(cuts):
        grown.update(cut(whole, NOW - 200_000 + until))
    found = [(lane.run.run_id, lane.columns) for lane in grown.update(whole)]
    assert found == [(lane.run.run_id, lane.columns) for lane in Lanes().update(whole)]
    for lane in Lanes().update(whole):
        assert lane.columns == sorted(set(lane.columns))


def test_checkpoints_that_were_joined_are_placed_anew() -> None:
    made = job("j", (run("a", job="j", kinds="ssss"),))
    lanes = Lanes()
    lanes.update(made)
    fewer = replace(made, runs=(replace(made.runs[0], points=made.runs[0].points[2:]),))
    assert [lane.columns for lane in lanes.update(fewer)] == [[0, 1]]


def test_lane_below_is_entered_at_the_checkpoint_nearest_in_time() -> None:
    near = points("b", "sss", start=NOW - 55_000)
    boss = run("a", kinds="ssss", started=60_000, children=("b",))
    made = job("job-8f3a", (boss, replace(run("b", parent="a"), points=near)))
    assert lane_along(made, RunId("run-a"), CheckpointId("a-2"), 1) == (
        RunId("run-b"),
        CheckpointId("b-1"),
    )
    assert lane_along(made, RunId("run-b"), None, -1) == (
        RunId("run-a"),
        CheckpointId("a-3"),
    )
    assert lane_along(made, RunId("run-b"), CheckpointId("b-1"), 5) == (
        RunId("run-b"),
        CheckpointId("b-1"),
    )
    assert lane_along(None, None, None, 1) is None


def test_cursor_is_drawn_wherever_it_is_in_a_long_lane() -> None:
    state = state_of(job("j", (run("a", job="j", kinds="s" * 900),)))
    for number in (1, 450, 900):
        state.point = CheckpointId(f"a-{number}")
        drawn = [text_of(line) for line in Timeline().lines(state, 80, NOW)]
        assert "‹◆›" in drawn[1].replace(" ", "")
        assert width_of(drawn[1]) == 80


def test_heading_tells_the_time_of_the_cursor() -> None:
    state = state_of(running_job())
    state.point = running_job().runs[0].points[0].checkpoint_id
    head = Timeline().lines(state, 100, NOW)[0]
    accents = "".join(text for text, role in head.left if role == "accent")
    assert len(accents.split(":")) == 3


def test_detail_adds_up_what_was_spent_until_the_cursor() -> None:
    one = run("a", kinds="sss")
    assert "so far $0.0096" in point_detail(one, CheckpointId("a-2"))
    assert "a.md" in point_detail(one, CheckpointId("a-2"))
    assert point_detail(None, None) == ""


def test_five_thousand_checkpoints_build_no_more_than_what_is_in_view() -> None:
    made = long_job(5_000)
    state = state_of(made)
    lines = Timeline().lines(state, 120, NOW)
    assert len(lines) == 21
    assert all(width_of(text_of(line)) == 120 for line in lines)
    spans = sum(len(line.left) for line in lines)
    assert spans < 21 * 120


def test_time_axis_shows_parallel_work_side_by_side() -> None:
    state = state_of(running_job())
    state.time_axis = True
    drawn = [text_of(line) for line in Timeline().lines(state, 100, NOW)]
    assert "time" in drawn[0]
    writer, researcher = (
        next(line for line in drawn if name in line) for name in ("writer", "researcher")
    )
    assert abs(writer.index("◆") - researcher.index("◆")) <= 1


def test_steps_stop_at_the_ends_of_a_lane() -> None:
    one = run("a", kinds="ss")
    assert step_along(one, CheckpointId("a-2"), 1) == CheckpointId("a-2")
    assert step_along(None, None, 1) is None
