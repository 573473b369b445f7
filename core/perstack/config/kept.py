"""Which secrets of a skill's definition are not written down, and how they come back.

`headers` may hold keys, and so may what follows `?` in an endpoint. Neither is stored: a job that
goes on with its own definitions takes both from today's file, where they always were.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Final

from pydantic import JsonValue, TypeAdapter

from perstack.config.secrets import REDACTED
from perstack.domain.expert import Expert, InteractiveSkill, RemoteSkill, SkillSpec
from perstack.domain.ids import ExpertKey
from perstack.errors import ConfigError

_OBJECT: Final[TypeAdapter[dict[str, JsonValue]]] = TypeAdapter(dict[str, JsonValue])


def fit_to_keep(experts: Mapping[ExpertKey, Expert]) -> dict[ExpertKey, Expert]:
    """Return the Experts without what may be secret in their skills."""
    return {
        key: _with(expert, {name: skill_to_keep(skill) for name, skill in expert.skills.items()})
        for key, expert in experts.items()
    }


def skill_to_keep(skill: SkillSpec) -> SkillSpec:
    """Return the skill without the values of its headers and the query of its endpoint."""
    if not isinstance(skill, RemoteSkill):
        return skill
    address, asks, _ = skill.endpoint.partition("?")
    kept = {
        "headers": dict.fromkeys(skill.headers, REDACTED),
        "endpoint": f"{address}?{REDACTED}" if asks else address,
    }
    return skill.model_copy(update=kept)


def skill_table(skill: SkillSpec) -> dict[str, JsonValue]:
    """Return the skill as `perstack.toml` would say it, without what may be secret in it."""
    kept = skill_to_keep(skill)
    said = _OBJECT.validate_python(kept.model_dump(mode="json", exclude_defaults=True))
    if isinstance(skill, InteractiveSkill):
        said["tools"] = {
            name: {
                **({"description": tool.description} if tool.description is not None else {}),
                "inputJsonSchema": json.dumps(tool.input_schema, ensure_ascii=False),
            }
            for name, tool in skill.tools.items()
        }
    return {"type": skill.type} | said


def made_whole(
    kept: Mapping[ExpertKey, Expert], today: Mapping[ExpertKey, Expert]
) -> dict[ExpertKey, Expert]:
    """Return the kept Experts with what was left out of them, as today's say it.

    Raises:
        ConfigError: a skill lacks something, and today there is no such skill at that address.
    """
    return {key: _made_whole(expert, today.get(key)) for key, expert in kept.items()}


def _made_whole(kept: Expert, today: Expert | None) -> Expert:
    now = today.skills if today is not None else {}
    return _with(
        kept,
        {name: _whole(kept.key, name, skill, now.get(name)) for name, skill in kept.skills.items()},
    )


def _whole(key: ExpertKey, name: str, kept: SkillSpec, today: SkillSpec | None) -> SkillSpec:
    if not isinstance(kept, RemoteSkill) or not _lacks_something(kept):
        return kept
    if isinstance(today, RemoteSkill) and _without_values(today) == _without_values(kept):
        return kept.model_copy(update={"headers": today.headers, "endpoint": today.endpoint})
    raise ConfigError(
        f"the headers or the address of skill {name} of Expert {key} are not in the job's "
        "history, which keeps no secrets, and perstack.toml has no such skill now",
        hint="put the skill back into perstack.toml, or go on without --own-definitions",
    )


def _with(expert: Expert, skills: dict[str, SkillSpec]) -> Expert:
    return expert.model_copy(update={"skills": skills})


def _lacks_something(skill: RemoteSkill) -> bool:
    return REDACTED in skill.headers.values() or skill.endpoint.endswith(f"?{REDACTED}")


def _without_values(skill: RemoteSkill) -> tuple[str, bool, frozenset[str]]:
    """Return what tells whether two skills are one server's: where it is, what it is sent."""
    address, asks, _ = skill.endpoint.partition("?")
    return address, bool(asks), frozenset(skill.headers)
