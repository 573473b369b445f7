"""The command that goes on with a creation, as it can be copied from stderr into a shell."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import replace

from perstack.config.limits import MAX_STEPS
from perstack.config.typed import Overrides
from perstack.engine.budget import Overrun
from perstack.engine.plan import JobOutcome
from perstack.services.creating_budget import SharedBudget


def again_command(
    place: Sequence[str], over: Overrides, ended: JobOutcome, budget: SharedBudget
) -> str:
    """Return the command, with a limit that was reached raised; `place` are other options."""
    raised = _raised(over, ended, budget)
    words = ["perstack", "create", "--continue-job", ended.job_id, *place, *raised.as_arguments()]
    return shlex.join(words)


def _raised(over: Overrides, ended: JobOutcome, budget: SharedBudget) -> Overrides:
    if budget.used_up is not None:
        tokens, usd = budget.doubled
        over = replace(over, max_tokens=tokens, max_cost_usd=usd)
    if ended.outcome.ending != "limit":
        return over
    if (overrun := ended.outcome.overrun) is None:
        return replace(over, max_steps=min(2 * ended.spent.steps, MAX_STEPS[1]))
    return _enough(over, overrun.by_now(ended.spent))


def _enough(over: Overrides, overrun: Overrun) -> Overrides:
    match overrun.budget:
        case "tokens":
            return replace(over, max_tokens=max(round(overrun.enough), over.max_tokens or 0))
        case "cost":
            return replace(over, max_cost_usd=max(overrun.enough, over.max_cost_usd or 0))
        case "duration":
            return replace(over, max_duration_ms=round(overrun.enough))
