"""All verbs, by name, in the order in which they are listed."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import cast

from perstack.serving.verbs.agents import AGENT_VERBS
from perstack.serving.verbs.verb import AnyVerb


@cache
def verbs() -> Mapping[str, AnyVerb]:
    """Return the verbs of every server."""
    every = (*AGENT_VERBS,)
    return {verb.name: cast("AnyVerb", verb) for verb in every}
