"""What a registry that one hosts asks of its tables."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

from perstack.domain.registry import Definition, ExpertQuery, RegistryKey, Status
from perstack.domain.registry_hosting import ApiKey, Organisation

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class VersionRecord:
    """One version, without its definition. Times are Unix milliseconds, `size` is in bytes.

    `tags` are those that people gave; whether it is `latest` is `is_latest`. What was unpublished
    leaves its record, so that the version is never another's.
    """

    id: str
    name: str
    version: str
    integrity: str
    size: int
    status: Status
    tags: tuple[str, ...]
    is_latest: bool
    created_at: int
    updated_at: int
    unpublished_at: int | None = None

    @property
    def key(self) -> str:
        """Its key, which holds the version."""
        return f"{self.name}@{self.version}"


@dataclass(frozen=True, slots=True)
class Delegation:
    """That a version delegates to another Expert, and by which key."""

    by: VersionRecord
    to: RegistryKey


class Ledger(Protocol):
    """The registry within one transaction. Every method blocks; nobody else writes meanwhile."""

    def organisation(self, organisation_id: str) -> Organisation | None:
        """Return it."""
        ...

    def organisations(self) -> Sequence[Organisation]:
        """Return all, the oldest first."""
        ...

    def add_organisation(self, organisation: Organisation) -> None:
        """Write a new one.

        Raises:
            ConflictError: another has its name.
        """
        ...

    def key(self, digest: str) -> ApiKey | None:
        """Return the key that has this SHA-256."""
        ...

    def keys(self) -> Sequence[ApiKey]:
        """Return all, the oldest first."""
        ...

    def add_key(self, key: ApiKey, digest: str) -> None:
        """Write a new one.

        Raises:
            ConflictError: another begins alike.
        """
        ...

    def revoke(self, prefix: str, *, now_ms: int) -> ApiKey | None:
        """Let a key be worth nothing any more; the time of the first revoking stays."""
        ...

    def note_use(self, prefix: str, *, now_ms: int) -> None:
        """Write when a key was last used."""
        ...

    def owner(self, name: str) -> Organisation | None:
        """Return whose name it is, None where it is nobody's yet."""
        ...

    def take_name(self, name: str, organisation_id: str) -> None:
        """Write whose name it is.

        Raises:
            ConflictError: it is somebody's.
        """
        ...

    def versions(self, name: str) -> Sequence[VersionRecord]:
        """Return all versions of a name, the highest first, those unpublished among them."""
        ...

    def find(self, key: RegistryKey) -> VersionRecord | None:
        """Return the version that a key leads to, None where it is not there or unpublished."""
        ...

    def definition(self, record: VersionRecord) -> Definition:
        """Return what was published.

        Raises:
            CorruptRecordError: it is not what its integrity is of.
        """
        ...

    def put(self, record: VersionRecord, definition: Definition) -> None:
        """Write a version, in place of what unpublishing left of it.

        Raises:
            ConflictError: the version is there.
        """
        ...

    def set_tags(self, record: VersionRecord, tags: Iterable[str], *, now_ms: int) -> None:
        """Make these the version's tags; they are taken from other versions of the name."""
        ...

    def set_status(self, record: VersionRecord, status: Status, *, now_ms: int) -> None:
        """Write the status."""
        ...

    def set_latest(self, name: str, version: str | None) -> None:
        """Write which version `latest` is at."""
        ...

    def unpublish(self, record: VersionRecord, *, now_ms: int) -> None:
        """Remove a version with its tags; what stays is that it was there, and its integrity."""
        ...

    def delegating_to(self, name: str) -> Sequence[Delegation]:
        """Return which versions of other names delegate to this one, at most 1,000."""
        ...

    def search(self, query: ExpertQuery) -> tuple[Sequence[VersionRecord], int]:
        """Return a page of what has a `latest` version, in that one, and how many there are."""
        ...


class RegistryStore(Protocol):
    """The tables of a registry, shared by all processes that serve it."""

    async def look(self, work: Callable[[Ledger], T]) -> T:
        """Return what `work` found, all of it at one moment.

        Raises:
            StorageError: the database cannot be read.
        """
        ...

    async def change(self, work: Callable[[Ledger], T]) -> T:
        """Do `work` while nobody else writes; whole, or not at all if it raises.

        Raises:
            StorageError: the database cannot be written (`LockedError`: now).
        """
        ...
