"""What a person types to give a job more."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perstack_tui.ports.steering import BudgetRaise
from perstack_tui.state.budget import raise_words, read_raise


@pytest.mark.parametrize(
    ("text", "more"),
    [
        ("50", BudgetRaise(max_steps=50)),
        ("+1_000 steps", BudgetRaise(max_steps=1000)),
        ("100k tokens", BudgetRaise(max_tokens=100_000)),
        ("1.5M tok", BudgetRaise(max_tokens=1_500_000)),
        ("$2.50", BudgetRaise(max_cost=2.5)),
        ("3 usd", BudgetRaise(max_cost=3)),
        ("15m", BudgetRaise(max_duration_ms=900_000)),
        ("20, 50k tokens; $1 1h", BudgetRaise(20, 50_000, 1.0, 3_600_000)),
    ],
)
def test_amounts_are_read_with_their_units(text: str, more: BudgetRaise) -> None:
    assert read_raise(text) == more


@pytest.mark.parametrize("text", ["", "soon", "0", "1.5", "$1 steps", "5 apples", "9" * 15, "-3"])
def test_what_is_no_amount_is_said_in_words(text: str) -> None:
    assert isinstance(read_raise(text), str)


@given(st.text(max_size=60))
def test_anything_typed_is_read_or_refused(text: str) -> None:
    found = read_raise(text)
    assert isinstance(found, str) or raise_words(found)
