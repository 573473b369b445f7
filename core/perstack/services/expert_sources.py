"""What a resolution draws on: the registry, asked once for each thing, and this disk."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from functools import partial
from typing import Final, TypeVar

import anyio
from anyio import to_thread

from perstack.domain.registry import RegistryKey, VersionList
from perstack.errors import (
    CorruptRecordError,
    RegistryMissingError,
    RegistryUnreachableError,
    StorageError,
)
from perstack.ports.registry import ExpertCache, KeptExpert, Registry
from perstack.services.resolved_expert import ANSWER_SAYS, Promise, check_integrity, definition_of

CALL_WITHIN_S: Final = 30.0
KEPT_WITHIN_S: Final = 5.0

T = TypeVar("T")


class Disk:
    """The cache, asked in threads. What is wrong with it is noted, and never ends anything."""

    def __init__(self, cache: ExpertCache, registry: str) -> None:
        self._cache = cache
        self._registry = registry
        self.damaged: set[str] = set()
        self.trouble: str | None = None

    async def find(self, key: RegistryKey) -> KeptExpert | None:
        """Return a version that is kept, None if it is not, or damaged."""
        try:
            return await to_thread.run_sync(self._cache.find, self._registry, key)
        except CorruptRecordError:
            self.damaged.add(str(key))
        except StorageError as error:
            self.trouble = error.message
        return None

    async def led(self, key: RegistryKey) -> str | None:
        """Return the version that a name or tag last led to."""
        try:
            return await to_thread.run_sync(self._cache.resolved, self._registry, key)
        except CorruptRecordError:
            self.damaged.add(key.name)
        except StorageError as error:
            self.trouble = error.message
        return None

    async def keep(self, kept: KeptExpert) -> None:
        """Keep a version.

        Raises:
            RegistryError: it is kept with other content.
        """
        try:
            await to_thread.run_sync(self._cache.keep, self._registry, kept)
        except StorageError as error:
            self.trouble = error.message

    async def remember(self, key: RegistryKey, version: str) -> None:
        """Remember which version a name or tag leads to."""
        try:
            await to_thread.run_sync(self._cache.remember, self._registry, key, version)
        except StorageError as error:
            self.trouble = error.message


class Sources:
    """The registry and the disk, as long as one resolution takes. Nothing is asked for twice."""

    def __init__(self, registry: Registry, disk: Disk, deadline: float) -> None:
        self._registry = registry
        self._deadline = deadline
        self._lists: dict[str, VersionList | RegistryMissingError] = {}
        self._down: RegistryUnreachableError | None = None
        self._found: dict[str, KeptExpert] = {}
        self.disk = disk
        self.url = registry.url

    async def kept(self, key: RegistryKey) -> KeptExpert | None:
        """Return a version that is here already, downloaded just now or before."""
        known = self._found.get(str(key))
        return known if known is not None else await self.disk.find(key)

    async def versions(self, key: RegistryKey, *, is_kept: bool) -> VersionList:
        """Return the versions of a name; what is kept does not wait long for them.

        Raises:
            RegistryError: they cannot be had.
        """
        known = self._lists.get(key.name)
        if isinstance(known, RegistryMissingError):
            raise known
        if known is not None:
            return known
        if is_kept and self._down is not None:
            raise self._down
        within_s = KEPT_WITHIN_S if is_kept else None
        try:
            listed = await self._bounded(
                partial(self._registry.versions, key, within_s=within_s), within_s
            )
        except RegistryUnreachableError as error:
            self._down = error
            raise
        except RegistryMissingError as error:
            self._lists[key.name] = error
            raise
        self._lists[key.name] = listed
        return listed

    async def download(self, key: RegistryKey, promised: Iterable[Promise]) -> KeptExpert:
        """Return a version of the registry, which is kept from now on.

        Raises:
            RegistryError: it cannot be had, or is not what was promised.
        """
        found = await self._bounded(partial(self._registry.find, key), None)
        definition = definition_of(found, key)
        check_integrity(definition, [*promised, (ANSWER_SAYS, found.integrity)])
        kept = KeptExpert.of(found)
        await self.disk.keep(kept)
        self._found[str(key)] = kept
        return kept

    async def _bounded(self, call: Callable[[], Awaitable[T]], within_s: float | None) -> T:
        left_s = self._deadline - anyio.current_time()
        bound_s = min(left_s, CALL_WITHIN_S if within_s is None else within_s)
        with anyio.move_on_after(max(bound_s, 0)):
            return await call()
        raise RegistryUnreachableError(
            f"the registry at {self.url} has not answered in time",
            hint="try again; what has been fetched is kept",
        )


@dataclass(slots=True)
class Told:
    """What is warned of."""

    unreached: set[str] = field(default_factory=set[str])
    gone: set[str] = field(default_factory=set[str])
    other: set[str] = field(default_factory=set[str])

    def all(self, disk: Disk) -> tuple[str, ...]:
        """Return one warning for each kind of trouble, with the versions that it is about."""
        said = [
            *_about("the registry cannot be reached", self.unreached),
            *_about("not in the registry any more", self.gone),
            *sorted(self.other),
        ]
        if disk.trouble is not None:
            said.append(f"Experts of the registry cannot be kept on this disk: {disk.trouble}")
        return tuple(said)


def _about(what: str, keys: Iterable[str]) -> list[str]:
    listed = ", ".join(sorted(keys))
    return [f"{what}: {listed} as kept on this disk"] if listed else []
