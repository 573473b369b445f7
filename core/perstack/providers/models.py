"""How models are told to reason, by their names.

Sources: the Perstack fact sheet for models up to Claude 4.5 and GPT-5, and the vendors' own model
and migration pages for what came after (Claude 5 and 5.5 thinking types; chat completions refusing
to reason beside function tools from GPT-5.4 on). Windows, limits and prices are in the table of
models (`config.model_table`).
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Final, Literal

ReasoningBudget = Literal["none", "minimal", "low", "medium", "high"] | int
Effort = Literal["none", "minimal", "low", "medium", "high"]

_BUDGETS: Final[dict[str, int]] = {"minimal": 1024, "low": 2048, "medium": 5000, "high": 10_000}
_CLAUDE_FAMILY: Final = re.compile(r"haiku|sonnet|opus|fable|mythos")
_SMALL_NUMBER: Final = re.compile(r"(?<![\d])\d{1,2}(?![\d])")
_GPT: Final = re.compile(r"gpt-(\d+)(?:\.(\d+))?")
_O_SERIES: Final = re.compile(r"o\d")


def budget_tokens(budget: ReasoningBudget) -> int:
    """Return the reasoning budget in tokens, 0 for none."""
    if isinstance(budget, int):
        return max(0, budget)
    return _BUDGETS.get(budget, 0)


@dataclass(frozen=True, slots=True)
class Claude:
    """A Claude model's family and version, as far as its name tells."""

    family: str
    version: tuple[int, int]


def parse_claude(model: str) -> Claude | None:
    """Return family and version of a Claude model's name, None for any other name."""
    start = model.find("claude")
    if start < 0:
        return None
    name = model[start:]
    family = _CLAUDE_FAMILY.search(name)
    numbers = [int(found) for found in _SMALL_NUMBER.findall(name)]
    if family is None or not numbers:
        return None
    minor = numbers[1] if len(numbers) > 1 else 0
    return Claude(family.group(), (numbers[0], minor))


def max_output_tokens(model: str) -> int:
    """Return the `max_tokens` to ask an Anthropic endpoint for, which wants some, by the name."""
    claude = parse_claude(model)
    if claude is None:
        return 32_000
    if claude.version < (3, 7):
        return 8192 if claude.version == (3, 5) else 4096
    if claude.family == "opus" and claude.version < (4, 5):
        return 32_000
    return 64_000


@dataclass(frozen=True, slots=True)
class Thinking:
    """How a Claude model is told to think.

    `kind` is the wire's `thinking.type` (None: the field is left out), `budget` its tokens for
    "enabled" alone. `bound` models check that a thinking block sent back still follows the very
    content it followed when it was made.
    """

    kind: Literal["enabled", "adaptive", "disabled", "between_tools"] | None = None
    budget: int | None = None
    effort: Effort | None = None
    summarized: bool = False
    bound: bool = False

    def within(self, max_tokens: int) -> Thinking:
        """Return the same for an answer of at most `max_tokens`, which the budget is part of."""
        if self.budget is None or self.budget < max_tokens:
            return self
        left = max_tokens // 2
        return replace(self, budget=left) if left >= 1024 else Thinking()


def claude_thinking(model: str, budget: ReasoningBudget) -> Thinking:
    """Return how `model` is told to think with `budget`.

    Up to 4.5 a budget in tokens is set; from 4.6 on the model decides and `effort` steers it.
    Where thinking cannot be turned off, none becomes the least effort.
    """
    claude = parse_claude(model)
    tokens = budget_tokens(budget)
    if claude is None or claude.version < (3, 7):
        return Thinking()
    if claude.version < (4, 6) and claude.family != "mythos":
        return _manual(tokens, max_output_tokens(model))
    if not tokens:
        return _least(claude)
    return Thinking(
        kind="adaptive",
        effort=effort_of(tokens),
        summarized=claude.version >= (4, 7),
        bound=_is_bound(claude),
    )


def effort_of(tokens: int) -> Effort:
    """Return the effort word for a budget: up to 2048 tokens low, up to 5000 medium, else high."""
    if tokens <= 2048:
        return "low"
    return "medium" if tokens <= 5000 else "high"


def openai_effort(model: str, budget: ReasoningBudget, *, with_tools: bool) -> Effort | None:
    """Return the `reasoning_effort` to send over chat completions, None to send none.

    From GPT-5.4 on that endpoint refuses function tools unless reasoning is off.
    """
    tokens = budget_tokens(budget)
    if _O_SERIES.match(model):
        return effort_of(tokens)
    gpt = _GPT.match(model)
    if gpt is None or "chat" in model:
        return None
    version = (int(gpt.group(1)), int(gpt.group(2) or 0))
    if version < (5, 0):
        return None
    if tokens and not (with_tools and version >= (5, 4)):
        return effort_of(tokens)
    return "none" if version >= (5, 1) else "minimal"


def _manual(tokens: int, max_tokens: int) -> Thinking:
    if not tokens:
        return Thinking()
    return Thinking(kind="enabled", budget=min(max(1024, tokens), max_tokens - 1024))


def _least(claude: Claude) -> Thinking:
    always_on = claude.family in {"fable", "mythos"} or (
        claude.family == "opus" and claude.version >= (5, 5)
    )
    if always_on:
        return Thinking(kind="adaptive", effort="low", bound=_is_bound(claude))
    if claude.version < (5, 0):
        return Thinking()
    if claude.family == "sonnet" and claude.version >= (5, 5):
        return Thinking(kind="between_tools")
    return Thinking(kind="disabled")


def _is_bound(claude: Claude) -> bool:
    return claude.version >= ((5, 1) if claude.family in {"fable", "mythos"} else (5, 5))
