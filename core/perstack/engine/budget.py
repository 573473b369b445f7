"""What a job has used, and what of it was too much. A job's runs share one `Meter`."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Final, Literal

import anyio

from perstack.domain.ids import RunId
from perstack.domain.settings import BudgetSettings
from perstack.domain.usage import NO_COST, NO_USAGE, Cost, Usage

BudgetName = Literal["tokens", "cost", "duration"]

WITHOUT_BUDGET: Final = "limit the job by maxSteps and [budget] maxDuration instead"

_OPTIONS: Final[dict[BudgetName, tuple[str, str]]] = {
    "tokens": ("--max-tokens", "maxTokens"),
    "cost": ("--max-cost", "maxCostUsd"),
    "duration": ("--max-duration", "maxDuration"),
}


@dataclass(frozen=True, slots=True)
class Spent:
    """What a job has used: steps, its generations' tokens and cost, and milliseconds of work."""

    steps: int = 0
    usage: Usage = NO_USAGE
    cost: Cost = NO_COST
    driven_ms: int = 0


@dataclass(frozen=True, slots=True)
class Overrun:
    """A budget that is used up; both figures in tokens, USD or milliseconds."""

    budget: BudgetName
    used: float
    allowed: float

    def __str__(self) -> str:
        used, allowed = _shown(self.budget, self.used), _shown(self.budget, self.allowed)
        return f"the job's budget is used up: {used} of {allowed}"

    @property
    def enough(self) -> float:
        """Twice as much as was used or allowed: what the job can go on with."""
        twice = 2 * max(self.used, self.allowed)
        return max(0.01, round(twice, 2)) if self.budget == "cost" else math.ceil(twice)

    @property
    def remedy(self) -> str:
        """The option that allows enough."""
        value = f"{self.enough:.2f}" if self.budget == "cost" else f"{self.enough}"
        return f"{_OPTIONS[self.budget][0]} {value}"

    def by_now(self, spent: Spent) -> Overrun:
        """Return the same budget with what the job has used when all its runs have ended."""
        return replace(self, used=max(self.used, _used(self.budget, spent)))

    @property
    def key(self) -> str:
        """The key of `perstack.toml` that says what is allowed."""
        return f"[budget] {_OPTIONS[self.budget][1]}"


def overrun(budget: BudgetSettings, spent: Spent) -> Overrun | None:
    """Return the first budget that `spent` has used up, None when there is something left."""
    pairs: tuple[tuple[BudgetName, float | None], ...] = (
        ("tokens", budget.max_tokens),
        ("cost", budget.max_cost_usd),
        ("duration", budget.max_duration),
    )
    for name, allowed in pairs:
        if allowed is not None and (used := _used(name, spent)) >= allowed:
            return Overrun(name, used, allowed)
    return None


def unmeasured(budget: BudgetSettings, usage: Usage, cost_usd: float | None) -> str | None:
    """Return why a generation cannot be held against `budget`, None when it can.

    A figure that is not known is no zero: it would let a job spend without end.
    """
    if usage.partial and (budget.max_tokens, budget.max_cost_usd) != (None, None):
        return "the model does not say how many tokens it used"
    if cost_usd is None and budget.max_cost_usd is not None:
        return "what the model's answer cost is not known"
    return None


class Meter:
    """Counts what one job uses, beginning with what it has `spent` before.

    Time is counted while at least one run works: a run that waits for its delegates, for a place
    or for a person does not. It is the event loop's time, which no change of the clock moves.
    """

    def __init__(self, budget: BudgetSettings, spent: Spent) -> None:
        self._budget = budget
        self._before = spent
        self._steps = spent.steps
        self._usage = spent.usage
        self._cost = spent.cost
        self._elapsed_s = 0.0
        self._since: float | None = None
        self._working = 0
        self._waiting: Counter[RunId] = Counter()
        self._flipped = anyio.Event()

    @property
    def spent(self) -> Spent:
        """What the job has used up to now."""
        driven_ms = self._before.driven_ms + round(self._worked_s * 1000)
        return Spent(self._steps, self._usage, self._cost, driven_ms)

    @property
    def over_budget(self) -> Overrun | None:
        """The budget that is used up, if one is."""
        return overrun(self._budget, self.spent)

    @property
    def out_of_time(self) -> Overrun:
        """How the time that was used compares to what is allowed."""
        spent = self.spent.driven_ms
        return Overrun("duration", spent, self._budget.max_duration or spent)

    def allow(self, budget: BudgetSettings) -> None:
        """Hold the job to another budget from now on."""
        self._budget = budget
        self._flipped.set()
        self._flipped = anyio.Event()

    def take_step(self) -> int:
        """Return the next step number of the job."""
        self._steps += 1
        return self._steps

    def count(self, usage: Usage, cost_usd: float | None) -> None:
        """Add a generation's tokens and their cost (None: unknown)."""
        if usage != NO_USAGE:
            self._usage = self._usage.plus(usage)
            self._cost = self._cost.plus(cost_usd)

    # ---------------------------------------------------------------- time

    def begin(self) -> None:
        """A run begins to work."""
        self._working += 1
        self._tick()

    def end(self) -> None:
        """A run works no longer, or lets its delegates work."""
        self._working -= 1
        self._tick()

    @contextmanager
    def waiting_for_a_person(self, run_id: RunId) -> Generator[None]:
        """Do not count the time of a working run while it waits for a decision or an answer."""
        self._waiting[run_id] += 1
        self._tick()
        try:
            yield
        finally:
            self._waiting[run_id] -= 1
            if not self._waiting[run_id]:
                del self._waiting[run_id]
            self._tick()

    async def time_is_up(self) -> None:
        """Return when the time that the job may take is used up; never when it has no limit."""
        while (left_s := self._left_s) > 0:
            with anyio.move_on_after(math.inf if self._since is None else left_s):
                await self._flipped.wait()

    @property
    def _left_s(self) -> float:
        allowed_ms = self._budget.max_duration
        if allowed_ms is None:
            return math.inf
        return (allowed_ms - self._before.driven_ms) / 1000 - self._worked_s

    @property
    def _worked_s(self) -> float:
        if self._since is None:
            return self._elapsed_s
        return self._elapsed_s + anyio.current_time() - self._since

    def _tick(self) -> None:
        """Start or stop the time, as runs work or not, and tell who waits for it."""
        works = self._working > len(self._waiting)
        if works == (self._since is not None):
            return
        self._elapsed_s = self._worked_s
        self._since = anyio.current_time() if works else None
        self._flipped.set()
        self._flipped = anyio.Event()


def _used(budget: BudgetName, spent: Spent) -> float:
    match budget:
        case "tokens":
            return spent.usage.total_tokens
        case "cost":
            return spent.cost.usd
        case "duration":
            return spent.driven_ms


def _shown(budget: BudgetName, value: float) -> str:
    match budget:
        case "tokens":
            return f"{value:,.0f} tokens"
        case "cost":
            return f"${value:.4f}"
        case "duration":
            return f"{value / 1000:,.1f} s"
