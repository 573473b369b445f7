"""Runs of one Expert are told apart by what they were asked."""

from __future__ import annotations

from dataclasses import replace

from perstack.projection.views import RunView
from perstack_tui.state.twins import Twins, hints_of
from tests.fakes.gateway import job, run

ASKED = ("Summarise chapter one", "Summarise chapter two", "Summarise chapter three")


def workers(*queries: str) -> tuple[RunView, ...]:
    """Runs of one Expert, one for each query."""
    made = run("worker", parent="lead")
    return tuple(
        replace(made, run_id=type(made.run_id)(f"run-{number}"), query=query)
        for number, query in enumerate(queries)
    )


def test_hints_begin_where_the_queries_differ() -> None:
    assert list(hints_of(workers(*ASKED)).values()) == ["…one", "…two", "…three"]


def test_queries_that_share_nothing_are_shown_from_their_beginning() -> None:
    assert list(hints_of(workers("count files", "draw a map")).values()) == [
        "count files",
        "draw a map",
    ]


def test_runs_with_the_same_query_are_numbered() -> None:
    assert list(hints_of(workers("count", "count")).values()) == ["#1 count", "#2 count"]
    assert list(hints_of(workers("count all", "count all")).values()) == ["#1 all", "#2 all"]


def test_a_name_that_stands_once_needs_no_hint() -> None:
    one = job("job-8f3a", (run("lead"), *workers("count")))
    assert Twins().hint(one, one.runs[1].run_id) == ""


def test_hints_follow_the_job_as_it_grows() -> None:
    twins, lead = Twins(), run("lead")
    first = job("job-8f3a", (lead, *workers(ASKED[0])))
    grown = job("job-8f3a", (lead, *workers(*ASKED[:2])))
    one = first.runs[1].run_id
    assert (twins.hint(first, one), twins.hint(grown, one)) == ("", "…one")


def test_what_was_asked_is_shown_without_line_breaks_or_hidden_characters() -> None:
    (first, _) = hints_of(workers("a\nb\x1b[2J", "c")).values()
    assert "\n" not in first
    assert "\x1b" not in first
