"""What talking with a program costs, as far as the program tells."""

from __future__ import annotations

import math
from collections.abc import Iterable
from functools import reduce
from typing import TYPE_CHECKING, Final

from perstack.config.model_table import facts_of
from perstack.domain.usage import NO_USAGE, ModelFacts, Usage, cost_of_several_usd, cost_usd
from perstack.engine.bill import Bill
from perstack.ports.programs import Finished

if TYPE_CHECKING:
    from perstack.engine.run import RunDriver

# More than any talk costs: what is beyond is a mistake of the program's.
_MOST_USD: Final = 1_000_000.0
# Less than any answer costs: by how much sums of the same prices differ.
_LEAST_USD: Final = 1e-7


class Account:
    """Counts what is told while a talk goes on, so that its end adds only what is left."""

    def __init__(self, run: RunDriver) -> None:
        self._run = run
        # An answer each: of this talk, and of one that was cut off before they were billed.
        self._uncounted: list[Usage] = []
        self._before: list[Usage] = []
        self._counted: Usage = NO_USAGE
        self._usd = 0.0
        self._heard = False
        self.model: str | None = None

    def begin_talk(self) -> None:
        """Another talk begins, whose figures are its own; of one that was cut off, some lack."""
        self._before += self._uncounted
        if self._heard and self.is_empty:
            self._before.append(Usage(partial=True))
        self._uncounted = []
        self._heard = False
        self._counted = NO_USAGE
        self._usd = 0.0

    @property
    def is_empty(self) -> bool:
        """Whether the program told nothing yet of what it uses."""
        return self._counted == NO_USAGE and not (self._uncounted or self._before)

    def add(self, usage: Usage) -> None:
        """An answer used this, as far as the program tells."""
        self._heard = True
        if usage != NO_USAGE:
            self._uncounted.append(usage.believable())

    def bill(self) -> Bill:
        """Return what was used since the last bill."""
        before, answers = self._before, self._uncounted
        self._before, self._uncounted = [], []
        facts = self._facts
        costs = [cost_usd(one, facts.price) for one in (*before, *answers)]
        self._counted = _sum((self._counted, *answers))
        self._usd += sum(cost or 0.0 for cost in costs[len(before) :])
        known = [cost for cost in costs if cost is not None]
        usd = sum(known) if len(known) == len(costs) else None
        filled = _filled(answers[-1], facts.context_window) if answers else None
        return Bill(_sum((*before, *answers)), usd, filled)

    def last(self, report: Finished) -> Bill:
        """Return what is left of the whole talk's figures, where the program tells them."""
        bill = self.bill()
        told = report.usage if report.usage == NO_USAGE else report.usage.believable()
        left = told.less(self._counted)
        usage = bill.usage.plus(left)
        total = report.cost_usd
        if total is not None and math.isfinite(total) and 0 <= total <= _MOST_USD:
            rest = max(0.0, total - self._usd)
            if usage == NO_USAGE and rest < _LEAST_USD and not self.is_empty:
                return bill
            # What has a price was used, even if nobody says how much that was.
            counted = Usage(partial=True) if usage == NO_USAGE else usage
            return Bill(counted, (bill.cost_usd or 0.0) + rest, bill.context_window_usage)
        if left == NO_USAGE:
            return Bill(Usage(partial=True)) if self.is_empty and usage == NO_USAGE else bill
        rest = cost_of_several_usd(left, self._facts.price)
        usd = bill.cost_usd + rest if bill.cost_usd is not None and rest is not None else None
        return Bill(usage, usd, bill.context_window_usage)

    @property
    def _facts(self) -> ModelFacts:
        run = self._run
        return facts_of(self.model or run.model.name, run.job.plan.settings.models)


def _sum(usages: Iterable[Usage]) -> Usage:
    return reduce(Usage.plus, usages, NO_USAGE)


def _filled(answer: Usage, window: int | None) -> float | None:
    """Return which part of the context window an answer's tokens are, None if not known."""
    share = round(answer.total_tokens / window, 4) if window and not answer.partial else None
    # More than all of it: several answers were told as one.
    return share if share is not None and share <= 1 else None
