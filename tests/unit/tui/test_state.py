"""What the panes show, made from views without a screen."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from perstack.domain.ids import CheckpointId, JobId, RunId, SubtaskId
from perstack.domain.usage import Cost, Usage
from perstack.projection.views import InboxView, PauseView, WorkspaceView
from perstack_tui.actions import ACTIONS, BY_ID
from perstack_tui.ports.gateway import DefinitionsUpdate
from perstack_tui.settings import Settings
from perstack_tui.state.agents import AgentTable, Ranking, matches
from perstack_tui.state.bars import crumb_line, footer_line, header_line
from perstack_tui.state.cockpit import CockpitState, Tone, notice_seconds
from perstack_tui.state.definitions import definitions_problem
from perstack_tui.state.filters import found_in
from perstack_tui.state.grace import Grace
from perstack_tui.state.inbox import ItemKey, inbox_lines, items_of, question_key
from perstack_tui.state.index import index_of
from perstack_tui.state.lanes import Lanes
from perstack_tui.state.layout import PANES, arrange
from perstack_tui.state.lines import Line
from perstack_tui.state.order import StickyOrder
from perstack_tui.state.review import Review
from perstack_tui.state.timeline import Timeline, step_along
from perstack_tui.state.tree import Tree
from perstack_tui.state.wording import amount, countdown, span_of_time, spent, tokens
from perstack_tui.text import cell, crop, width_of, wrap
from tests.fakes.gateway import (
    NOW,
    busy_view,
    decided,
    gate,
    job,
    question,
    run,
    running_job,
    running_view,
    subtask,
)
from tests.fakes.stage import HandClock


def text_of(line: Line) -> str:
    return "".join(text for text, _ in (*line.left, *line.right))


def shown_state(view: WorkspaceView) -> CockpitState:
    state = CockpitState()
    state.take(view, hold_inbox=False)
    return state


@pytest.mark.parametrize(
    ("milliseconds", "shown"),
    [(0, "0s"), (59_999, "59s"), (582_000, "9m42"), (11_100_000, "3h05"), (10**9, "11d")],
)
def test_span_of_time_is_short(milliseconds: int, shown: str) -> None:
    assert span_of_time(milliseconds) == shown


@pytest.mark.parametrize(
    ("count", "shown"),
    [(0, "0"), (999, "999"), (9_600, "9.6k"), (61_200, "61k"), (1_240_000, "1.2M")],
)
def test_amount_takes_at_most_five_cells(count: int, shown: str) -> None:
    assert amount(count) == shown


def test_countdown_says_expired_and_no_limit() -> None:
    assert countdown(NOW + 252_000, NOW) == "4:12 left"
    assert countdown(NOW - 1, NOW) == "expired"
    assert countdown(None, NOW) == "no limit"


@pytest.mark.parametrize("width", [1, 2, 7, 40])
def test_cells_are_exactly_as_wide_as_asked_even_for_wide_characters(width: int) -> None:
    for text in ("漢字かな交じり文", "abc", "", "e\u0301e\u0301", "\x1b[31mred"):
        assert width_of(cell(text, width)) == width
        assert width_of(crop(text, width)) <= width


@pytest.mark.parametrize("width", [1, 2, 9, 30])
def test_wrapped_lines_fit_and_lose_no_word(width: int) -> None:
    text = "The release has three themes:\n  - 漢字かな reload\n" + "x" * 100
    lines = wrap(text, width)
    assert all(width_of(line) <= max(2, width) for line in lines)
    assert "".join(lines).replace(" ", "") == text.replace(" ", "").replace("\n", "")


def test_grace_waits_for_quiet_but_not_for_ever() -> None:
    seconds = HandClock()
    grace = Grace(seconds)
    refused = 0
    for _ in range(20):
        seconds.now += 0.1
        if grace.admits():
            break
        refused += 1
    assert refused in (14, 15)
    assert grace.admits()


def test_grace_admits_at_once_after_quiet() -> None:
    seconds = HandClock()
    grace = Grace(seconds)
    seconds.now += 0.41
    assert grace.admits()


def test_sticky_order_adds_at_the_end_and_sorts_only_when_not_held() -> None:
    order: StickyOrder[str] = StickyOrder()
    assert order.arrange(["a", "b", "c"], held=False) == ["a", "b", "c"]
    assert order.arrange(["new", "c", "a"], held=True) == ["a", "c", "new"]
    assert order.arrange(["new", "c", "a"], held=False) == ["new", "c", "a"]


def test_timeline_gives_parallel_runs_common_columns_after_their_delegation() -> None:
    columns = {str(lane.run.expert_key): lane.columns for lane in Lanes().update(running_job())}
    delegated = columns["coordinator"][-1]
    for child in ("researcher", "writer", "devops", "linter"):
        assert columns[child][0] > delegated
    assert set(columns["writer"]) & set(columns["researcher"])


def test_parent_goes_on_after_its_children() -> None:
    parent = run("p", "run", kinds="sds", started=100_000, children=("c",))
    child = run("c", "done", parent="p", kinds="sss", started=85_000)
    late = replace(parent, points=(*parent.points[:2], replace(parent.points[2], timestamp=NOW)))
    lanes = {lane.run.expert_key: lane.columns for lane in Lanes().update(job("j", (late, child)))}
    assert lanes[late.expert_key][2] > lanes[child.expert_key][-1]


@pytest.mark.parametrize("width", [20, 60, 120])
def test_timeline_lines_never_exceed_the_width(width: int) -> None:
    long = job("j", (run("p", "run", job="j", kinds="s" * 400),))
    for shown in (long, running_job()):
        state = shown_state(WorkspaceView((shown,)))
        for by_time in (False, True):
            state.time_axis = by_time
            for line in Timeline().lines(state, max(width, 36), NOW):
                assert width_of(text_of(line)) <= max(width, 36)


def test_cursor_moves_along_the_lane_and_stops_at_its_ends() -> None:
    one = run("p", kinds="sss")
    assert step_along(one, None, -1) == CheckpointId("p-2")
    assert step_along(one, CheckpointId("p-1"), -1) == CheckpointId("p-1")
    assert step_along(one, CheckpointId("p-3"), 1) == CheckpointId("p-3")


def test_tree_closes_done_jobs_and_opens_the_newest() -> None:
    older = job(
        "old",
        (run("a", "done", job="old", children=("b",)), run("b", "done", job="old", parent="a")),
    )
    view = WorkspaceView((running_job(), older), caught_up=True)
    state = shown_state(view)
    keys = [line.key for line in Tree().lines(state, 44, NOW, Settings()) if line.key]
    assert "run-summarizer" in keys
    assert "run-b" not in keys
    state.folded[JobId("old")] = False
    assert "run-b" in [line.key for line in Tree().lines(state, 44, NOW, Settings())]


def test_tree_survives_runs_that_name_each_other() -> None:
    loop = job("j", (run("a", children=("b",)), run("b", parent="a", children=("a",))))
    lines = Tree().lines(shown_state(WorkspaceView((loop,))), 44, NOW, Settings())
    assert len(lines) < 10


@pytest.mark.parametrize("width", [40, 76, 150])
def test_agent_rows_have_one_width(width: int) -> None:
    state = shown_state(busy_view())
    lines = AgentTable().lines(state, state.agents(held=False), width, NOW, Settings())
    assert len({width_of(text_of(line)) for line in lines}) == 1


@pytest.mark.parametrize(("width", "shown"), [(45, False), (76, True), (150, True)])
def test_costs_have_a_column_where_there_is_room(width: int, shown: bool) -> None:
    state = shown_state(busy_view())
    lines = AgentTable().lines(state, state.agents(held=False), width, NOW, Settings())
    rows = {text_of(line)[8:].split()[0].partition("@")[0]: text_of(line) for line in lines}
    assert ("COST" in rows["AGENT"]) == shown
    assert (" ≥$1.25 " in rows["devops"]) == shown
    assert (" ? " in rows["backfill"]) == shown
    assert (" $0.24 " in rows["writer"]) == shown


def test_what_is_unknown_is_shown_so_and_what_was_not_spent_is_not_shown() -> None:
    assert spent(Cost(usd=0.12)) == " · $0.12"
    assert spent(Cost(usd=0.12, partial=True)) == " · ≥ $0.12"
    assert spent(Cost(partial=True)) == " · $?"
    assert spent(Cost()) == ""
    assert tokens(Usage(partial=True)) == "?"
    assert tokens(Usage(total_tokens=812, partial=True)) == "812"
    assert tokens(Usage()) == "0"


def test_agents_that_need_a_person_come_first() -> None:
    order = Ranking().order(index_of(busy_view()), "", "state")
    assert set(order[:2]) == {RunId("run-devops"), RunId("run-auditor")}
    assert order[-1] == RunId("run-fetcher")


def test_filter_words_must_all_match_and_exclamation_excludes() -> None:
    one = run("writer", doing="writeTextFile CHANGELOG.md")
    assert matches(one, None, "WRITER changelog")
    assert not matches(one, None, "writer !changelog")
    assert not matches(one, None, "reader")


def test_inbox_lists_pending_then_decided() -> None:
    lines = [text_of(line) for line in inbox_lines(items_of(busy_view().inbox), 40, NOW)]
    assert "HIGH" in lines[0]
    assert "4:12 left" in lines[0]
    assert any("ASK" in line for line in lines)
    assert lines.index("┄ decided ┄") < next(
        i for i, line in enumerate(lines) if "approved" in line
    )


def test_selection_survives_a_view_in_which_its_neighbours_changed() -> None:
    state = CockpitState()
    state.take(busy_view(), hold_inbox=False)
    state.select(RunId("run-writer"))
    state.select_item(question_key(question()))
    assert state.run_id == RunId("run-auditor")
    state.select(RunId("run-writer"))
    state.take(replace(busy_view(), inbox=InboxView((gate("g2"),), (question(),))), hold_inbox=True)
    assert state.run_id == RunId("run-writer")
    assert state.item_key == question_key(question())


def test_questions_of_two_runs_that_number_their_calls_alike_are_two_items() -> None:
    both = InboxView(questions=(question("q1"), question("q1", run_name="backfill")))
    state = CockpitState()
    state.take(replace(busy_view(), inbox=both), hold_inbox=False)
    assert len(state.pending) == 2
    assert state.counts()["need"] == 2


def test_selection_that_nobody_made_leaves_what_was_decided_for_what_waits() -> None:
    old = InboxView(decided=(decided("gate-0", "expired", "old"),))
    new = replace(old, pending=(gate("gate-1"),))
    state = CockpitState()
    state.take(replace(busy_view(), inbox=old), hold_inbox=False)
    assert state.item_key == ItemKey("decided", "gate-0")
    state.take(replace(busy_view(), inbox=new), hold_inbox=True)
    assert state.item_key == ItemKey("gate", "gate-1")
    state.select_item(ItemKey("decided", "gate-0"))
    state.take(replace(busy_view(), inbox=new), hold_inbox=True)
    assert state.item_key == ItemKey("decided", "gate-0")


def test_run_that_a_follow_up_begins_is_selected_in_place_of_the_old_one() -> None:
    old = run("writer", "done", job="j")
    new = replace(run("writer", job="j"), run_id=RunId("run-again"))
    state = CockpitState()
    state.take(WorkspaceView((job("j", (old,)),)), hold_inbox=False)
    state.await_run(JobId("j"), after=old.run_id)
    state.take(WorkspaceView((job("j", (old,)),)), hold_inbox=False)
    assert state.run_id == old.run_id
    state.take(WorkspaceView((job("j", (new, old)),)), hold_inbox=False)
    assert state.run_id == RunId("run-again")


def test_follow_up_leaves_a_run_alone_that_was_selected_meanwhile() -> None:
    state = CockpitState()
    state.take(busy_view(), hold_inbox=False)
    state.select(RunId("run-writer"))
    state.await_run(JobId("job-77aa"), after=RunId("run-backfill"))
    state.take(busy_view(), hold_inbox=False)
    assert state.run_id == RunId("run-writer")


def test_started_job_is_selected_once_it_appears() -> None:
    state = CockpitState(awaited_job=JobId("job-8f3a"))
    state.take(WorkspaceView(), hold_inbox=False)
    assert state.run_id is None
    state.take(running_view(), hold_inbox=False)
    assert state.run_id == RunId("run-writer")


def test_review_needs_something_kept_and_everything_kept_read() -> None:
    review = Review(gate(subtasks=(subtask("s1", "a"), subtask("s2", "b"))))
    assert "read s1" in (review.why_not_approve() or "")
    review.reading.read |= {SubtaskId("s1"), SubtaskId("s2")}
    assert "2 kept subtasks are HIGH" in (review.why_not_approve() or "")
    review.confirmed = review.kept_high
    assert review.why_not_approve() is None
    review.toggle()
    assert review.approval("", "me").rejected_subtask_ids == (SubtaskId("s1"),)
    review.selected = SubtaskId("s2")
    review.toggle()
    assert "nothing is kept" in (review.why_not_approve() or "")


PROBLEMS = [
    (
        '/w/x/perstack.toml: Validation failed:\n  - "a".skills (line 26): no table\n  - b: c',
        'perstack.toml:26: "a".skills: no table (and 1 more: ^r)',
    ),
    (
        "/w/x/perstack.toml is not valid TOML at line 3, column 7: Expected '='",
        "perstack.toml:3: not valid TOML at line 3, column 7: Expected '='",
    ),
    ('Given config path "/w/x/perstack.toml" is not found', None),
    ("/w/x/.env: line 2 is no assignment", ".env: line 2 is no assignment"),
    ("line 41: instruction: missing", "perstack.toml:41: instruction: missing"),
]


@pytest.mark.parametrize(("error", "shown"), PROBLEMS)
def test_problem_with_the_definitions_begins_with_file_and_line(
    error: str, shown: str | None
) -> None:
    told = definitions_problem(DefinitionsUpdate(path=Path("/w/x/perstack.toml"), error=error))
    assert told == (shown or told)
    assert told.startswith((".env", "perstack.toml"))
    assert "/w/x" not in told


@pytest.mark.parametrize("columns", [1, 40, 80, 99, 100, 120, 159, 160, 400])
@pytest.mark.parametrize("rows", [1, 5, 12, 24, 29, 30, 40, 120])
def test_active_pane_is_always_visible(columns: int, rows: int) -> None:
    for active in PANES:
        assert active in arrange(columns, rows, active).visible


def test_every_action_has_its_own_keys_and_words() -> None:
    keys = [key for action in ACTIONS for key in action.keys.split(",") if key]
    assert len(keys) == len(set(keys))
    assert len(BY_ID) == len(ACTIONS)
    assert all(action.help and action.label for action in ACTIONS)


@pytest.mark.parametrize("width", [40, 80, 120])
def test_footer_fits(width: int) -> None:
    state = CockpitState()
    state.take(busy_view(), hold_inbox=False)
    assert width_of(text_of(footer_line(state, width))) <= max(width, 50)


def test_header_names_a_scripted_model() -> None:
    state = CockpitState()
    scripted = replace(running_view().jobs[0].runs[0], provider_name="scripted")
    state.take(
        WorkspaceView((job("j", (replace(scripted, job_id=JobId("j")),)),)), hold_inbox=False
    )
    assert "SCRIPTED MODEL" in text_of(header_line(state, "w", 80))
    assert "writer" in text_of(crumb_line(state))


def test_long_name_of_a_folder_hides_nothing_that_needs_somebody() -> None:
    state = shown_state(busy_view())
    short, long = (text_of(header_line(state, name, 80)) for name in ("w", "a-long-name" * 9))
    assert "▲" in short
    assert long.count("▲") == short.count("▲")
    assert width_of(long) <= 80


def footer(state: CockpitState, *possible: str, width: int = 120) -> str:
    return text_of(footer_line(state, width, lambda name: name in possible))


def test_footer_names_first_what_mends_the_selected_run() -> None:
    failed = shown_state(WorkspaceView((job("job-8f3a", (run("writer", "fail"),)),)))
    assert footer(failed, "new_run", "retry").index(". retry") < footer(
        failed, "new_run", "retry"
    ).index("n new")
    limit = shown_state(WorkspaceView((job("job-8f3a", (run("writer", "limit"),)),)))
    assert "b budget" in footer(limit, "new_run", "reply", "budget", "follow", width=80)
    held = replace(run("writer", "stop"), paused=PauseView("ana", None, NOW))
    paused = shown_state(WorkspaceView((job("job-8f3a", (held,)),)))
    assert "z resume" in footer(paused, "pause")
    assert "z pause" in footer(shown_state(running_view()), "pause")


def test_failure_that_was_done_again_is_counted_once() -> None:
    first = run("worker", "fail", parent="lead", started=9_000, ended=8_000)
    again = replace(
        run("again", parent="lead", started=5_000), expert_key=first.expert_key, query=first.query
    )
    lead = run("lead", "waits", started=10_000)
    state = shown_state(WorkspaceView((job("job-8f3a", (lead, first)),)))
    assert state.counts()["fail"] == 1
    state.take(WorkspaceView((job("job-8f3a", (lead, first, again)),)), hold_inbox=False)
    assert state.counts()["fail"] == 0
    failed = replace(again, state="fail")
    state.take(WorkspaceView((job("job-8f3a", (lead, first, failed)),)), hold_inbox=False)
    assert state.counts()["fail"] == 1


def test_parallel_failures_of_one_query_count_each() -> None:
    first = run("worker", "fail", parent="lead", started=9_000, ended=8_000)
    beside = replace(first, run_id=RunId("run-beside"), started_at=NOW - 8_900)
    lead = run("lead", "waits", started=10_000)
    state = shown_state(WorkspaceView((job("job-8f3a", (lead, first, beside)),)))
    assert state.counts()["fail"] == 2


def test_job_at_its_limit_is_counted_in_the_top_line() -> None:
    state = shown_state(WorkspaceView((job("job-8f3a", (run("writer", "limit"),), alive=False),)))
    assert "■ 1 at a limit" in text_of(header_line(state, "w", 120))


def test_crumbs_say_which_step_the_cursor_is_at() -> None:
    state = shown_state(running_view())
    assert "step 3 of" not in text_of(crumb_line(state))
    assert state.run is not None
    state.point = state.run.points[0].checkpoint_id
    assert f"step 1 of {state.run.step_number}" in text_of(crumb_line(state))


def test_times_above_the_lanes_stay_where_they_are_as_the_cursor_moves() -> None:
    made = run("writer", kinds="ssssssssssss")
    state = shown_state(WorkspaceView((job("job-8f3a", (made,)),)))
    timeline = Timeline()
    still = text_of(timeline.lines(state, 90, NOW)[0]).split()
    for point in made.points:
        state.point = point.checkpoint_id
        shown = text_of(timeline.lines(state, 90, NOW)[0]).split()
        assert len(set(shown) - set(still)) <= 1
        assert len(set(still) - set(shown)) <= 2


def test_letters_in_order_are_looked_for_within_a_word_and_not_in_ids() -> None:
    assert found_in("worker run", "~wrk")
    assert not found_in("waits for asker", "~wrk")
    assert not found_in("asker w1r2k3w1r2k3w1r2k3", "~wrk")


def test_misspelt_key_is_told_before_the_one_that_is_missing() -> None:
    error = (
        '/w/x/perstack.toml: Validation failed:\n  - "a".instruction (line 2): is missing'
        '\n  - "a".instrucion (line 3): unknown; did you mean instruction?'
    )
    told = definitions_problem(DefinitionsUpdate(path=Path("/w/x/perstack.toml"), error=error))
    assert told.startswith('perstack.toml:3: "a".instrucion')
    assert "did you mean instruction?" in told
    assert "(and 1 more: ^r)" in told


@pytest.mark.parametrize("tone", ["info", "good", "bad"])
def test_only_errors_with_a_line_of_their_own_stay_until_a_key(tone: Tone) -> None:
    assert notice_seconds(tone, roomy=False)
    assert (notice_seconds(tone, roomy=True) is None) == (tone == "bad")
