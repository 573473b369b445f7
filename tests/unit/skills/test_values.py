"""How the values of a message are counted before it is read."""

from __future__ import annotations

import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import JsonValue

from perstack.skills.mcp.values import EVENT, LINE, MAX_VALUES, TooManyValuesError, ValueCounter

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text('ab"\\,[{\n', max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text('x"\\', max_size=3), inner),
    max_leaves=20,
)
_STRING = re.compile(r'"(?:[^"\\]|\\.)*"')


def counted(*pieces: bytes, end: bytes | None = LINE) -> int:
    counter, count = ValueCounter(end), 0
    for piece in pieces:
        count = counter.add(piece)
    return count


def simply_counted(line: str) -> int:
    """Count as one would who has all the time: strings out, then the signs between values."""
    strings = len(_STRING.findall(line))
    return strings + sum(_STRING.sub("", line).count(sign) for sign in ",[{")


@given(JSON, st.lists(st.integers(1, 12), max_size=40))
def test_the_pieces_make_no_difference(value: JsonValue, sizes: list[int]) -> None:
    line = json.dumps(value)
    pieces: list[bytes] = []
    rest = line.encode()
    for size in sizes:
        pieces.append(rest[:size])
        rest = rest[size:]
    assert counted(*pieces, rest) == simply_counted(line)


def test_a_long_text_is_one_value_whatever_is_in_it() -> None:
    text = json.dumps({"text": 'a,[{"\n\\' * 100_000}).encode()
    assert counted(text) == counted(*[text[at : at + 65_536] for at in range(0, len(text), 65_536)])
    assert counted(text) == 3


@pytest.mark.parametrize("value", [b"[],", b"1,", b'"",', b"{", b'{"a":1},'])
def test_too_many_values_are_refused_before_the_end(value: bytes) -> None:
    with pytest.raises(TooManyValuesError, match="more than 250,000 values"):
        counted(*[value * 1_000] * (MAX_VALUES // 1_000 + 1))


HALF = b"1," * (MAX_VALUES // 2 + 1)


def test_each_line_counts_by_itself_where_it_is_a_message() -> None:
    assert counted(HALF, b"\n", HALF, b"\n", HALF[:10]) == 5
    with pytest.raises(TooManyValuesError):
        counted(HALF, b"\n", HALF, end=EVENT)
    with pytest.raises(TooManyValuesError):
        counted(HALF, b"\n\n", HALF, end=None)


@pytest.mark.parametrize("end", [b"\n\n", b"\r\n\r\n"])
def test_each_event_counts_by_itself(end: bytes) -> None:
    assert counted(HALF, end, HALF, end + HALF[:10], end=EVENT) == 5


@pytest.mark.parametrize("end", [LINE, EVENT, None])
def test_a_quote_that_was_left_open_hides_only_its_own_line(end: bytes | None) -> None:
    """Else one such line would make text of values, and values of text, from then on."""
    with pytest.raises(TooManyValuesError):
        counted(b': it says "\n', b"data: [", HALF, HALF, end=end)
    with pytest.raises(TooManyValuesError):
        counted(b'noise "\\', b"\n", HALF, HALF, end=end)
    assert counted(b'noise "\n', b'"', b"a," * MAX_VALUES, b'"', end=LINE) == 1


@given(st.lists(st.binary(max_size=20), max_size=20))
def test_what_is_no_json_is_counted_somehow_and_quickly(pieces: list[bytes]) -> None:
    assert counted(*pieces) <= sum(map(len, pieces))


def test_a_string_without_an_end_costs_one_look() -> None:
    assert counted(b'"' + b'\\"' * 2_000_000) == 1
