"""What tokens cost, and how it is said."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perstack.domain.usage import (
    NO_COST,
    NO_USAGE,
    Cost,
    LongPromptPrice,
    ModelPrice,
    Usage,
    cost_usd,
)
from perstack.projection.money import cost_cell, cost_words, token_words, usd_words

PRICE = ModelPrice(input=2, output=10, cached_input=0.2, cache_write=2.5)
TIERED = ModelPrice(
    input=2,
    output=10,
    cached_input=0.2,
    long_prompt=LongPromptPrice(above=100, input=4, output=15, cached_input=0.4),
)
M = 1_000_000


@pytest.mark.parametrize(
    ("usage", "usd"),
    [
        (Usage(input_tokens=M), 2.0),
        (Usage(output_tokens=M, reasoning_tokens=M), 10.0),
        (Usage(input_tokens=M, cached_input_tokens=M), 0.2),
        (Usage(input_tokens=M, cache_write_tokens=M), 2.5),
        (Usage(input_tokens=4 * M, cached_input_tokens=M, cache_write_tokens=M), 4 + 0.2 + 2.5),
        (Usage(), 0.0),
    ],
)
def test_each_kind_of_token_has_its_price(usage: Usage, usd: float) -> None:
    assert cost_usd(usage, PRICE) == pytest.approx(usd)


def test_no_price_means_unknown_not_nothing() -> None:
    assert cost_usd(Usage(input_tokens=1), None) is None


def test_tokens_that_nobody_counted_have_no_known_cost() -> None:
    assert cost_usd(Usage(input_tokens=M, partial=True), PRICE) is None


def test_a_sum_with_a_part_that_nobody_counted_says_so() -> None:
    whole, part = Usage(input_tokens=5, total_tokens=5), Usage(output_tokens=3, partial=True)
    assert whole.plus(part).partial
    assert not whole.plus(whole).partial


@pytest.mark.parametrize("untold", [NO_USAGE, Usage(input_tokens=5, partial=True)])
def test_a_generation_that_used_nothing_was_not_counted(untold: Usage) -> None:
    assert untold.believable().partial


def test_believable_figures_stay_as_they_are() -> None:
    told = Usage(input_tokens=5, output_tokens=0, total_tokens=5, cached_input_tokens=2)
    assert told.believable() == told


def test_that_all_was_counted_is_not_written_down() -> None:
    assert "partial" not in NO_USAGE.model_dump()
    assert Usage.model_validate_json(Usage(partial=True).model_dump_json()).partial


def test_a_cache_price_that_is_unknown_makes_unknown_only_what_used_the_cache() -> None:
    price = ModelPrice(input=2, output=10)
    assert cost_usd(Usage(input_tokens=M), price) == 2
    assert cost_usd(Usage(input_tokens=M, cached_input_tokens=1), price) is None
    assert cost_usd(Usage(input_tokens=M, cache_write_tokens=1), price) is None


def test_a_long_request_is_charged_the_long_price_for_all_its_tokens() -> None:
    def cost(tokens: int) -> float | None:
        return cost_usd(
            Usage(input_tokens=tokens, cached_input_tokens=50, output_tokens=10), TIERED
        )

    assert cost(100) == pytest.approx((50 * 2 + 50 * 0.2 + 10 * 10) / M)
    assert cost(101) == pytest.approx((51 * 4 + 50 * 0.4 + 10 * 15) / M)


TOKENS = st.integers(0, 10**9)


@given(TOKENS, TOKENS, TOKENS, TOKENS, st.integers(0, 1000))
def test_no_usage_costs_less_than_nothing_and_more_tokens_never_cost_less(
    read: int, said: int, cached: int, written: int, more: int
) -> None:
    usage = Usage(
        input_tokens=read,
        output_tokens=said,
        cached_input_tokens=min(read, cached),
        cache_write_tokens=min(read, written),
    )
    cost = cost_usd(usage, PRICE)
    dearer = cost_usd(usage.plus(Usage(input_tokens=more, output_tokens=more)), PRICE)
    assert cost is not None
    assert dearer is not None
    assert 0 <= cost <= dearer


@given(st.lists(st.none() | st.floats(0, 10), max_size=20), st.integers(0, 20))
def test_sums_do_not_depend_on_how_they_are_split(costs: list[float | None], at: int) -> None:
    def total(of: list[float | None]) -> Cost:
        sum_ = NO_COST
        for cost in of:
            sum_ = sum_.plus(cost)
        return sum_

    whole, split = total(costs), total(costs[:at]).joined(total(costs[at:]))
    assert whole.partial == split.partial == (None in costs)
    assert math.isclose(whole.usd, split.usd, abs_tol=1e-9)


@pytest.mark.parametrize(
    ("cost", "words", "cell"),
    [
        (Cost(), "$0.00", "$0.00"),
        (Cost(usd=0.00001), "<$0.0001", "<$0.001"),
        (Cost(usd=0.0042), "$0.0042", "$0.0042"),
        (Cost(usd=0.12), "$0.12", "$0.12"),
        (Cost(usd=0.12, partial=True), "≥ $0.12", "≥$0.12"),
        (Cost(usd=12.5), "$12.50", "$12.50"),
        (Cost(usd=1234.5), "$1,234.50", "$1.2k"),
        (Cost(usd=2_500_000, partial=True), "≥ $2,500,000.00", "≥$2.5M"),
        (Cost(partial=True), "unknown", "?"),
    ],
)
def test_costs_are_said_plainly(cost: Cost, words: str, cell: str) -> None:
    assert cost_words(cost) == words
    assert cost_cell(cost) == cell


@given(st.floats(0, 10**8), st.booleans())
def test_a_cell_is_never_wider_than_its_column(usd: float, partial: bool) -> None:
    assert len(cost_cell(Cost(usd=usd, partial=partial))) <= 8
    assert usd_words(usd).startswith(("$", "<$"))


@pytest.mark.parametrize(
    ("usage", "words"),
    [
        (NO_USAGE, "0 tokens"),
        (Usage(total_tokens=1500), "1,500 tokens"),
        (Usage(total_tokens=1500, partial=True), "≥ 1,500 tokens"),
        (Usage(partial=True), "unknown tokens"),
    ],
)
def test_tokens_that_are_unknown_are_said_to_be(usage: Usage, words: str) -> None:
    assert token_words(usage) == words
