"""A registry without a server: it has what a test gave it, and takes what it is sent."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from perstack.domain.registry import (
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
from perstack.errors import PerstackError, RegistryMissingError

AT: Final = "2026-11-22T10:00:00.000Z"


@dataclass
class Shelf:
    """Implements `ports.registry.Registry`; `fails` is raised by whatever is asked.

    `keeps` is what it says it has after a publication, instead of what it was sent.
    """

    held: list[RegistryExpert] = field(default_factory=list[RegistryExpert])
    fails: PerstackError | None = None
    keeps: Definition | None = None
    url: str = "https://registry.example.com"

    async def find(self, key: RegistryKey) -> RegistryExpert:
        if self.fails is not None:
            raise self.fails
        for expert in self.held:
            if expert.name == key.name and key.version in (None, expert.version):
                return expert
        raise RegistryMissingError(f"{key} is not found", status=404)

    async def versions(self, key: RegistryKey, *, within_s: float | None = None) -> VersionList:
        del within_s
        found = [one for one in self.held if one.name == key.name]
        return VersionList(
            versions=tuple(VersionEntry(key=one.key, version=one.version) for one in found)
        )

    async def search(self, query: ExpertQuery) -> ExpertPage:
        del query
        return ExpertPage(experts=tuple(self.held), total=len(self.held))

    async def publish(self, request: PublishRequest) -> RegistryExpert:
        made = published(self.keeps or request.definition)
        self.held.append(made)
        return made

    async def set_tags(self, key: RegistryKey, tags: Sequence[str]) -> RegistryExpert:
        return (await self.find(key)).model_copy(update={"tags": tuple(tags)})

    async def set_status(self, key: RegistryKey, status: Status) -> RegistryExpert:
        return (await self.find(key)).model_copy(update={"status": status})

    async def unpublish(self, key: RegistryKey) -> None:
        self.held.remove(await self.find(key))

    async def aclose(self) -> None:
        """There is nothing to close."""


def published(definition: Definition) -> RegistryExpert:
    """What a registry tells of a definition that acme published."""
    return RegistryExpert(
        id="1",
        key=definition.key,
        **definition.model_dump(),
        tags=("latest",),
        owner=Owner(name="acme", organization_id="org"),
        created_at=AT,
        updated_at=AT,
    )
