"""Skills for Anthropic's container: their own by id, and a project's, which are uploaded once.

An uploaded skill stays in the account. Its label holds a hash of what was uploaded, so that other
runs and processes find it there and a changed definition becomes another skill.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

import anyio

from perstack.domain.expert import ProviderSkill
from perstack.errors import ProviderError
from perstack.providers.anthropic.tools import ToolSet
from perstack.providers.offers import no_skills

if TYPE_CHECKING:
    from anthropic import AsyncAnthropic

Json = dict[str, object]

MOST_LOOKED_AT: Final = 5000
_PAGE: Final = 100
_LONGEST_LABEL: Final = 200
_LONGEST_NAME: Final = 64
_LONGEST_DESCRIPTION: Final = 1000
_NAMED: Final = re.compile(r"\A---\s*\n(?:.*\n)*?name:[ \t]*([a-z0-9-]+)[ \t]*\n")


def check_skills(skills: Sequence[ProviderSkill], offered: ToolSet) -> None:
    """Check that the platform has skills, and that each says what it is.

    Raises:
        ProviderError: it has none, or one has neither an id nor a definition.
    """
    if skills and not offered.skills:
        raise no_skills(offered.vendor)
    for skill in skills:
        if skill.skill_id is None and not skill.definition:
            raise ProviderError(
                f"the provider skill {skill.name or 'without a name'!a} says nothing",
                hint="give a skillId, or a name and a definition",
            )


class ContainerSkills:
    """Knows the ids of the skills that were used."""

    def __init__(self) -> None:
        self._ids: dict[str, str] = {}
        self._looking = anyio.Lock(fast_acquire=True)

    async def listed(self, client: AsyncAnthropic, skills: Sequence[ProviderSkill]) -> list[Json]:
        """Return the skills as the container wants them; uploads those that are not there yet.

        Raises:
            anthropic.AnthropicError: the vendor could not be asked.
        """
        return [await self._entry(client, skill) for skill in skills]

    async def _entry(self, client: AsyncAnthropic, skill: ProviderSkill) -> Json:
        if skill.skill_id is not None:
            kind = "anthropic" if skill.type == "builtin" else "custom"
            return {"type": kind, "skill_id": skill.skill_id, "version": "latest"}
        name, definition = skill.name or "skill", skill.definition or ""
        label = _label(name, definition)
        async with self._looking:
            if label not in self._ids:
                found = await _find(client, label)
                self._ids[label] = found or await _upload(client, label, name, definition)
        return {"type": "custom", "skill_id": self._ids[label], "version": "latest"}


async def _find(client: AsyncAnthropic, label: str) -> str | None:
    looked_at = 0
    async for known in client.skills.list(source="custom", limit=_PAGE):
        if known.display_name == label:
            return known.id
        looked_at += 1
        if looked_at >= MOST_LOOKED_AT:
            break
    return None


async def _upload(client: AsyncAnthropic, label: str, name: str, definition: str) -> str:
    folder, text = skill_file(name, definition)
    file = (f"{folder}/SKILL.md", text.encode("utf-8", "replace"), "text/markdown")
    return (await client.skills.create(files=[file], display_name=label)).id


def skill_file(name: str, definition: str) -> tuple[str, str]:
    """Return the folder and the text of a skill's file, which begins with name and description.

    A definition that begins with them itself is taken as it stands.
    """
    named = _NAMED.match(definition)
    if named is not None:
        return named.group(1), definition
    folder = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:_LONGEST_NAME] or "skill"
    first = next((line.strip() for line in definition.splitlines() if line.strip()), name)
    about = re.sub(r'[<>"\\]', "", first.lstrip("# "))[:_LONGEST_DESCRIPTION]
    return folder, f'---\nname: {folder}\ndescription: "{about}"\n---\n\n{definition}\n'


def _label(name: str, definition: str) -> str:
    digest = hashlib.sha256(f"{name}\0{definition}".encode("utf-8", "replace")).hexdigest()
    return f"{name[:_LONGEST_LABEL]} {digest[:16]}"
