"""The verbs of memory."""

from __future__ import annotations

from typing import Final

from perstack.serving.verbs.verb import AnyVerb

MEMORY_VERBS: Final[tuple[AnyVerb, ...]] = ()
