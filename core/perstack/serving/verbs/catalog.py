"""All verbs, by name, in the order in which they are listed."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import cast

from perstack.serving.verbs.agents import AGENT_VERBS
from perstack.serving.verbs.consensus import CONSENSUS_VERBS
from perstack.serving.verbs.experts import EXPERT_VERBS
from perstack.serving.verbs.github import GITHUB_VERBS
from perstack.serving.verbs.identities import IDENTITY_VERBS
from perstack.serving.verbs.memory import MEMORY_VERBS
from perstack.serving.verbs.review_loops import REVIEW_LOOP_VERBS
from perstack.serving.verbs.sessions import SESSION_VERBS
from perstack.serving.verbs.system import SYSTEM_VERBS
from perstack.serving.verbs.tasks import TASK_VERBS
from perstack.serving.verbs.verb import AnyVerb


@cache
def verbs(*, reviews: bool = False) -> Mapping[str, AnyVerb]:
    """Return the seed's 46 verbs and those of Experts, with `reviews` those of review loops too."""
    every = (
        *AGENT_VERBS,
        *IDENTITY_VERBS,
        *MEMORY_VERBS,
        *TASK_VERBS,
        *CONSENSUS_VERBS,
        *SESSION_VERBS,
        *SYSTEM_VERBS,
        *GITHUB_VERBS,
        *EXPERT_VERBS,
        *(REVIEW_LOOP_VERBS if reviews else ()),
    )
    return {verb.name: cast("AnyVerb", verb) for verb in every}
