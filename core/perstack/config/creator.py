"""The built-in Expert behind `perstack create`: no agent type, its tools are the program's."""

from __future__ import annotations

import tomllib
from functools import cache
from pathlib import Path
from typing import Final

from perstack.domain.base import Model
from perstack.domain.expert import BASE_SKILL, BaseSkill, Expert
from perstack.domain.ids import ExpertKey

CREATOR: Final = ExpertKey("create-expert")

_FILE: Final = Path(__file__).with_name("builtin_creator.toml")


class _Entry(Model):
    description: str
    tools: tuple[str, ...]
    instruction: str


@cache
def creator() -> Expert:
    """Return the Expert. Of the base skill it has only what reads."""
    entry = _Entry.model_validate(tomllib.loads(_FILE.read_text("utf-8")))
    return Expert(
        key=CREATOR,
        name=CREATOR,
        description=entry.description,
        instruction=entry.instruction,
        skills={BASE_SKILL: BaseSkill(pick=entry.tools)},
    )
