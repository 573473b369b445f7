"""The verbs of consensus."""

from __future__ import annotations

from typing import Final

from perstack.serving.verbs.verb import AnyVerb

CONSENSUS_VERBS: Final[tuple[AnyVerb, ...]] = ()
