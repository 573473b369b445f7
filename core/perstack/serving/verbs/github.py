"""The verbs of GitHub."""

from __future__ import annotations

from typing import Final

from perstack.serving.verbs.verb import AnyVerb

GITHUB_VERBS: Final[tuple[AnyVerb, ...]] = ()
