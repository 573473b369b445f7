"""An Expert of the registry as lines for a reader, in which nothing acts on a terminal.

All that it would do is said, so that it can be judged: whatever of a skill is not known here is
shown as it came.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from pydantic import JsonValue

from perstack.config.kept import skill_table
from perstack.domain.expert import BASE_SKILL, Expert
from perstack.domain.registry import RegistryExpert, VersionEntry, VersionList
from perstack.projection.cutting import one_line
from perstack.projection.inert import inert
from perstack.projection.table_text import block, field, in_columns
from perstack.projection.wrapping import WIDTH

NO_SKILLS: Final = "none besides the base tools"
VERSIONS_HEAD: Final = ("VERSION", "TAGS", "STATUS", "PUBLISHED (UTC)")
_EXPERTS_HEAD: Final = ("NAME", "VERSION", "STATUS", "DESCRIPTION")
_VERSIONS: Final = 10
_LEAST: Final = 20
_INDENT: Final = "  "
_DEEPER: Final = "    "
_STARTED: Final = ("command", "packageName", "args")
_SAID: Final = {
    "endpoint": "connects to",
    "requiredEnv": "is given",
    "headerEnv": "sends headers",
    "bearerTokenEnv": "sends token",
}


def card_lines(expert: RegistryExpert, versions: VersionList | None) -> tuple[str, ...]:
    """Return what one version is, what it would start and ask for, and its whole instruction.

    Lines are as long as what they say: `wrapping.wrapped` fits them to a width.
    """
    return (
        *_head(expert, versions),
        *skills_lines(expert.skills),
        "",
        "Instruction",
        *block(expert.instruction.strip("\n"), _INDENT),
    )


def definition_lines(expert: Expert) -> Iterator[str]:
    """Yield all that an Expert of the registry is: what it starts, asks for, delegates to, says."""
    if (origin := expert.origin) is not None:
        yield field("Key", origin.key)
        yield field("Owner", origin.owner)
        yield field("Registry", origin.registry)
        yield field("Integrity", origin.integrity)
    if expert.description:
        yield field("Description", " ".join(expert.description.split()))
    yield field("Delegates", ", ".join(expert.delegates) or "none")
    for name, skill in expert.skills.items():
        if name == BASE_SKILL and len(skill_table(skill)) == 1:
            continue
        yield field("Skill", inert(name, newlines=False))
        yield from (_INDENT + line for line in skill_lines(skill_table(skill)))
    yield "Instruction"
    yield from block(expert.instruction.strip("\n"), _INDENT)


def day_and_time(moment: str) -> str:
    """Return a time of the registry's, ISO 8601, as `2026-11-22 10:00:00`; it is in UTC."""
    return one_line(moment.replace("T", " ", 1).partition(".")[0].removesuffix("Z"), 19)


def version_rows(versions: VersionList) -> list[tuple[str, ...]]:
    """Return the cells of a row a version, under `VERSIONS_HEAD`; `-` is what is not said."""
    return [
        (
            each.version,
            ", ".join(each.tags) or "-",
            each.status or "-",
            day_and_time(each.created_at) if each.created_at else "-",
        )
        for each in versions.versions
    ]


def expert_table(experts: Sequence[RegistryExpert], width: int = WIDTH) -> Iterator[str]:
    """Yield a heading and a line an Expert, of `width` columns where the names leave room."""
    known = [(expert.name, expert.version, expert.status) for expert in experts]
    used = sum(max(map(len, column)) + 2 for column in zip(_EXPERTS_HEAD, *known, strict=False))
    room = max(width - used, _LEAST)
    told = [one_line(expert.description or "-", room) for expert in experts]
    yield from in_columns(
        [_EXPERTS_HEAD, *((*row, text) for row, text in zip(known, told, strict=True))]
    )


def _head(expert: RegistryExpert, versions: VersionList | None) -> Iterator[str]:
    yield field("Key", expert.key)
    yield field("Owner", expert.owned_by)
    yield field("Status", expert.status)
    yield field("Tags", ", ".join(expert.tags) or "-")
    yield field("Published", f"{day_and_time(expert.created_at)} UTC")
    yield field("Integrity", expert.definition.integrity)
    if expert.description:
        yield field("Description", " ".join(expert.description.split()))
    yield field("Delegates", ", ".join(expert.delegates) or "none")
    if versions is not None:
        yield field("Versions", _version_words(versions))


def _version_words(versions: VersionList) -> str:
    said = [_version(each) for each in versions.versions[:_VERSIONS]]
    if (more := len(versions.versions) - len(said)) > 0:
        said.append(f"{more} more")
    return ", ".join(said) or "none"


def _version(version: VersionEntry) -> str:
    marks = [*version.tags]
    if version.status not in (None, "available"):
        marks.append(version.status)
    return f"{version.version} ({', '.join(marks)})" if marks else version.version


def skills_lines(skills: Mapping[str, Mapping[str, JsonValue]]) -> Iterator[str]:
    """Yield the skills, each with all that it does."""
    if not skills:
        yield field("Skills", NO_SKILLS)
        return
    yield ""
    yield "Skills"
    for name, skill in skills.items():
        yield _INDENT + _words(name)
        yield from (_DEEPER + line for line in skill_lines(skill))


def skill_lines(skill: Mapping[str, JsonValue]) -> Iterator[str]:
    """Yield what a skill is, starts, connects to and is given, and then all else of it."""
    told = {"type"}
    yield field("type", _text(skill.get("type")))
    if "command" in skill:
        told.update(_STARTED)
        yield field("starts", " ".join(_command(skill)))
    for key, label in _SAID.items():
        if key in skill:
            told.add(key)
            yield field(label, _listed(skill[key]))
    for key, value in skill.items():
        if key not in told:
            yield from _other(key, value)


def _other(key: str, value: JsonValue) -> Iterator[str]:
    if isinstance(value, str) and "\n" in value.strip("\n"):
        yield _words(key)
        yield from block(value.strip("\n"), _INDENT)
    else:
        yield field(f"{_words(key)} ", _listed(value))


def _command(skill: Mapping[str, JsonValue]) -> Iterator[str]:
    yield _text(skill["command"])
    if "packageName" in skill:
        yield _text(skill["packageName"])
    args = skill.get("args")
    yield from map(_text, args if isinstance(args, list) else [])


def _listed(value: JsonValue) -> str:
    if isinstance(value, list):
        return ", ".join(map(_text, value)) or "none"
    return _text(value)


def _text(value: JsonValue) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _words(text: str) -> str:
    return inert(text, newlines=False)
