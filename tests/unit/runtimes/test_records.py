"""Lines of programs: what of them is a record, and what of them may be shown."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perstack.runtimes.records import count_at, fit_record, number_at, shown_line


@given(st.binary(max_size=200))
def test_no_line_is_too_wild_to_look_at(line: bytes) -> None:
    record = fit_record(line)
    assert record is None or json.dumps(record, allow_nan=False).encode() is not None


@pytest.mark.parametrize(
    ("line", "record"),
    [
        ('{"a": NaN, "b": [-Infinity, 1e999], "c": -1e5}', {"a": None, "b": [None] * 2, "c": -1e5}),
        ('{"a": "\\ud83d\\ude00", "b": "\\ud83d"}', {"a": "😀", "b": "?"}),
        ('{"a": 1, "a": 2}', {"a": 2}),
        ('{"a": ' + "9" * 5000 + "}", None),
        ("[" * 100_000, None),
        ("[1]", None),
        ("", None),
    ],
)  # fmt: skip
def test_what_of_a_line_is_a_record(line: str, record: object) -> None:
    assert fit_record(line.encode()) == record


def test_what_is_too_deep_is_left_out() -> None:
    record = fit_record(b'{"a": ' + b"[" * 900 + b"]" * 900 + b"}")
    assert record is not None
    assert json.dumps(record).count("[") < 64


@pytest.mark.parametrize("value", [10**400, -(10**400), float("nan"), True, "1", None])
def test_what_is_no_number_is_none(value: int) -> None:
    assert number_at({"n": value}, "n") is None
    assert count_at({"n": value}, "n") == 0


@given(st.lists(st.sampled_from(["words ", "and ", "x" * 300, '"', ", "]), max_size=30))
def test_a_line_is_cut_where_no_word_is_cut_in_two(pieces: list[str]) -> None:
    line = ("".join(pieces) + " key=" + "S" * 40 + " more" * 300).encode()
    shown = shown_line(line)
    assert len(shown) <= 1_001
    assert "S" not in shown or "S" * 40 in shown


def test_a_line_that_is_one_long_word_is_not_shown() -> None:
    assert shown_line(b"x" * 5_000) == "…"
    assert shown_line("é".encode() * 3_000) == "…"
