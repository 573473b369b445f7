"""What orders carry beside a plain text, and what more of a job's limits comes to."""

from __future__ import annotations

from typing import Annotated, TypeVar

from pydantic import Field

from perstack.domain.base import Model
from perstack.domain.budget_bounds import MOST_MS, MOST_STEPS, MOST_TOKENS, MOST_USD
from perstack.domain.expert import Expert
from perstack.domain.ids import ExpertKey, RunId
from perstack.domain.jobs import Limits, SomeLimits
from perstack.domain.settings import BudgetSettings

_Number = TypeVar("_Number", int, float)


class Raise(Model):
    """What a job may use on top of what it was given; None leaves a limit as it is.

    `max_cost_usd` is in USD, `max_duration` in milliseconds of work.
    """

    max_steps: Annotated[int, Field(gt=0, le=MOST_STEPS)] | None = None
    max_tokens: Annotated[int, Field(gt=0, le=MOST_TOKENS)] | None = None
    max_cost_usd: Annotated[float, Field(gt=0, le=MOST_USD, allow_inf_nan=False)] | None = None
    max_duration: Annotated[int, Field(gt=0, le=MOST_MS)] | None = None


class DefinitionOrder(Model):
    """An Expert as it is defined now, with whom it can delegate to. Secrets are left out."""

    experts: dict[ExpertKey, Expert]


class RetryOrder(Model):
    """A delegated run that failed, with its Expert and the beginning of what it was asked."""

    run_id: RunId
    expert_key: ExpertKey
    query: str


def raised(limits: Limits, more: Raise) -> Limits:
    """Return the limits with more of each that is named; what has no limit gets none."""
    steps = min(limits.max_steps + (more.max_steps or 0), MOST_STEPS)
    budget = limits.budget
    return Limits(
        max_steps=max(steps, limits.max_steps),
        budget=BudgetSettings(
            max_tokens=_count(budget.max_tokens, more.max_tokens, MOST_TOKENS),
            max_cost_usd=_usd(budget.max_cost_usd, more.max_cost_usd),
            max_duration=_count(budget.max_duration, more.max_duration, MOST_MS),
        ),
    )


def at_least(limits: Limits, floor: SomeLimits | None) -> Limits:
    """Return the limits, none lower than what `floor` says of it; what has no limit keeps none."""
    if floor is None:
        return limits
    mine, theirs = limits.budget, floor.budget
    return Limits(
        max_steps=max(limits.max_steps, floor.max_steps or 0),
        budget=BudgetSettings(
            max_tokens=_higher(mine.max_tokens, theirs.max_tokens),
            max_cost_usd=_higher(mine.max_cost_usd, theirs.max_cost_usd),
            max_duration=_higher(mine.max_duration, theirs.max_duration),
        ),
    )


def also_raised(before: SomeLimits | None, more: Raise, limits: Limits) -> SomeLimits | None:
    """Return what was raised `before` and what `more` names, as it is in `limits` by now."""
    was, now = before or SomeLimits(), limits.budget
    return _said(
        SomeLimits(
            max_steps=limits.max_steps if more.max_steps else was.max_steps,
            budget=BudgetSettings(
                max_tokens=now.max_tokens if more.max_tokens else was.budget.max_tokens,
                max_cost_usd=now.max_cost_usd if more.max_cost_usd else was.budget.max_cost_usd,
                max_duration=now.max_duration if more.max_duration else was.budget.max_duration,
            ),
        )
    )


def but_typed(before: SomeLimits | None, typed: SomeLimits | None) -> SomeLimits | None:
    """Return what was raised `before`, without those limits that somebody has typed since."""
    if before is None or typed is None:
        return before
    was, now = before.budget, typed.budget
    return _said(
        SomeLimits(
            max_steps=before.max_steps if typed.max_steps is None else None,
            budget=BudgetSettings(
                max_tokens=was.max_tokens if now.max_tokens is None else None,
                max_cost_usd=was.max_cost_usd if now.max_cost_usd is None else None,
                max_duration=was.max_duration if now.max_duration is None else None,
            ),
        )
    )


def _said(some: SomeLimits) -> SomeLimits | None:
    return None if some == SomeLimits() else some


def _count(limit: int | None, more: int | None, most: int) -> int | None:
    return None if limit is None else max(limit, min(limit + (more or 0), most))


def _usd(limit: float | None, more: float | None) -> float | None:
    return None if limit is None else max(limit, min(limit + (more or 0.0), MOST_USD))


def _higher(mine: _Number | None, theirs: _Number | None) -> _Number | None:
    return mine if mine is None or theirs is None else max(mine, theirs)
