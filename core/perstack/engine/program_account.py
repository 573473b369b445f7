"""What talking with a program costs, as far as the program tells."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

from perstack.config.model_table import facts_of
from perstack.domain.usage import NO_USAGE, Usage, cost_usd
from perstack.engine.bill import Bill
from perstack.ports.programs import Finished

if TYPE_CHECKING:
    from perstack.engine.run import RunDriver

# More than any talk costs: what is beyond is a mistake of the program's.
_MOST_USD: Final = 1_000_000.0


class Account:
    """Counts what is told while a talk goes on, so that its end adds only what is left."""

    def __init__(self, run: RunDriver) -> None:
        self._run = run
        self._uncounted: Usage = NO_USAGE
        self._counted: Usage = NO_USAGE
        self._usd = 0.0
        self._heard = False
        self.model: str | None = None

    def begin_talk(self) -> None:
        """Another talk begins, whose figures are its own; of one that was cut off, some lack."""
        if self._heard and self.is_empty:
            self._uncounted = Usage(partial=True)
        self._heard = False
        self._counted = NO_USAGE
        self._usd = 0.0

    @property
    def is_empty(self) -> bool:
        """Whether the program told nothing yet of what it uses."""
        return NO_USAGE == self._counted == self._uncounted

    def add(self, usage: Usage) -> None:
        """An answer used this, as far as the program tells."""
        self._heard = True
        if usage != NO_USAGE:
            self._uncounted = self._uncounted.plus(usage.believable())

    def bill(self) -> Bill:
        """Return what was used since the last bill."""
        usage, self._uncounted = self._uncounted, NO_USAGE
        if usage == NO_USAGE:
            return Bill(usage, 0.0)
        bill = self._priced(usage)
        self._counted = self._counted.plus(usage)
        self._usd += bill.cost_usd or 0.0
        return bill

    def last(self, report: Finished) -> Bill:
        """Return what is left of the whole talk's figures, where the program tells them."""
        bill = self.bill()
        told = report.usage if report.usage == NO_USAGE else report.usage.believable()
        left = told.less(self._counted)
        usage = bill.usage.plus(left)
        total = report.cost_usd
        if total is not None and math.isfinite(total) and 0 <= total <= _MOST_USD:
            usd = (bill.cost_usd or 0.0) + max(0.0, total - self._usd)
            # What has a price was used, even if nobody says how much that was.
            counted = Usage(partial=True) if usage == NO_USAGE else usage
            return Bill(counted, usd, bill.context_window_usage)
        if left == NO_USAGE:
            return Bill(Usage(partial=True)) if self.is_empty else bill
        rest = self._priced(left)
        known = bill.cost_usd is not None and rest.cost_usd is not None
        usd = (bill.cost_usd or 0.0) + (rest.cost_usd or 0.0) if known else None
        return Bill(usage, usd, bill.context_window_usage)

    def _priced(self, usage: Usage) -> Bill:
        run = self._run
        facts = facts_of(self.model or run.model.name, run.job.plan.settings.models)
        window = facts.context_window
        share = round(usage.total_tokens / window, 4) if window and not usage.partial else None
        # Several answers are one step where the first ones called no tools.
        filled = share if share is not None and share <= 1 else None
        return Bill(usage, cost_usd(usage, facts.price), filled)
