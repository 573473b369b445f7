"""JSON as people read it, whatever a model wrote."""

from __future__ import annotations

import gc
import json

from hypothesis import given
from hypothesis import strategies as st
from pydantic import JsonValue

from perstack.projection.pretty import pretty_json

VALUES: st.SearchStrategy[JsonValue] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


@given(VALUES)
def test_what_is_shown_is_the_same_value(value: JsonValue) -> None:
    assert json.loads(pretty_json(value)) == value


def test_each_level_is_indented_and_letters_stay_letters() -> None:
    assert pretty_json({"a": ["ü"], "b": []}) == '{\n  "a": [\n    "ü"\n  ],\n  "b": []\n}'


def test_half_a_pair_of_surrogates_is_no_error() -> None:
    assert json.loads(pretty_json({"a": "\ud800"})) == {"a": "\ud800"}


def test_nothing_is_left_for_the_garbage_collector() -> None:
    pretty_json({"a": 1})
    gc.collect()
    for _ in range(50):
        pretty_json({"a": [1, {"b": 2}]})
    assert gc.collect() < 50
