"""The built-in Experts: the eleven core agent types."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Final

from perstack.core_types import CORE_TYPE_NAMES
from perstack.domain.base import Model
from perstack.domain.expert import BASE_SKILL, BaseSkill, Expert
from perstack.domain.ids import ExpertKey

CORE_TYPES: Final = tuple(map(ExpertKey, CORE_TYPE_NAMES))

_FILE: Final = Path(__file__).with_name("builtin_experts.toml")


class _Entry(Model):
    """One Expert of the file. An empty `tools` means all base tools."""

    name: str
    description: str
    capabilities: tuple[str, ...]
    instruction: str
    tools: tuple[str, ...] = ()
    require_approval: tuple[str, ...] = ()
    delegates: tuple[ExpertKey, ...] = ()


@cache
def builtin_experts() -> Mapping[ExpertKey, Expert]:
    """Return the core types in their order, by key."""
    read = tomllib.loads(_FILE.read_text("utf-8"))
    return MappingProxyType(
        {key: _expert(key, _Entry.model_validate(read[key])) for key in CORE_TYPES}
    )


def _expert(key: ExpertKey, entry: _Entry) -> Expert:
    return Expert(
        key=key,
        name=entry.name,
        description=entry.description,
        instruction=entry.instruction,
        skills={BASE_SKILL: BaseSkill(pick=entry.tools, require_approval=entry.require_approval)},
        delegates=entry.delegates,
        tags=entry.capabilities,
    )


def reachable(expert: Expert, known: Mapping[ExpertKey, Expert]) -> dict[ExpertKey, Expert]:
    """Return `expert` and all of `known` that it, and those it delegates to, can delegate to."""
    found = {expert.key: expert}
    waiting = [expert]
    while waiting:
        for key in waiting.pop().delegates:
            if key not in found and (one := known.get(key)) is not None:
                found[key] = one
                waiting.append(one)
    return found


def with_builtins(
    experts: Mapping[ExpertKey, Expert], also: ExpertKey | None = None
) -> Mapping[ExpertKey, Expert]:
    """Return `experts` with the built-in ones that they delegate to, and `also` if it is one.

    An Expert of the same key takes the place of a built-in one.
    """
    wanted = {key for expert in experts.values() for key in expert.delegates} | {also}
    if wanted <= experts.keys():
        return experts
    known = {**builtin_experts(), **experts}
    joined = dict(experts)
    for key in wanted:
        if key is not None and key in known:
            joined = {**reachable(known[key], known), **joined}
    return joined
