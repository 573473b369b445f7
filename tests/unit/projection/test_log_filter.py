from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import JsonValue

from perstack.errors import UsageError
from perstack.projection.log_filter import parse_condition, parse_steps

RECORD: dict[str, JsonValue] = {
    "type": "callTools",
    "stepNumber": 3,
    "toolCalls": [{"toolName": "exec", "args": {"n": 1}}, {"toolName": "todo", "args": {}}],
    "isError": True,
    "text": "two words",
}


@pytest.mark.parametrize(
    ("text", "passing"),
    [
        ("3", {3}),
        (">3", {4, 5, 6}),
        (">= 3", {3, 4, 5, 6}),
        ("<3", {1, 2}),
        ("<=3", {1, 2, 3}),
        ("2-4", {2, 3, 4}),
    ],
)
def test_steps_are_chosen(text: str, passing: set[int]) -> None:
    test = parse_steps(text)
    assert {step for step in range(1, 7) if test(step)} == passing


@pytest.mark.parametrize("text", ["", "x", ">2-3", "-1", "2-", "1e9", "99999999999999"])
def test_unusable_steps_are_refused_with_an_example(text: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_steps(text)
    assert caught.value.hint is not None


@pytest.mark.parametrize(
    ("text", "holds"),
    [
        (".stepNumber > 1", True),
        (".stepNumber <= 2", False),
        (".type == callTools", True),
        ('.type == "callTools"', True),
        (".type != retry", True),
        (".toolCalls[0].toolName == exec", True),
        (".toolCalls[1].toolName == exec", False),
        (".toolCalls[].toolName == todo", True),
        (".toolCalls[].args.n == 1", True),
        (".toolCalls[9].toolName == exec", False),
        (".isError == true", True),
        (".isError == 1", False),
        (".missing != x", False),
        (".text == two words", True),
        (".type > 3", False),
        (".stepNumber.deeper == 3", False),
    ],
)
def test_conditions_hold_or_not(text: str, holds: bool) -> None:
    assert parse_condition(text)(RECORD) is holds


@pytest.mark.parametrize("text", ["", "stepNumber > 1", ".stepNumber", ". == 1", ".a[x] == 1"])
def test_unusable_conditions_are_refused(text: str) -> None:
    with pytest.raises(UsageError):
        parse_condition(text)


@given(st.text(max_size=60))
def test_any_text_is_a_condition_or_a_usage_error(text: str) -> None:
    try:
        test = parse_condition(text)
    except UsageError:
        return
    assert test(RECORD) in (True, False)
