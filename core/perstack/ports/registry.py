"""A registry of Experts, and what of it is kept on this disk."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from perstack.domain.registry import (
    Definition,
    ExpertPage,
    ExpertQuery,
    PublishRequest,
    RegistryExpert,
    RegistryKey,
    Status,
    VersionList,
)

_OWNER_LENGTH: Final = 256


class Registry(Protocol):
    """A registry, asked over the network; every call ends within 30 s.

    Every method raises `RegistryUnreachableError` where nobody answers (in time), and
    `RegistryRefusedError` where the answer is a refusal; what is not there is
    `RegistryMissingError`, and an answer that cannot be understood or is not what was promised
    `RegistryError`.
    """

    @property
    def url(self) -> str:
        """Where it is, without a slash at its end."""
        ...

    async def find(self, key: RegistryKey) -> RegistryExpert:
        """Return an Expert; without version and tag the `latest` one."""
        ...

    async def versions(self, key: RegistryKey, *, within_s: float | None = None) -> VersionList:
        """Return all versions of the name, asked for at most `within_s` seconds."""
        ...

    async def search(self, query: ExpertQuery) -> ExpertPage:
        """Return a page of Experts."""
        ...

    async def publish(self, request: PublishRequest) -> RegistryExpert:
        """Publish a version."""
        ...

    async def set_tags(self, key: RegistryKey, tags: Sequence[str]) -> RegistryExpert:
        """Make these the tags of a version; they move from other versions. `latest` stays out."""
        ...

    async def set_status(self, key: RegistryKey, status: Status) -> RegistryExpert:
        """Change the status of a version."""
        ...

    async def unpublish(self, key: RegistryKey) -> None:
        """Remove a version."""
        ...

    async def aclose(self) -> None:
        """Close its connections."""
        ...


@dataclass(frozen=True, slots=True)
class KeptExpert:
    """One version as it is kept: what never changes, and what was last heard of the rest.

    `owner` is the organisation's name, or else its id.
    """

    definition: Definition
    owner: str
    status: Status

    @classmethod
    def of(cls, found: RegistryExpert) -> KeptExpert:
        """Return what is kept of a version that the registry gave."""
        return cls(found.definition, found.owned_by[:_OWNER_LENGTH], found.status)


class ExpertCache(Protocol):
    """Definitions on this disk, found by the hash of their content. Every method blocks on it."""

    def find(self, registry: str, key: RegistryKey) -> KeptExpert | None:
        """Return a version that is kept, None if it is not.

        Raises:
            CorruptRecordError: what is kept is not what was kept.
        """
        ...

    def keep(self, registry: str, kept: KeptExpert) -> None:
        """Keep a version, or what is new of it.

        Raises:
            RegistryError: the version is kept with other content.
            StorageError: it cannot be written.
        """
        ...

    def resolved(self, registry: str, key: RegistryKey) -> str | None:
        """Return the version that a name or tag last led to.

        Raises:
            CorruptRecordError: what was remembered is damaged.
        """
        ...

    def remember(self, registry: str, key: RegistryKey, version: str) -> None:
        """Remember which version a name or tag leads to.

        Raises:
            StorageError: it cannot be written.
        """
        ...
