"""Joining JSON that was made before."""

from __future__ import annotations

import json

import pytest

from perstack.providers.wire import MOST_KEPT, Kept, with_array


@pytest.mark.parametrize("elements", [[], [b"1"], [b"1", b'{"a":[2]}', b'"\xc3\xa4"']])
def test_an_array_of_any_length_becomes_the_last_member(elements: list[bytes]) -> None:
    document = with_array(b'{"model":"m"}', "messages", elements)

    expected = [json.loads(element) for element in elements]
    assert json.loads(document) == {"model": "m", "messages": expected}


def test_the_elements_given_are_left_alone() -> None:
    elements = [b"1", b"2"]

    with_array(b'{"a":0}', "b", elements)

    assert elements == [b"1", b"2"]


def test_what_is_made_of_a_value_is_made_once() -> None:
    made: list[tuple[int, ...]] = []

    def make(value: tuple[int, ...]) -> int:
        made.append(value)
        return sum(value)

    kept, value = Kept(make), (1, 2)

    assert [kept.of(value), kept.of(value)] == [3, 3]
    assert made == [value]


def test_values_beyond_what_is_kept_are_still_right() -> None:
    kept = Kept[list[int], int](sum)

    for number in range(MOST_KEPT * 2 + 1):
        assert kept.of([number, number]) == 2 * number
