"""Lines fitted to a width: nothing is lost, and nothing that goes on poses as a line of its own."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from perstack.projection.agent_watch import columns
from perstack.projection.table_text import field
from perstack.projection.wrapping import wrapped


@given(st.integers(0, 8), st.text("ab 日é", max_size=300), st.integers(20, 120))
def test_no_line_is_wider_and_no_word_is_lost(indent: int, text: str, width: int) -> None:
    line = " " * indent + text
    found = list(wrapped([line], width))
    assert all(columns(each) <= width for each in found)
    assert "".join("".join(found).split()) == "".join(line.split())


def test_what_fits_stays_as_it_is() -> None:
    lines = ["", "  a  b", "x" * 80]
    assert list(wrapped(lines)) == lines


def test_a_labelled_value_goes_on_below_itself() -> None:
    first, second = wrapped([field("Description", "word " * 14 + "end")], 70)
    assert first == field("Description", ("word " * 11).strip())
    assert second == " " * 14 + "word word word end"


def test_a_value_of_one_long_word_begins_beside_its_label() -> None:
    first, second = wrapped([field("Integrity", "x" * 80)])
    assert first == field("Integrity", "x" * 66)
    assert second == " " * 14 + "x" * 14


def test_what_goes_on_is_indented_deeper_than_its_line() -> None:
    found = list(wrapped(["  " + "Status        available " * 9], 60))
    assert len(found) > 2
    assert not any(each.startswith("Status") for each in found)


def test_a_line_as_long_as_a_registry_may_send_is_broken_at_once() -> None:
    assert len(list(wrapped(["\u4e00 " * 250_000]))) > 9_000
