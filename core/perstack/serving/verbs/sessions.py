"""The verbs of sessions."""

from __future__ import annotations

from typing import Final

from perstack.serving.verbs.verb import AnyVerb

SESSION_VERBS: Final[tuple[AnyVerb, ...]] = ()
