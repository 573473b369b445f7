"""The verbs of Experts and their jobs."""

from __future__ import annotations

from typing import Final

from perstack.serving.verbs.verb import AnyVerb

EXPERT_VERBS: Final[tuple[AnyVerb, ...]] = ()
