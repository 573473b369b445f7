"""What the server lets through, before any route is asked."""

from __future__ import annotations

from dataclasses import dataclass

from perstack.serving.http import rules


@dataclass(frozen=True, slots=True)
class Rules(rules.Rules):
    """Bounds and switches of every server, and those of this one.

    Attributes:
        open_metrics: `/metrics` needs no token.
        open_registration: anybody may become a user, as a developer.
    """

    open_metrics: bool = False
    open_registration: bool = False
