"""The delegation tree: what is folded, what is named, what stays where it is."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import replace

from perstack.domain.ids import ExpertKey
from perstack.domain.usage import Cost
from perstack.projection.views import JobView, WorkspaceView
from perstack_tui.settings import Settings
from perstack_tui.state.cockpit import CockpitState
from perstack_tui.state.lines import Line
from perstack_tui.state.roster import AgentKey
from perstack_tui.state.tree import DoneKey, Tree
from perstack_tui.text import width_of
from tests.fakes.gateway import NOW, busy_view, definitions, job, run
from tests.fakes.wide import agent, everything_view, siblings_job


def text_of(line: Line) -> str:
    return "".join(text for text, _ in (*line.left, *line.right))


def state_of(*jobs: JobView) -> CockpitState:
    state = CockpitState()
    state.take(WorkspaceView(jobs, caught_up=True), hold_inbox=False)
    return state


def tree(state: CockpitState, width: int = 60, now: int = NOW) -> Sequence[Line]:
    return Tree().lines(state, width, now, Settings())


def keys(lines: Sequence[Line]) -> list[Hashable]:
    return [line.key for line in lines if line.key is not None]


def test_siblings_done_for_half_a_minute_fold_to_a_line_with_their_cost() -> None:
    lines = tree(state_of(siblings_job()))
    assert DoneKey(siblings_job().coordinator_run_id) in keys(lines)
    assert "run-one" not in keys(lines)
    folded = next(text_of(line) for line in lines if isinstance(line.key, DoneKey))
    assert "3 done" in folded
    assert "$0.12" in folded


def test_what_failed_and_what_has_just_ended_never_folds() -> None:
    assert "run-four" in keys(tree(state_of(siblings_job())))
    assert "run-one" in keys(tree(state_of(siblings_job(done_for_ms=10_000))))


def test_siblings_fold_as_time_goes_on_though_nothing_happens() -> None:
    state, made = state_of(siblings_job(done_for_ms=10_000)), Tree()
    assert "run-one" in keys(made.lines(state, 60, NOW, Settings()))
    assert "run-one" not in keys(made.lines(state, 60, NOW + 20_001, Settings()))


def test_selected_run_is_not_folded_away() -> None:
    state = state_of(siblings_job())
    state.select(siblings_job().runs[2].run_id)
    assert "run-two" in keys(tree(state))


def test_folded_siblings_open_and_close() -> None:
    state = state_of(siblings_job())
    done = DoneKey(siblings_job().coordinator_run_id)
    state.select_row(done)
    assert state.tree_key() == done
    state.fold_tree(closed=False)
    assert "run-one" in keys(tree(state))
    state.select(siblings_job().runs[1].run_id)
    state.fold_tree(closed=True)
    assert state.run_id == done.parent
    assert "run-one" not in keys(tree(state))


def test_cost_is_that_of_the_run_or_of_all_below_it() -> None:
    boss = run("boss", "waits", children=("child",), cost=Cost(usd=0.5))
    state = state_of(job("job-8f3a", (boss, run("child", parent="boss", cost=Cost(usd=0.25)))))
    assert "$0.50" in text_of(tree(state)[1])
    state.cost_of_subtree = True
    assert "$0.75" in text_of(tree(state)[1])


def test_runs_of_an_agent_are_below_its_name() -> None:
    first, second = run("writer", "done", ended=5_000), run("writer2")
    state = state_of(job("job-8f3a", (first, second)))
    state.agents_on_record = (agent("otto", job_name="job-8f3a"),)
    lines = tree(state)
    assert "otto" in text_of(lines[1])
    assert isinstance(lines[1].key, AgentKey)
    assert keys(lines)[1:] == ["run-writer", "run-writer2"]
    assert "├" in text_of(lines[2])
    assert "└" in text_of(lines[3])


def test_a_single_run_of_an_agent_bears_its_name() -> None:
    state = state_of(job("job-8f3a", (run("writer"),)))
    state.agents_on_record = (agent("otto", job_name="job-8f3a"),)
    assert "otto" in text_of(tree(state)[1])


def test_row_of_an_agent_can_be_left_in_both_directions() -> None:
    state = state_of(job("job-8f3a", (run("writer", "done", ended=5_000), run("writer2"))))
    state.agents_on_record = (agent("otto", job_name="job-8f3a"),)
    lines = tree(state)
    head = keys(lines)[0]
    assert isinstance(head, AgentKey)
    state.select_row(head)
    assert state.tree_key() == head
    state.select(state.index.view.jobs[0].runs[0].run_id)
    assert state.tree_key() == "run-writer"


def test_filter_keeps_what_matches_and_what_is_above_it() -> None:
    state = CockpitState()
    state.take(busy_view(), hold_inbox=False)
    state.filters["tree"] = "summarizer"
    assert keys(tree(state)) == ["run-coordinator", "run-researcher", "run-summarizer"]


def test_new_branches_come_last_and_move_nothing() -> None:
    before = siblings_job(done_for_ms=1000)
    old = keys(tree(state_of(before)))
    late = run("six", parent="boss", started=100)
    boss = replace(before.runs[0], children=(*before.runs[0].children, late.run_id))
    new = keys(tree(state_of(replace(before, runs=(boss, *before.runs[1:], late)))))
    assert new == [*old, "run-six"]


def test_every_row_has_the_width_of_the_pane() -> None:
    state = CockpitState()
    state.take(everything_view(), hold_inbox=False)
    for width in (36, 39, 44, 60, 150):
        wide = {width_of(text_of(line)) for line in tree(state, width) if line.key is not None}
        assert wide == {width}


def test_selected_job_stays_open_as_another_one_begins() -> None:
    old = job("job-old", (run("gater", "done", job="job-old", ended=1_000), run("x", "done")))
    state = state_of(old)
    late = job("job-new", (run("late", job="job-new", started=10),))
    state.take(WorkspaceView((late, old), caught_up=True), hold_inbox=False)
    assert state.run_id == "run-gater"
    assert "run-x" in keys(tree(state))
    state.select(late.runs[0].run_id)
    assert "run-x" in keys(tree(state))


def test_what_is_read_back_in_pieces_opens_no_old_job() -> None:
    old = job("job-old", (run("gater", "done", job="job-old", ended=1_000), run("x", "done")))
    state = CockpitState()
    state.take(WorkspaceView((old,)), hold_inbox=False)
    late = job("job-new", (run("late", job="job-new", started=10),))
    state.take(WorkspaceView((late, old), caught_up=False), hold_inbox=False)
    assert "run-x" not in keys(tree(state))


def test_time_is_how_long_a_run_has_gone_on_in_every_row() -> None:
    waits = run("writer", "gate", started=120_000)
    done = run("old", "done", job="job-old", started=600_000, ended=590_000)
    pair = (done, replace(run("x", "done", job="job-old"), parent_run_id=done.run_id))
    state = state_of(job("job-8f3a", (waits,)), job("job-old", pair))
    shown = [text_of(line) for line in tree(state) if line.key is not None]
    assert "2m00" in shown[0]
    assert "10s" in shown[1]


def test_delegations_to_one_expert_say_what_each_is_about() -> None:
    children = tuple(
        replace(run(name, parent="boss"), expert_key=ExpertKey("worker"), query=f"Read {name}.md")
        for name in ("one", "two")
    )
    boss = run("boss", "waits", children=("one", "two"))
    shown = [text_of(line) for line in tree(state_of(job("job-8f3a", (boss, *children))))]
    assert "worker …one.md" in shown[2]
    assert "worker …two.md" in shown[3]


def test_without_experts_nobody_is_told_to_press_a_key_that_refuses() -> None:
    state = state_of()
    assert "starts an Expert" not in "".join(map(text_of, tree(state)))
    state.definitions = definitions()
    assert "starts an Expert" in "".join(map(text_of, tree(state)))
