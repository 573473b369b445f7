"""Tokens and costs in words. What is unknown is said to be, never shown as nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from perstack.domain.usage import Cost, Usage


def token_words(usage: Usage) -> str:
    """Return all tokens for prose: `1,500 tokens`, or `≥ 1,500 tokens` where a part is unknown."""
    if not usage.partial:
        return f"{usage.total_tokens:,} tokens"
    return f"≥ {usage.total_tokens:,} tokens" if usage.total_tokens else "unknown tokens"


def usd_words(usd: float) -> str:
    """Return USD with as many places as tell something: `$12.30`, `$0.0042`, `<$0.0001`."""
    if usd == 0:
        return "$0.00"
    if usd < 0.0001:
        return "<$0.0001"
    return f"${usd:.4f}" if usd < 0.0995 else f"${usd:,.2f}"


def cost_words(cost: Cost) -> str:
    """Return a sum for prose: `$0.12`, `≥ $0.12` where a part is unknown, or `unknown`."""
    if not cost.partial:
        return usd_words(cost.usd)
    return f"≥ {usd_words(cost.usd)}" if cost.usd else "unknown"


def cost_cell(cost: Cost) -> str:
    """Return a sum for a column of eight cells: `$0.12`, `≥$0.12`, `?`; cents go above $1000."""
    if not cost.partial:
        return _narrow(cost.usd)
    return f"≥{_narrow(cost.usd)}" if cost.usd else "?"


def _narrow(usd: float) -> str:
    if usd >= 999.5:
        return f"${usd / 1000:.1f}k" if usd < 999_950 else f"${usd / 1_000_000:.1f}M"
    if 0 < usd < 0.001:
        return "<$0.001"
    return f"${usd:.4f}" if 0 < usd < 0.0995 else f"${usd:.2f}"
