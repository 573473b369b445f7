"""A tool that is meant to wait for a person must exist: a misspelt name would gate nothing."""

from __future__ import annotations

from collections.abc import Iterable

from perstack.errors import ConfigError


def check_gated(skill: str, gated: Iterable[str], tools: Iterable[str]) -> None:
    """Refuse names in `requireApproval` that are not among the skill's `tools`.

    Raises:
        ConfigError: there is one; the message names it, the hint those there are.
    """
    known = sorted(tools)
    missing = sorted(set(gated).difference(known))
    if missing:
        raise ConfigError(
            f"requireApproval of skill {skill} names {', '.join(missing)}, which it does not have",
            hint=f"its tools are: {', '.join(known) or 'none'}",
        )
