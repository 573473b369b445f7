"""What is typed behind `:`, filters, fuzzy finding, jump labels and the views one comes back to."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perstack.domain.ids import RunId
from perstack.projection.views import JobView, RunView
from perstack_tui.actions import ACTIONS
from perstack_tui.ports.records import RECORD_KINDS
from perstack_tui.state.filters import found_in, fuzzy_score
from perstack_tui.state.goto import (
    Going,
    Places,
    completions,
    find_job,
    find_run,
    parse,
    point_at,
    verbs,
)
from perstack_tui.state.index import index_of
from perstack_tui.state.jump import Spot, labels_for
from perstack_tui.state.layout import PANES
from perstack_tui.state.shell import command
from perstack_tui.state.views import MOST, View, Views
from tests.fakes.gateway import NOW, busy_view, run

INDEX = index_of(busy_view())
PLACES = Places(INDEX, ("writer", "researcher"), ("dark", "light"))


@pytest.mark.parametrize(
    ("typed", "going"),
    [
        (":agents run", Going("pane", "agents", "run")),
        ("agents !idle", Going("pane", "agents", "!idle")),
        (":job 8f3a @14:00", Going("job", "8f3a", at="14:00")),
        (":run run-writer", Going("run", "run-writer")),
        ("INBOX high", Going("pane", "inbox", "high")),
        (":expert writer", Going("expert", "writer")),
        (":theme light", Going("theme", "light")),
        (":mouse off", Going("mouse", "off")),
        (":svg out.svg", Going("action", "svg", "out.svg")),
        (":keys", Going("action", "help")),
        (":q", Going("action", "quit")),
        (":tasks", Going("records", "tasks")),
        (":memory needle in hay", Going("records", "memory", "needle in hay")),
        (":records agents x", Going("records", "agents", "x")),
        (":pause", Going("action", "pause")),
    ],
)
def test_what_is_typed_leads_somewhere(typed: str, going: Going) -> None:
    assert parse(typed) == going


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        (":agnts", "did you mean :agents?"),
        (":taks", "did you mean :tasks?"),
        (":records tsks", "did you mean tasks?"),
        (":job", "which job?"),
        (":expert", "which Expert?"),
        (":mouse sideways", "on or off"),
        ("", "tab completes"),
    ],
)
def test_what_leads_nowhere_says_what_is_near(typed: str, said: str) -> None:
    told = parse(typed)
    assert isinstance(told, str)
    assert said in told


@given(
    st.text(max_size=60), st.sampled_from(["", "job ", "agents ", "run x@", "theme ", "records "])
)
def test_nothing_typed_raises(text: str, before: str) -> None:
    going = parse(before + text)
    completions(before + text, PLACES)
    if isinstance(going, Going) and going.kind == "run":
        found = find_run(INDEX, going.name)
        if not isinstance(found, str):
            point_at(found, going.at)


def test_every_pane_kind_and_action_of_the_palette_can_be_gone_to_by_name() -> None:
    wanted = {*PANES, *RECORD_KINDS, *(action.id for action in ACTIONS if action.palette)}
    assert {name for name in wanted if not name.startswith("pane_")} <= set(verbs())
    for name in wanted:
        assert not isinstance(parse(name), str)


def test_completion_offers_verbs_then_what_they_take() -> None:
    assert completions("ag", PLACES)[0].text == "agents"
    assert [offer.text for offer in completions("theme ", PLACES)] == ["theme dark", "theme light"]
    assert completions("expert wr", PLACES)[0].text == "expert writer"
    assert "agents writer !done" in [
        offer.text for offer in completions("agents writer !do", PLACES)
    ]
    jobs = completions("job audit", PLACES)
    assert [(offer.text, offer.note) for offer in jobs] == [("job job-5c1e", "auditor asks")]
    assert completions("nonsense ", PLACES) == ()


def test_jobs_and_runs_are_found_by_the_beginning_of_their_id_or_by_expert() -> None:
    for name in ("job-8f3a", "8f3a", "8f", "coordinator"):
        found = find_job(INDEX, name)
        assert isinstance(found, JobView)
        assert found.job_id == "job-8f3a"
    writer = find_run(INDEX, "writer")
    assert isinstance(writer, RunView)
    assert writer.run_id == RunId("run-writer")
    assert "no job" in str(find_job(INDEX, "zzz"))


def test_point_is_the_last_checkpoint_until_a_time_or_step() -> None:
    shown = run("a", kinds="ssss", started=3_600_000)
    second = shown.points[1]
    clock = time.strftime("%H:%M:%S", time.localtime(second.timestamp / 1000))
    assert point_at(shown, clock) == second
    assert point_at(shown, "#2") == second
    assert point_at(shown, "#99") == point_at(shown, "last") == shown.points[-1]
    assert point_at(shown, "#0") == shown.points[0]
    for wrong in ("25:00", "14", "noon", "1:2:3:4", "#x", "²:00", "1" * 5000 + ":00"):
        assert isinstance(point_at(shown, wrong), str), wrong
    assert isinstance(point_at(run("b"), "14:00"), str)


def test_time_of_yesterday_is_found_when_the_run_went_over_midnight() -> None:
    day = 86_400_000
    shown = run("a", kinds="ss", started=day)
    first, last = shown.points
    later = time.strftime("%H:%M", time.localtime((last.timestamp + 120_000) / 1000))
    assert point_at(shown, later) == last
    assert NOW - day < first.timestamp < last.timestamp


@pytest.mark.parametrize(
    ("needle", "found"),
    [
        ("writer", True),
        ("WRITER run", True),
        ("writer !done", True),
        ("!run", False),
        ("~wtr", True),
        ("~rtw", False),
        ("!~wtr", False),
        ("! ~ ", True),
        ("", True),
    ],
)
def test_filter_means_all_words_none_excluded_letters_in_order(needle: str, found: bool) -> None:
    assert found_in("writer@1.2 run CHANGELOG.md", needle) is found


def test_better_matches_score_higher() -> None:
    hay = ["stop the run", "restop", "set top of pane"]
    scores = [fuzzy_score(text, "stop") for text in hay]
    assert scores == sorted(scores, reverse=True)
    assert scores[-1] > 0
    assert fuzzy_score("abc", "zz") == 0


@given(st.integers(0, 900))
def test_no_jump_label_begins_another(count: int) -> None:
    labels = labels_for([Spot("tree", number) for number in range(count)])
    assert len(labels) == min(count, 676)
    assert all(len(label) <= 2 for label in labels)
    single = {label for label in labels if len(label) == 1}
    assert not any(label[0] in single for label in labels if len(label) == 2)


def test_views_go_back_and_forth_and_a_step_in_a_list_is_no_view() -> None:
    views = Views()
    views.visit(View("tree", RunId("a")))
    views.visit(View("tree", RunId("b")), moved=True)
    views.visit(View("agents", RunId("b")))
    views.visit(View("stream", RunId("b")))
    assert views.step(-1) == View("agents", RunId("b"))
    assert views.step(-1) == View("tree", RunId("b"))
    assert views.step(-1) is None
    assert views.step(1) == View("agents", RunId("b"))
    assert views.last() == View("tree", RunId("b"))
    assert views.last() == View("agents", RunId("b"))
    assert views.step(1) is None


def test_views_are_bounded() -> None:
    views = Views()
    for number in range(5 * MOST):
        views.visit(View("tree", RunId(str(number)), needle=str(number)))
    steps = 0
    while views.step(-1) is not None:
        steps += 1
    assert steps == MOST - 1


def test_shell_form_is_quoted_and_inert() -> None:
    assert command("log", "--job", "a b; $HOME") == "perstack log --job 'a b; $HOME'"
    assert "\x1b" not in command("start", "evil\x1b[2J\n")
    assert "\n" not in command("start", "evil\x1b[2J\n")
