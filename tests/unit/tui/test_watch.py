"""The watch table: its columns, its order, where a run is at work."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perstack_tui.settings import Settings
from perstack_tui.state.agents import AgentTable, Ranking, columns_for
from perstack_tui.state.cockpit import CockpitState
from perstack_tui.state.inbox import inbox_lines
from perstack_tui.state.index import index_of
from perstack_tui.state.origin import doing_of, origin_of
from perstack_tui.state.roster import AgentKey
from perstack_tui.state.spark import CELLS, spark
from perstack_tui.text import width_of
from tests.fakes.gateway import NOW, busy_view, gate, job, points, run
from tests.fakes.wide import agent, everything_view, paused_run
from tests.unit.tui.test_tree import state_of, text_of


@given(st.integers(1, 400))
def test_columns_never_take_more_than_there_is(width: int) -> None:
    columns = columns_for(width)
    taken = 8 + columns.agent + columns.doing + sum(one.width for one in columns.others)
    assert taken == width or width < 8 + 15 + 19


def test_wider_screens_have_the_columns_of_narrower_ones() -> None:
    names = [{one.name for one in columns_for(width).others} for width in range(42, 200)]
    assert all(less <= more for less, more in pairwise(names))
    assert len(names[-1]) == 9


@pytest.mark.parametrize("column", ["step", "tokens", "cost", "last", "age", "agent", "rate"])
def test_order_follows_the_column(column: str) -> None:
    index = index_of(busy_view())
    order = [index.runs[run_id] for run_id in Ranking().order(index, "", column)]  # pyright: ignore[reportArgumentType]
    values = {
        "step": [-one.step_number for one in order],
        "tokens": [-one.usage.total_tokens for one in order],
        "cost": [-one.cost.usd for one in order],
        "last": [-one.last_event_at for one in order],
        "age": [-one.started_at for one in order],
        "agent": [one.expert_key for one in order],
        "rate": [0 for _ in order],
    }[column]
    assert values == sorted(values)


def test_ranking_that_is_kept_is_the_one_made_anew() -> None:
    kept = Ranking()
    view = busy_view()
    kept.order(index_of(view), "", "state")
    changed = replace(view.jobs[1], runs=(replace(view.jobs[1].runs[0], state="done"),))
    later = index_of(replace(view, jobs=(view.jobs[0], changed, *view.jobs[2:])))
    assert kept.order(later, "", "state") == Ranking().order(later, "", "state")
    assert kept.order(later, "backfill", "state") == ["run-backfill"]


def test_spawned_agent_without_a_run_has_a_row() -> None:
    state = state_of(*busy_view().jobs)
    state.agents_on_record = (agent("otto"), agent("busy", job_name="job-8f3a"))
    lines = AgentTable().lines(state, state.agents(held=False), 100, NOW, Settings())
    assert [line.key for line in lines][-1] == AgentKey(agent("otto").id)
    assert "otto" in text_of(lines[-1])
    assert "○ idle" in text_of(lines[-1])
    assert any("busy" in text_of(line) for line in lines)


def test_where_a_run_is_at_work() -> None:
    one = job("j", (run("a"),), pid=4121)
    assert origin_of(one, frozenset({one.job_id}), "pi") == "here"
    assert origin_of(one, frozenset(), "pi") == ":4121"
    assert origin_of(one, frozenset(), "box2") == "pi"
    assert origin_of(replace(one, alive=False), frozenset(), "pi") == "-"


def test_stalled_dead_and_paused_are_told_apart_in_words() -> None:
    stalled = run("a", "stall", doing="pytest -x (no event 6m)")
    alive = job("j", (stalled,))
    assert doing_of(stalled, alive) == "pytest -x (no event 6m, process alive)"
    assert doing_of(run("b", "lost"), replace(alive, alive=False)).startswith("process gone")
    assert doing_of(paused_run(), alive) == "paused by limits: cost above 2 USD"


def test_run_that_limits_paused_waits_in_the_inbox() -> None:
    state = state_of(job("job-8f3a", (paused_run(),)))
    assert [item.key.kind for item in state.pending] == ["pause"]
    lines = [text_of(line) for line in inbox_lines(state.items, 44, NOW)]
    assert "LIMIT" in lines[0]
    assert "cost above 2 USD" in lines[0]
    assert "z resumes" in lines[1]


def test_last_minute_of_a_gate_stands_out() -> None:
    calm, soon = gate(), gate().model_copy(update={"expires_at": NOW + 59_000})
    for shown, role in ((calm, "need"), (soon, "warn-chip")):
        view = replace(busy_view(), inbox=replace(busy_view().inbox, pending=(shown,)))
        state = CockpitState()
        state.take(view, hold_inbox=False)
        assert inbox_lines(state.items, 44, NOW)[0].right[0][1] == role


def test_expired_item_says_what_became_of_the_work() -> None:
    gone = gate().model_copy(update={"status": "expired", "decided_at": NOW})
    view = replace(busy_view(), inbox=replace(busy_view().inbox, pending=(), decided=(gone,)))
    state = CockpitState()
    state.take(view, hold_inbox=False)
    lines = [text_of(line) for line in inbox_lines(state.items, 70, NOW)]
    assert any("nobody decided, not done" in line for line in lines)


def test_opened_item_is_shown_in_full_under_its_own_key() -> None:
    state = CockpitState()
    state.take(everything_view(), hold_inbox=False)
    plain = inbox_lines(state.items, 60, NOW)
    full = inbox_lines(state.items, 60, NOW, opened=state.items[0].key)
    assert len(full) > len(plain)
    text = "\n".join(text_of(line) for line in full if line.key == state.items[0].key)
    assert "link-check 412 pages" in text


def test_spark_has_its_cells_whatever_happened() -> None:
    lately = run("a")
    assert spark(lately, NOW) == ""
    busy = replace(lately, points=points("a", "sss", start=NOW - 30_000))
    assert width_of(spark(busy, NOW)) == CELLS
    assert spark(busy, NOW + 10_000_000) == ""
