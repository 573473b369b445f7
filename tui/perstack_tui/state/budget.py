"""What a person types to give a job more: `50`, `100k tokens`, `$2.50`, `15m`."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from perstack.domain.budget_bounds import MOST_MS, MOST_STEPS, MOST_TOKENS, MOST_USD
from perstack.projection.money import cost_words
from perstack.projection.views import JobView
from perstack_tui.ports.steering import BudgetRaise
from perstack_tui.state.lines import Line, line, note
from perstack_tui.state.wording import tokens

HINT: Final = "50 steps, 100k tokens, $2.50, 15m"
_TOO_MUCH: Final = "that is too much"
_PART: Final = re.compile(
    r"\+?(?P<usd>\$)?(?P<count>\d{1,15}(?:\.\d{1,6})?)(?P<scale>[kKM]?)\s*(?P<unit>[A-Za-z]*)"
)
_BETWEEN: Final = re.compile(r"\s*[,;]?\s*")
_STEPS: Final = ("", "step", "steps")
_TOKENS: Final = ("t", "tok", "token", "tokens")
_USD: Final = ("usd", "dollar", "dollars")
_MS: Final = {
    **dict.fromkeys(("s", "sec", "second", "seconds"), 1_000),
    **dict.fromkeys(("m", "min", "minute", "minutes"), 60_000),
    **dict.fromkeys(("h", "hour", "hours"), 3_600_000),
}
_SCALES: Final = {"": 1, "k": 1_000, "K": 1_000, "M": 1_000_000}


def read_raise(text: str) -> BudgetRaise | str:
    """Return how much more is meant, or in words why that cannot be told."""
    more, at = BudgetRaise(), 0
    text = text.strip().replace("_", "")
    if not text:
        return f"say how much more: {HINT}"
    while at < len(text):
        found = _PART.match(text, at)
        if found is None:
            return f"not understood: {text[at : at + 20]}; write {HINT}"
        joined = _with(more, found)
        if isinstance(joined, str):
            return joined
        more, at = joined, found.end()
        between = _BETWEEN.match(text, at)
        at = between.end() if between else at
    return more


def _with(more: BudgetRaise, found: re.Match[str]) -> BudgetRaise | str:
    amount = float(found["count"]) * _SCALES[found["scale"]]
    unit = found["unit"].lower()
    if amount <= 0:
        return "give it more than nothing"
    if found["usd"] or unit in _USD:
        if unit and unit not in _USD:
            return f"not understood: ${found['count']} {unit}"
        return replace(more, max_cost=amount) if amount <= MOST_USD else _TOO_MUCH
    if unit in _MS:
        most, ms = MOST_MS, round(amount * _MS[unit])
        return replace(more, max_duration_ms=ms) if 0 < ms <= most else "that is too long"
    if amount != int(amount):
        return f"{found['count']} is no whole number"
    if unit in _TOKENS:
        return (
            replace(more, max_tokens=int(amount)) if amount <= MOST_TOKENS else "that is too much"
        )
    if unit in _STEPS:
        return replace(more, max_steps=int(amount)) if amount <= MOST_STEPS else "that is too much"
    return f"not understood: {unit}; write {HINT}"


def why_not_raise(text: str) -> str | None:
    """Return what is wrong with what was typed, None when it can be done."""
    found = read_raise(text)
    return found if isinstance(found, str) else None


def raise_words(more: BudgetRaise) -> str:
    """Say how much more it is: `50 steps, $2.50`."""
    said = [f"{more.max_steps:,} steps"] if more.max_steps else []
    said += [f"{more.max_tokens:,} tokens"] if more.max_tokens else []
    said += [f"${more.max_cost:,.2f}"] if more.max_cost else []
    said += [f"{more.max_duration_ms / 1000:,.0f} s"] if more.max_duration_ms else []
    return ", ".join(said)


def used_lines(job: JobView) -> Sequence[Line]:
    """Return what the job has used up to now."""
    return (
        line((f" steps   {job.total_steps:,} of {job.max_steps:,}", "text")),
        line((f" tokens  {tokens(job.usage)}", "text")),
        line((f" cost    {cost_words(job.cost)}", "text")),
        note(" What you give comes on top of the limits it has."),
    )
