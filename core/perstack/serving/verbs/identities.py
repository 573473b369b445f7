"""The verbs of identities."""

from __future__ import annotations

from typing import Final

from perstack.serving.verbs.verb import AnyVerb

IDENTITY_VERBS: Final[tuple[AnyVerb, ...]] = ()
