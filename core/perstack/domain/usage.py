"""Token counts and what they cost."""

from __future__ import annotations

import operator
from typing import Annotated, Final

from pydantic import Field

from perstack.domain.base import Model

_MILLION: Final = 1_000_000
# More than any vendor's context holds, less than what sums could not hold.
_MOST_TOKENS: Final = 1_000_000_000


class Usage(Model):
    """Tokens of one or more generations.

    `input_tokens` includes cached and cache-writing ones; `output_tokens` includes reasoning ones.
    `partial`: some vendor did not say what it counted, or said what cannot be, so it was more.
    """

    input_tokens: int = 0
    output_tokens: int = 0
    reasoning_tokens: int = 0
    total_tokens: int = 0
    cached_input_tokens: int = 0
    cache_write_tokens: int = 0
    partial: Annotated[bool, Field(exclude_if=operator.not_)] = False

    def plus(self, other: Usage) -> Usage:
        """Return the sum."""
        return Usage(
            input_tokens=self.input_tokens + other.input_tokens,
            output_tokens=self.output_tokens + other.output_tokens,
            reasoning_tokens=self.reasoning_tokens + other.reasoning_tokens,
            total_tokens=self.total_tokens + other.total_tokens,
            cached_input_tokens=self.cached_input_tokens + other.cached_input_tokens,
            cache_write_tokens=self.cache_write_tokens + other.cache_write_tokens,
            partial=self.partial or other.partial,
        )

    def less(self, other: Usage) -> Usage:
        """Return what is left of this sum without `other`, nothing below 0."""
        return Usage(
            input_tokens=max(0, self.input_tokens - other.input_tokens),
            output_tokens=max(0, self.output_tokens - other.output_tokens),
            reasoning_tokens=max(0, self.reasoning_tokens - other.reasoning_tokens),
            total_tokens=max(0, self.total_tokens - other.total_tokens),
            cached_input_tokens=max(0, self.cached_input_tokens - other.cached_input_tokens),
            cache_write_tokens=max(0, self.cache_write_tokens - other.cache_write_tokens),
            partial=self.partial,
        )

    def believable(self) -> Usage:
        """Return one generation's figures without what cannot be: below 0, or beyond all bounds.

        The total is never less than input and output together, whatever the vendor says. A
        generation reads something, so one that used nothing at all was not counted.
        """
        most = _MOST_TOKENS
        given, said = (max(0, min(most, n)) for n in (self.input_tokens, self.output_tokens))
        return Usage(
            input_tokens=given,
            output_tokens=said,
            reasoning_tokens=max(0, min(most, self.reasoning_tokens)),
            total_tokens=max(given + said, min(most, self.total_tokens)),
            cached_input_tokens=max(0, min(given, self.cached_input_tokens)),
            cache_write_tokens=max(0, min(given, self.cache_write_tokens)),
            partial=self.partial or self == NO_USAGE,
        )


NO_USAGE = Usage()


class LongPromptPrice(Model):
    """USD for a million tokens of a request whose input is more than `above` tokens."""

    above: int
    input: float
    output: float
    cached_input: float | None = None
    cache_write: float | None = None


class ModelPrice(Model):
    """USD for a million tokens. Where a cache price is None, those tokens' cost is unknown.

    Where a vendor asks more for long requests, `long_prompt` holds for all of such a one.
    """

    input: float
    output: float
    cached_input: float | None = None
    cache_write: float | None = None
    long_prompt: LongPromptPrice | None = None


class ModelFacts(Model):
    """What a source states of one model; None is unknown. Windows and limits in tokens.

    `thinks` tells whether the model can reason; `source` says where the figures come from.
    """

    context_window: int | None = None
    max_output_tokens: int | None = None
    thinks: bool | None = None
    price: ModelPrice | None = None
    source: str | None = None


class Cost(Model):
    """USD spent. `partial`: some of the generations had no known price, so it was more."""

    usd: float = 0.0
    partial: bool = False

    def plus(self, usd: float | None) -> Cost:
        """Return the sum with one generation's cost, None when that is unknown."""
        if usd is None:
            return Cost(usd=self.usd, partial=True)
        return Cost(usd=self.usd + usd, partial=self.partial)

    def joined(self, other: Cost) -> Cost:
        """Return the sum of both."""
        return Cost(usd=self.usd + other.usd, partial=self.partial or other.partial)


NO_COST = Cost()


def cost_of_several_usd(usage: Usage, price: ModelPrice | None) -> float | None:
    """Return what generations cost in USD whose figures were told as a sum, None if not known.

    Where one of them may have been long enough for another price, nobody can say.
    """
    long = price.long_prompt if price is not None else None
    return None if long is not None and usage.input_tokens > long.above else cost_usd(usage, price)


def cost_usd(usage: Usage, price: ModelPrice | None) -> float | None:
    """Return what a generation cost in USD, None when a count or price it needs is not known."""
    if price is None or usage.partial:
        return None
    plain = usage.input_tokens - usage.cached_input_tokens - usage.cache_write_tokens
    long = price.long_prompt
    asked = price if long is None or usage.input_tokens <= long.above else long
    parts = (
        (max(0, plain), asked.input),
        (usage.cached_input_tokens, asked.cached_input),
        (usage.cache_write_tokens, asked.cache_write),
        (usage.output_tokens, asked.output),
    )
    total = 0.0
    for tokens, usd_per_million in parts:
        if tokens and usd_per_million is None:
            return None
        total += tokens * (usd_per_million or 0.0) / _MILLION
    return total
