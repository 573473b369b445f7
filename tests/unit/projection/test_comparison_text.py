"""Comparisons as lines: what fits, what is unknown, and that nothing acts on a terminal."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from perstack.domain.comparisons import ComparisonId, Contest, ContestRow
from perstack.domain.ids import ConsensusId, ExpertKey, JobId
from perstack.domain.usage import Cost, Usage
from perstack.projection.agent_watch import columns
from perstack.projection.comparison_text import (
    IN_FRAME,
    change_line,
    contest_lines,
    remedies,
    result_lines,
    time_words,
)
from perstack.projection.inert import has_hidden

NOW = 1_000_000


def row(label: str = "perstack", **update: object) -> ContestRow:
    known: dict[str, object] = {
        "state": "completed",
        "job_id": JobId("job1"),
        "steps": 12,
        "tool_calls": 34,
        "usage": Usage(input_tokens=1_000, output_tokens=234, total_tokens=1_234),
        "cost": Cost(usd=0.1234),
        "started_at": NOW - 65_000,
        "finished_at": NOW,
        "text": "done",
        "changed": 3,
        "options": ("--config", "/p/my file.toml", "--runtime", "perstack"),
    }
    return ContestRow(label=label, runtime="perstack").model_copy(update=known | update)


def contest(*rows: ContestRow) -> Contest:
    return Contest(
        id=ComparisonId("c1"), expert=ExpertKey("writer"), query="go", started_at=1, rows=rows
    )


def test_a_line_a_contestant_with_all_its_figures() -> None:
    head, first, second = contest_lines(contest(row(model="m"), row("docker")), NOW)
    assert " ".join(head.split()) == "contestant status steps calls time tokens cost files"
    assert first.split() == ["perstack:m", "completed", "12", "34", "1m05", "1,234", "$0.12", "3"]
    assert second.startswith("perstack  ")


def test_what_is_not_known_is_not_a_number() -> None:
    unknown = row(usage=Usage(total_tokens=0, partial=True), cost=Cost(partial=True), changed=None)
    part = row(usage=Usage(total_tokens=900, partial=True), cost=Cost(usd=0.5, partial=True))
    begun, some, none = list(
        contest_lines(contest(unknown, part, row(state="unstarted", started_at=None)), NOW)
    )[1:]
    assert begun.split()[-2:] == ["?", "?"]
    assert some.split()[-3:] == ["≥900", "≥$0.50", "3"]
    assert none.split() == ["perstack", "no", "start", "3"]


def test_the_table_fits_79_cells_and_shows_long_names_where_there_is_room() -> None:
    long = contest(row(model="a-model-with-a-name-that-goes-on-and-on-and-on"), row("docker"))
    assert max(map(columns, contest_lines(long, NOW, 79))) <= 79
    assert max(map(columns, contest_lines(long, NOW, IN_FRAME))) <= IN_FRAME
    assert "on-and-on-and-on" not in "\n".join(contest_lines(long, NOW, 79))
    assert "on-and-on-and-on" in "\n".join(contest_lines(long, NOW, 160))


@given(st.text(max_size=80), st.text(max_size=200), st.integers(0, 10**12))
def test_nothing_that_was_said_acts_on_a_terminal_or_breaks_the_table(
    model: str, said: str, count: int
) -> None:
    usage = Usage(total_tokens=count)
    hostile = contest(
        row(model=model, text=said, error=said, hint=said, warnings=(said,), usage=usage),
        row("docker"),
    )
    table = list(contest_lines(hostile, NOW, 79))
    assert len(table) == 3
    shown = [*table, *result_lines(hostile, {"perstack": said, "docker": "d"})]
    shown.append(change_line(hostile.rows[0], NOW))
    for line in shown:
        assert not has_hidden(line), ascii(line)
        assert "\n" not in line


def test_a_long_result_is_cut_and_says_by_how_much() -> None:
    said = "\n".join(f"line {at}" for at in range(40))
    lines = list(result_lines(contest(row(text=said)), {"perstack": "d"}))
    assert "    line 11" in lines
    assert "    line 12" not in lines
    assert "    … 28 lines more" in lines


def test_who_waits_at_a_gate_is_decided_in_its_own_folder() -> None:
    waits = row(state="waiting", consensus_id=ConsensusId("c-9"))
    (remedy,) = remedies(contest(waits), waits, "/w/a b")
    assert remedy == "to decide: perstack consensus show c-9 --workspace '/w/a b'"


def test_who_stopped_can_go_on_with_the_definitions_and_the_runtime_it_had() -> None:
    stopped = row(state="stopped")
    _, go_on = remedies(contest(stopped), stopped, "/w/c")
    assert go_on.startswith("to go on: perstack run writer --continue-job job1 --workspace /w/c ")
    assert go_on.endswith("--config '/p/my file.toml' --runtime perstack")


def test_spans_are_as_fine_as_they_are_short() -> None:
    words = [time_words(ms) for ms in (None, 0, 840, 9_949, 9_950, 59_400, 185_000, 7_620_000)]
    assert words == ["", "0.0s", "0.8s", "9.9s", "10s", "59s", "3m05", "2h07"]
