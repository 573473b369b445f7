"""An Expert of `perstack.toml` as it is published, and one of the registry as it is run.

What comes from a registry is read as strictly as a file: by the same readers, with its bounds.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final, cast

from pydantic import JsonValue

from perstack.config.kept import skill_table
from perstack.config.read_experts import read_expert
from perstack.config.report import RefusedConfigError, Report, printable
from perstack.config.table import RawTable, Table
from perstack.domain.expert import (
    BASE_SKILL,
    Expert,
    McpStdioSkill,
    RemoteSkill,
    SkillSpec,
)
from perstack.domain.ids import ExpertKey
from perstack.domain.registry import MIN_RUNTIME_VERSION, Definition, Origin
from perstack.errors import RegistryError, UsageError

_COMMANDS: Final = ("npx", "uvx")


@dataclass(frozen=True, slots=True)
class Publication:
    """What is published of an Expert, and what of it the registry has no place for."""

    definition: Definition
    dropped: tuple[str, ...]


def publication_of(expert: Expert) -> Publication:
    """Return what is published of an Expert.

    Raises:
        UsageError: it needs what others do not have, or what must not be published.
    """
    for name, skill in expert.skills.items():
        if (fault := _fault(skill)) is not None:
            why, instead = fault
            raise UsageError(
                f"{expert.key} cannot be published: skill {printable(name)} {why}", hint=instead
            )
    definition = Definition(
        name=expert.name,
        version=expert.version,
        min_runtime_version=expert.min_runtime_version or MIN_RUNTIME_VERSION,
        description=expert.description,
        instruction=expert.instruction,
        skills={name: _published(name, skill) for name, skill in expert.skills.items()},
        delegates=tuple(expert.delegates),
    )
    return Publication(definition, tuple(_dropped(expert)))


def _fault(skill: SkillSpec) -> tuple[str, str] | None:
    """Return why a skill cannot be published and what to do instead."""
    if isinstance(skill, McpStdioSkill) and skill.command not in _COMMANDS:
        return (
            f"starts {printable(skill.command)}, which others do not have",
            "only skills of npx and uvx can be published: publish the server as a package",
        )
    if isinstance(skill, RemoteSkill):
        if skill.headers:
            return "sends headers, which may be secret", "name variables with headerEnv instead"
        if "?" in skill.endpoint:
            return "has an endpoint with a query, which may be secret", "leave the query out"
        if skill.allow_private:
            return "is in a private network", "only servers that others reach can be published"
    return None


def _published(name: str, skill: SkillSpec) -> dict[str, JsonValue]:
    table = skill_table(skill)
    if isinstance(skill, McpStdioSkill):
        table.pop("args", None)
        table["packageName"] = skill.package_name or name
    return table


def _dropped(expert: Expert) -> Iterator[str]:
    for name, skill in expert.skills.items():
        if isinstance(skill, McpStdioSkill) and skill.args:
            package = skill.package_name or name
            yield f"the args of skill {printable(name)}: it will start {printable(package)}"
    for key, said in (
        ("providerTools", expert.provider_tools),
        ("providerSkills", expert.provider_skills),
        ("runtime", expert.runtime),
    ):
        if said:
            yield key


def expert_of(definition: Definition, key: ExpertKey, origin: Origin) -> Expert:
    """Return the Expert that a definition of the registry is, called by `key`.

    Raises:
        RegistryError: it could not stand in a `perstack.toml`; the message says why.
    """
    report = Report(definition.key, "")
    table = Table(_entry(definition), ("experts", key), report)
    read = read_expert(key, table)
    try:
        report.raise_problems()
    except RefusedConfigError as error:
        raise RegistryError(
            f"{origin.key} cannot be run: {error.problems[0]}",
            hint="its author has to publish another version",
        ) from error
    skills = dict(read.skills)
    for name, skill in skills.items():
        if name != BASE_SKILL and (fault := _fault(skill)) is not None:
            raise RegistryError(f"{origin.key} cannot be run: skill {printable(name)} {fault[0]}")
    return read.model_copy(update={"name": definition.name, "origin": origin})


def _entry(definition: Definition) -> RawTable:
    said: Mapping[str, JsonValue] = {
        "version": definition.version,
        "minRuntimeVersion": definition.min_runtime_version,
        **({} if definition.description is None else {"description": definition.description}),
        "instruction": definition.instruction,
        "skills": {**definition.skills},
        "delegates": [*definition.delegates],
    }
    return cast("RawTable", dict(said))
