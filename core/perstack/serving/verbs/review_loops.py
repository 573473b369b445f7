"""The verbs of review loops; offered where the settings ask for them."""

from __future__ import annotations

from typing import Final

from perstack.serving.verbs.verb import AnyVerb

REVIEW_LOOP_VERBS: Final[tuple[AnyVerb, ...]] = ()
