"""What a generation is said to have used."""

from __future__ import annotations

from perstack.domain.usage import LongPromptPrice, ModelPrice, Usage
from perstack.engine.bill import bill_for
from perstack.ports.model import Generation
from tests.fakes.engine import FakeModel, says

PRICE = ModelPrice(
    input=1,
    output=10,
    long_prompt=LongPromptPrice(above=100_000, input=5, output=50),
)


def a_model(price: ModelPrice | None = PRICE) -> FakeModel:
    return FakeModel(lambda _, __: says(""), context_window=200_000, price=price)


def used(read: int, wrote: int = 0) -> Usage:
    return Usage(input_tokens=read, output_tokens=wrote, total_tokens=read + wrote)


def answer(*requests: Usage) -> Generation:
    total = Usage()
    for usage in requests:
        total = total.plus(usage)
    return Generation((), "stop", total, requests if len(requests) > 1 else ())


def test_one_request_costs_its_price_and_fills_what_it_read_and_wrote() -> None:
    bill = bill_for(answer(used(60_000, 20_000)), a_model())
    assert (bill.usage, bill.cost_usd) == (used(60_000, 20_000), 0.06 + 0.2)
    assert bill.context_window_usage == 0.4


def test_requests_of_one_answer_are_priced_each_by_its_own_length() -> None:
    bill = bill_for(answer(used(60_000), used(80_000)), a_model())
    assert (bill.usage, bill.cost_usd) == (used(140_000), 0.06 + 0.08)
    assert bill.context_window_usage == 0.4


def test_what_one_of_the_requests_cost_is_unknown_if_it_was_not_counted() -> None:
    bill = bill_for(answer(used(60_000), Usage()), a_model())
    assert (bill.usage.input_tokens, bill.usage.partial, bill.cost_usd) == (60_000, True, None)
    assert bill.context_window_usage is None


def test_without_a_price_or_a_window_neither_is_known() -> None:
    model = a_model(None)
    model.context_window = None
    bill = bill_for(answer(used(5)), model)
    assert (bill.cost_usd, bill.context_window_usage) == (None, None)
