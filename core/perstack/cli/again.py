"""The command that goes on with a job, as it can be copied from stderr into a shell."""

from __future__ import annotations

import shlex
from dataclasses import replace
from typing import TYPE_CHECKING

from perstack.config.limits import MAX_STEPS
from perstack.config.typed import Overrides

if TYPE_CHECKING:
    from perstack.cli.options import Asked
    from perstack.engine.budget import Overrun
    from perstack.engine.plan import JobOutcome


def go_on_command(asked: Asked, over: Overrides, ended: JobOutcome) -> str:
    """Return the command that goes on with the job as it was started, a limit it reached raised.

    It is for a shell in the same folder. What the user answers is left as `'<answer>'`.
    """
    words = ["perstack", "run", ended.expert_key]
    answer = " '<answer>'" if ended.outcome.ending == "asked" else ""
    options = ["--continue-job", ended.job_id]
    if str(asked.workspace) != ".":
        options += ["--workspace", str(asked.workspace)]
    if asked.config is not None:
        options += ["--config", str(asked.config)]
    if asked.own_definitions:
        options.append("--own-definitions")
    options += _raised(over, ended).as_arguments()
    if answer:
        options.append("-i")
    return f"{shlex.join(words)}{answer} {shlex.join(options)}"


def _raised(over: Overrides, ended: JobOutcome) -> Overrides:
    outcome = ended.outcome
    if outcome.ending != "limit":
        return over
    if outcome.overrun is None:
        return replace(over, max_steps=min(2 * ended.spent.steps, MAX_STEPS[1]))
    return _with_budget(over, outcome.overrun.by_now(ended.spent))


def _with_budget(over: Overrides, used_up: Overrun) -> Overrides:
    match used_up.budget:
        case "tokens":
            return replace(over, max_tokens=round(used_up.enough))
        case "cost":
            return replace(over, max_cost_usd=used_up.enough)
        case "duration":
            return replace(over, max_duration_ms=round(used_up.enough))
