"""A registry in memory that says what a test wants, and what it was asked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import anyio
from pydantic import JsonValue

from perstack.domain.registry import (
    LATEST,
    Definition,
    ExpertPage,
    ExpertQuery,
    Owner,
    PublishRequest,
    RegistryExpert,
    RegistryKey,
    Status,
    VersionEntry,
    VersionList,
)
from perstack.errors import RegistryError, RegistryMissingError, RegistryUnreachableError

BASE: dict[str, dict[str, JsonValue]] = {"@perstack/base": {"type": "baseSkill"}}


@dataclass
class MemoryRegistry:
    """Implements `ports.registry.Registry`, reading alone.

    `down`: nobody answers. `silent` names are never answered. `refusals` are raised, by name.
    `asked` holds `versions NAME` and `find KEY`, in order; `most_at_once` counts calls under way.
    """

    url: str = "https://registry.example"
    down: bool = False
    says_status: bool = True
    says_integrity: bool = True
    silent: set[str] = field(default_factory=set[str])
    refusals: dict[str, RegistryError] = field(default_factory=dict[str, RegistryError])
    asked: list[str] = field(default_factory=list[str])
    experts: dict[str, RegistryExpert] = field(default_factory=dict[str, RegistryExpert])
    most_at_once: int = 0
    _at_once: int = 0

    def add(
        self,
        name: str,
        version: str = "1.0.0",
        *,
        delegates: Sequence[str] = (),
        tags: Sequence[str] = (LATEST,),
        status: Status = "available",
        instruction: str = "Do it.",
        skills: dict[str, dict[str, JsonValue]] | None = None,
    ) -> RegistryExpert:
        """Publish a version; the tags move to it."""
        definition = Definition(
            name=name,
            version=version,
            instruction=instruction,
            skills=BASE if skills is None else skills,
            delegates=tuple(delegates),
        )
        for key, other in self.experts.items():
            if other.name == name:
                left = tuple(tag for tag in other.tags if tag not in tags)
                self.experts[key] = other.model_copy(update={"tags": left})
        made = RegistryExpert(
            id=definition.key,
            key=definition.key,
            **definition.model_dump(),
            tags=tuple(tags),
            status=status,
            owner=Owner(name="acme", organization_id="org-acme"),
            created_at="2026-01-01T00:00:00.000Z",
            updated_at="2026-01-01T00:00:00.000Z",
            integrity=definition.integrity if self.says_integrity else None,
        )
        self.experts[made.key] = made
        return made

    def change(self, key: str, **said: object) -> None:
        """Say something else of a version, without its hash unless that is said."""
        self.experts[key] = self.experts[key].model_copy(update={"integrity": None, **said})

    def drop(self, key: str) -> None:
        """Have a version no more."""
        del self.experts[key]

    def finds(self) -> list[str]:
        """Return which definitions were downloaded."""
        return [each.removeprefix("find ") for each in self.asked if each.startswith("find ")]

    async def find(self, key: RegistryKey) -> RegistryExpert:
        """Return an Expert."""
        await self._answering(f"find {key}", key)
        if key.version is not None:
            found = self.experts.get(str(key))
        else:
            tagged = (each for each in self.experts.values() if key.wanted_tag in each.tags)
            found = next((each for each in tagged if each.name == key.name), None)
        if found is None:
            raise _missing(key)
        return found

    async def versions(self, key: RegistryKey, *, within_s: float | None = None) -> VersionList:
        """Return all versions of the name."""
        del within_s
        await self._answering(f"versions {key.name}", key)
        found = [each for each in self.experts.values() if each.name == key.name]
        if not found:
            raise _missing(key)
        latest = next((each.version for each in found if LATEST in each.tags), None)
        return VersionList(versions=tuple(map(self._entry, reversed(found))), latest=latest)

    async def search(self, query: ExpertQuery) -> ExpertPage:
        """Return nothing."""
        del query
        return ExpertPage(experts=(), total=0)

    async def publish(self, request: PublishRequest) -> RegistryExpert:
        """Refuse: tests use `add`."""
        raise NotImplementedError(request.key)

    async def set_tags(self, key: RegistryKey, tags: Sequence[str]) -> RegistryExpert:
        """Refuse: tests use `add`."""
        raise NotImplementedError(str(key), tags)

    async def set_status(self, key: RegistryKey, status: Status) -> RegistryExpert:
        """Refuse: tests use `change`."""
        raise NotImplementedError(str(key), status)

    async def unpublish(self, key: RegistryKey) -> None:
        """Refuse: tests use `drop`."""
        raise NotImplementedError(str(key))

    async def aclose(self) -> None:
        """There is nothing to close."""

    def _entry(self, expert: RegistryExpert) -> VersionEntry:
        return VersionEntry(
            key=expert.key,
            version=expert.version,
            tags=expert.tags,
            status=expert.status if self.says_status else None,
            integrity=expert.integrity,
        )

    async def _answering(self, what: str, key: RegistryKey) -> None:
        self.asked.append(what)
        self._at_once += 1
        self.most_at_once = max(self.most_at_once, self._at_once)
        try:
            await anyio.lowlevel.checkpoint()
            if key.name in self.silent:
                await anyio.sleep_forever()
            await anyio.lowlevel.checkpoint()
        finally:
            self._at_once -= 1
        if self.down:
            raise RegistryUnreachableError(f"the registry at {self.url} cannot be reached")
        if (refusal := self.refusals.get(key.name)) is not None:
            raise refusal


def _missing(key: RegistryKey) -> RegistryMissingError:
    return RegistryMissingError(f"looking for {key} failed: not found", status=404)
