"""The verbs of the system as a whole."""

from __future__ import annotations

from typing import Final

from perstack.serving.verbs.verb import AnyVerb

SYSTEM_VERBS: Final[tuple[AnyVerb, ...]] = ()
