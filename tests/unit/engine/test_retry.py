"""How long is waited before asking again."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perstack.engine.retry import (
    FIRST_DELAY_S,
    LONGEST_DELAY_S,
    LONGEST_RETRY_AFTER_S,
    delay_s,
)

EXPERTS = 20


@given(st.integers(1, 10_000), st.none() | st.floats(0, 10**9), st.integers(0, 2**32))
def test_the_wait_is_at_least_what_was_asked_and_always_bounded(
    attempt: int, asked_s: float | None, seed: int
) -> None:
    wait = delay_s(attempt, asked_s, rng=random.Random(seed))
    if asked_s is None:
        assert FIRST_DELAY_S / 2 <= wait <= LONGEST_DELAY_S
    else:
        least = min(asked_s, LONGEST_RETRY_AFTER_S)
        assert least <= wait <= least + LONGEST_DELAY_S


@pytest.mark.parametrize("asked_s", [None, 2.0])
def test_row_l18_experts_that_were_refused_together_come_back_ever_further_apart(
    asked_s: float | None,
) -> None:
    rng = random.Random(7)
    spreads: list[float] = []
    for attempt in range(1, 7):
        waits = [delay_s(attempt, asked_s, rng=rng) for _ in range(EXPERTS)]
        assert len({round(wait, 3) for wait in waits}) > EXPERTS // 2
        spreads.append(max(waits) - min(waits))
    assert spreads == sorted(spreads)
    assert spreads[-1] > 5
