"""The verbs of tasks."""

from __future__ import annotations

from typing import Final

from perstack.serving.verbs.verb import AnyVerb

TASK_VERBS: Final[tuple[AnyVerb, ...]] = ()
