"""What creating an Expert may use: the creating job and its trials share what the user gave."""

from __future__ import annotations

from typing import Final

from perstack.domain.events import Event
from perstack.domain.settings import BudgetSettings
from perstack.domain.usage import Cost, Usage
from perstack.projection.event_facts import spent_by

TRIAL_STEPS: Final = 30
TRIAL_TOKENS: Final = 300_000
TRIAL_MS: Final = 600_000


class SharedBudget:
    """Counts tokens and cost of all that is heard, and says what of the user's limits is left.

    Time needs no counting: trials happen while the creating job works.
    """

    def __init__(self, limits: BudgetSettings, *, tokens: int = 0, usd: float = 0.0) -> None:
        """Count on from what was used before."""
        self._limits = limits
        self._usage = Usage(total_tokens=tokens)
        self._cost = Cost(usd=usd)

    def note(self, event: Event) -> None:
        """Count what an event of the creating job, or of a trial, stands for."""
        usage, usd = spent_by(event.body)
        self._usage, self._cost = self._usage.plus(usage), self._cost.plus(usd)

    @property
    def tokens(self) -> int:
        """How many tokens were used so far."""
        return self._usage.total_tokens

    @property
    def usd(self) -> float:
        """What was paid so far, as far as prices are known, in USD."""
        return self._cost.usd

    @property
    def doubled(self) -> tuple[int | None, float | None]:
        """The limits of tokens and USD, twice what was used of them where they are used up."""
        tokens, usd = self._limits.max_tokens, self._limits.max_cost_usd
        return (
            tokens if tokens is None or self.tokens < tokens else 2 * self.tokens,
            usd if usd is None or self.usd < usd else max(0.01, round(2 * self.usd, 2)),
        )

    @property
    def used_up(self) -> str | None:
        """What is used up, as a message says it; None while nothing is."""
        tokens, usd = self._limits.max_tokens, self._limits.max_cost_usd
        if tokens is not None and self._usage.total_tokens >= tokens:
            return f"{self._usage.total_tokens:,} of {tokens:,} tokens are used (--max-tokens)"
        if usd is not None and self._cost.usd >= usd:
            return f"{self._cost.usd:.4f} of {usd:g} USD are used (--max-cost)"
        return None

    def of_trial(self) -> BudgetSettings:
        """Return what the next trial may use: its own limits, or what is left of the user's."""
        limits, tokens, usd = self._limits, TRIAL_TOKENS, self._limits.max_cost_usd
        if limits.max_tokens is not None:
            tokens = min(tokens, max(1, limits.max_tokens - self._usage.total_tokens))
        if usd is not None:
            usd = max(0.0001, usd - self._cost.usd)
        ms = min(TRIAL_MS, limits.max_duration or TRIAL_MS)
        return BudgetSettings(max_tokens=tokens, max_cost_usd=usd, max_duration=ms)
