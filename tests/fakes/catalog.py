"""A registry of Experts as the cockpit sees it, that answers what a test says, when it says so."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import anyio
from pydantic import JsonValue

from perstack.config.toml_edit import add_delegate
from perstack.domain.ids import ExpertKey
from perstack.domain.registry import (
    Owner,
    RegistryExpert,
    Status,
    VersionEntry,
    VersionList,
    parse_key,
)
from perstack.errors import ConflictError, PerstackError, RegistryMissingError
from perstack_tui.ports.registry import Card, Draft, Shown

URL = "https://registry.example"
SKILLS: dict[str, dict[str, JsonValue]] = {
    "web": {
        "type": "mcpStdioSkill",
        "command": "npx",
        "packageName": "@acme/web-search",
        "requiredEnv": ["SEARCH_KEY"],
        "pick": ["search"],
    }
}
TEXT = """# the team
model = "claude-sonnet-5-5"

[experts.coordinator] # plans
description = "Plans and hands out work"
instruction = "Plan."
delegates = [
  "researcher", # finds
  "writer", # writes
]

[experts.researcher]
instruction = "Find things out."

[experts.writer]
instruction = "Write."
"""


def published(
    name: str,
    version: str = "1.0.0",
    description: str = "Does one thing",
    *,
    tags: tuple[str, ...] = ("latest",),
    status: Status = "available",
    delegates: tuple[str, ...] = (),
    skills: dict[str, dict[str, JsonValue]] | None = None,
    instruction: str = "Do one thing.\n\nDo it well.",
    owner: str = "acme",
) -> RegistryExpert:
    """One version of an Expert."""
    at = "2026-11-01T10:00:00.000Z"
    return RegistryExpert(
        id=f"{name}-{version}",
        key=f"{name}@{version}",
        name=name,
        version=version,
        description=description,
        instruction=instruction,
        skills=skills or {},
        delegates=delegates,
        tags=tags,
        status=status,
        owner=Owner(name=owner, organization_id=f"org-{owner}", created_at=at),
        created_at=at,
        updated_at=at,
    )


def some() -> list[RegistryExpert]:
    """Four Experts, one of them with delegates, skills and an older version."""
    return [
        published("@acme/reader", description="Reads what it is given and says what it is about"),
        published(
            "@acme/researcher",
            "1.1.0",
            "Looks into a question, with sources",
            tags=("latest", "stable"),
            delegates=("@acme/reader@1.0.0", "checker"),
            skills=SKILLS,
        ),
        published("@acme/researcher", "1.0.0", "Looks into a question", tags=()),
        published("checker", "0.3.0", "Checks claims 漢字", status="deprecated", owner="bo"),
        published("tic-tac-toe", "2.0.1", "Plays the game with you", owner="games"),
    ]


@dataclass(slots=True)
class FakeCatalog:
    """`experts` are all versions there are, `asked` what was asked for.

    `refuse` makes whatever is asked fail for as long as it is set; `gate` holds answers back until
    it is set. `text` is the `perstack.toml`; `changed` what it turns out to be as it is saved.
    """

    record: Callable[..., None]
    experts: list[RegistryExpert] = field(default_factory=some)
    asked: list[tuple[object, ...]] = field(default_factory=list[tuple[object, ...]])
    refuse: PerstackError | None = None
    refuse_save: PerstackError | None = None
    gate: anyio.Event | None = None
    text: str = TEXT

    async def _answer(self, *asked: object) -> None:
        self.asked.append(asked)
        if self.gate is not None:
            await self.gate.wait()
        if self.refuse is not None:
            raise self.refuse

    async def search(self, words: str, *, take: int = 50, skip: int = 0) -> Shown:
        await self._answer("search", words, take, skip)
        found = [
            one
            for one in self.experts
            if "latest" in one.tags and words in one.name + (one.description or "")
        ]
        return Shown(URL, tuple(found[skip : skip + take]), len(found))

    async def read(self, key: str) -> Card:
        await self._answer("read", key)
        wanted = parse_key(key)
        every = [one for one in self.experts if one.name == wanted.name]
        tag = wanted.wanted_tag
        found = [
            one
            for one in every
            if (one.version == wanted.version if tag is None else tag in one.tags)
        ]
        if not found:
            raise RegistryMissingError(f"{key} is not in the registry", status=404)
        entries = [
            VersionEntry(key=one.key, version=one.version, tags=one.tags, status=one.status)
            for one in every
        ]
        return Card(URL, found[0], VersionList(versions=tuple(entries), latest=every[0].version))

    async def draft(self, expert: ExpertKey, delegate: str) -> Draft:
        await self._answer("draft", expert, delegate)
        after = add_delegate(self.text, expert, delegate)
        return Draft(Path("/w/perstack.toml"), expert, delegate, self.text, after)

    async def save(self, draft: Draft) -> None:
        if self.refuse_save is not None:
            error, self.refuse_save = self.refuse_save, None
            raise error
        if draft.before != self.text:
            raise ConflictError("perstack.toml was saved by somebody else meanwhile")
        self.record("save", draft.expert, draft.delegate)
        self.text = draft.after
